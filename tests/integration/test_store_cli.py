"""`python -m src.core.store`: what people and scripts see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.cli import run_command
from src.core.config import PROJECT, Settings
from src.core.folder_store import FolderStore
from src.core.store_cli import main
from tests.bundles import V1, V2, sealed
from tests.integration.stores import BucketPlace


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "models")
    for version in (V1, V2):
        made.publish("housets", sealed(tmp_path / version, version))
    made.publish("india_rent", sealed(tmp_path / "rent", V1, dataset="india_rent"))
    return made


def _run(*arguments: str) -> int:
    return run_command(main, arguments)


def test_promote_list_show_roll_back(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--store", str(store))
    for version in (V1, V2):
        assert _run("promote", version, "--why", "[bold]better[/bold]", *where) == 0
    assert f"housets: {V2} is current" in capsys.readouterr().out
    assert _run("list", *where) == 0
    listed = capsys.readouterr().out
    assert listed.index(V2) < listed.index(V1), "the newest first"
    assert "india_rent" in listed
    assert "production" in next(line for line in listed.splitlines() if V2 in line)
    assert "archived" in next(line for line in listed.splitlines() if V1 in line)
    assert "development" in listed.split("india_rent in")[1]
    when = f"{store.current('housets').promoted_at:%Y-%m-%d %H:%M}"  # type: ignore[union-attr]
    assert when in listed, "a date stays on one line of 80 columns"
    assert max(map(len, listed.splitlines())) <= 80
    assert _run("rollback", "--why", "too high", *where) == 0
    assert store.current("housets").version == V1  # type: ignore[union-attr]
    assert _run("rollback", V2, "--why", "was right", *where) == 0
    assert _run("show", *where) == 0
    shown = capsys.readouterr().out
    assert "[bold]better" in shown, "what people write is shown as they wrote it"
    assert "rolled back: was" in shown
    assert "xgboost" in shown


def test_json_for_scripts(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--store", str(store), "--json")
    store.promote("housets", V2, by="ann", why="better")
    assert _run("list", *where) == 0
    assert json.loads(capsys.readouterr().out) == {
        "housets": {"current": V2, "versions": [V1, V2], "stages": {V1: "development", V2: "production"}},
        "india_rent": {"current": None, "versions": [V1], "stages": {V1: "development"}},
    }
    assert _run("list", "--dataset", "india_rent", *where) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["india_rent"]
    assert _run("show", V1, *where) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["current"]["by"] == "ann"
    assert shown["manifest"]["version"] == V1
    assert (shown["stage"], shown["moves"]) == ("development", [])
    assert _run("show", "--dataset", "india_rent", *where) == 0
    assert json.loads(capsys.readouterr().out) == {"current": None, "manifest": None, "stage": None, "moves": []}


def test_an_empty_store_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list", "--store", str(tmp_path / "none")) == 0
    assert "no versions" in capsys.readouterr().out
    assert _run("show", "--store", str(tmp_path / "none")) == 0
    assert "no current version" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["promote", "20990101T000000Z-00000000", "--why", "x"], 2, f"The latest: {V1}, {V2}"),
        (["promote", "latest", "--why", "x"], 2, "'latest' is not a version"),
        (["show", "--dataset", "../x"], 2, "is not a dataset's name"),
        (["rollback", "--why", "x"], 1, "no current version to roll back from"),
        (["list", "--store", "ftp://x"], 2, "ftp:// is not supported"),
    ],
)
def test_mistakes_are_one_line(
    store: FolderStore, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert _run("--store", str(store), *arguments) == code
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["promote", "--why", "x"], ["promote", V1], ["rollback", "--why", " "], ["list", V1], ["drop"], []]
)
def test_usage_errors_exit_2(store: FolderStore, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _run("--store", str(store), *arguments)
    assert caught.value.code == 2


def test_the_command_runs_as_a_module_and_uses_the_environment(store: FolderStore) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "src.core.store", "promote", V1, "--why", "first"],
        cwd=PROJECT,
        env={"PATH": "", "MODEL_STORE": str(store), "LOGNAME": "ann"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    pointer = store.current("housets")
    assert pointer is not None
    assert (pointer.version, pointer.by, pointer.why) == (V1, "ann", "first")


def test_the_command_on_a_bucket(
    tmp_path: Path, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = BucketPlace(s3_settings)
    place.open().publish("housets", sealed(tmp_path / "b"))
    monkeypatch.setenv("S3_ENDPOINT_URL", str(s3_settings.s3_endpoint_url))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert _run("promote", V1, "--why", "first", "--store", place.uri) == 0
    assert _run("list", "--json", "--store", place.uri) == 0
    assert f'"current": "{V1}"' in capsys.readouterr().out


def test_a_data_set_may_be_named_by_its_yaml(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list", "--dataset", str(PROJECT / "configs" / "india_rent.yaml"), "--store", str(store)) == 0
    listed = capsys.readouterr().out
    assert V1 in listed
    assert "housets" not in listed
    assert _run("list", "--dataset", "nowhere.yaml", "--store", str(store)) == 2
    assert "nowhere.yaml does not exist" in capsys.readouterr().err
