"""`python -m src.core.store lineage` and `show`: where a version came from and what became of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.core.cli import run_command
from src.core.config import Settings
from src.core.folder_store import FolderStore
from src.core.store_cli import main
from tests.bundles import V1, V2, V3, sealed
from tests.integration.stores import BucketPlace

CONFIG = "name: housets\ntitle: Homes [bold]\n"
JUDGED: dict[str, Any] = {
    "eval": {
        "n": 300,
        "first": "2020-01-31",
        "last": "2021-12-31",
        "scores": {"mae": 36_393.4, "mape": 0.0821, "f1": 0.5},
        "baselines": {"median": {"n": 300, "scores": {"mae": 213_503.0, "mape": 0.487}, "model": {}}},
        "segments": {},
    },
    "gate": {
        "passed": False,
        "notes": ["the store has no current model to compare with"],
        "lines": [{"name": "eval mape", "value": 0.0821, "sense": "<=", "limit": 0.08, "passed": False}],
    },
    "training": {
        "family": "xgboost",
        "variant": "deep",
        "params": {"max_depth": 6, "learning_rate": 0.05},
        "rounds": 412,
        "seed": 7,
        "rows": 1_254,
        "config_sha256": "c" * 64,
        "run_id": "run-1",
        "data": {"source": "HouseTS.csv", "rows": 1_863, "splits": {"train": 1_254, "eval": 302, "holdout": 307}},
    },
}


def publish(store: Any, folder: Path, version: str, judged: object) -> None:
    text = judged if isinstance(judged, bytes) else json.dumps(judged).encode()
    store.publish("housets", sealed(folder, version, files={"metrics.json": text, "config.yaml": CONFIG.encode()}))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "models")
    publish(made, tmp_path / "new", V2, JUDGED)
    publish(made, tmp_path / "old", V1, {name: JUDGED[name] for name in ("eval", "gate")})
    made.move("housets", V2, "staging", by="ann", why="try it")
    made.promote("housets", V2, by="bob", why="[red]good\x1b[0m")
    return made


def run(*arguments: str) -> int:
    return run_command(main, arguments)


def test_lineage_of_what_serves_for_programs(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lineage", "--json", "--store", str(store)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == V2
    assert found["stage"] == "production"
    assert found["git_commit"] == "abc"
    assert found["data"] == {
        "fingerprint": "f" * 64,
        "source": "HouseTS.csv",
        "rows": 1_863,
        "splits": {"train": 1_254, "eval": 302, "holdout": 307},
        "trained_on": 1_254,
    }
    assert found["config"]["sha256"] == "c" * 64
    assert found["parameters"] == {"max_depth": 6, "learning_rate": 0.05}
    assert (found["rounds"], found["seed"], found["mlflow_run_id"]) == (412, 7, "run-1")
    assert found["scores"]["eval"]["scores"]["mae"] == 36_393.4
    assert found["scores"]["eval"]["baselines"]["median"]["scores"]["mape"] == 0.487
    assert found["gate"]["passed"] is False
    assert "xgboost" in found["packages"]
    assert [(move["stage"], move["by"], move["why"]) for move in found["moves"]] == [
        ("production", "bob", "[red]good\x1b[0m"),
        ("staging", "ann", "try it"),
    ]
    assert run("lineage", "--json", "--config", "--store", str(store)) == 0
    assert json.loads(capsys.readouterr().out)["config_yaml"] == CONFIG


def test_lineage_for_people_fits_80_columns(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lineage", V2, "--store", str(store)) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for text in (
        "HouseTS.csv",
        "f" * 64,
        "c" * 64,
        "1,863 loaded, train 1,254, eval 302, holdout 307",
        "xgboost (deep)",
        "weighted F1",
        "learning_rate 0.05, max_depth 6",
        "412",
        "run-1",
        "FAILED on 1 of 1 lines; eval mape 0.0821, not <= 0.08",
        "213,503",
        "36,393",
        "MAPE",
        "bob",
        "try it",
        "[red]good",
    ):
        assert text in shown, text
    assert "\x1b" not in shown, "no escape sequence reaches the terminal"
    assert run("lineage", V2, "--config", "--store", str(store)) == 0
    assert capsys.readouterr().out == CONFIG


def test_an_old_bundle_says_what_is_not_recorded(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lineage", V1, "--store", str(store)) == 0
    shown = capsys.readouterr().out
    assert "not recorded" in shown
    assert "36,393" in shown
    assert "(of the file)" in shown, "the digest of config.yaml stands in for the config's"
    assert run("lineage", V1, "--json", "--store", str(store)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["parameters"], found["mlflow_run_id"], found["training"]) == (None, None, None)
    assert found["moves"] == []


@pytest.mark.parametrize(
    ("judged", "words"), [(b"{", "is not JSON"), (b"[1]", "is not a JSON object"), (b"[" * 200_000, "is not JSON")]
)
def test_metrics_that_are_no_metrics_are_one_line(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], judged: bytes, words: str
) -> None:
    publish(store, tmp_path / "odd", V3, judged)
    assert run("lineage", V3, "--store", str(store)) == 1
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "judged",
    [
        {},
        {"training": 1, "gate": 2, "eval": 3},
        {
            "training": {"data": [], "params": 5, "rows": "x"},
            "gate": {"lines": 3, "notes": "x"},
            "eval": {"scores": {"mae": None}},
        },
        {"gate": {"lines": ["x", {}]}, "eval": {"scores": {"mae": "high"}, "baselines": {"median": 3, "linear": {}}}},
    ],
)
def test_metrics_of_another_shape_still_print(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], judged: object
) -> None:
    publish(store, tmp_path / "odd", V3, judged)
    assert run("lineage", V3, "--store", str(store)) == 0
    assert V3 in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["lineage", "20990101T000000Z-00000000"], 2, f"The latest: {V1}, {V2}"),
        (["lineage", "--dataset", "iris"], 2, "iris has no current version in"),
        (["lineage", "--dataset", "../x"], 2, "is not a dataset's name"),
    ],
)
def test_lineage_of_what_is_not_there(
    store: FolderStore, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert run(*arguments, "--store", str(store)) == code
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1


def test_an_altered_record_of_the_training_is_not_believed(
    store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.root / "housets" / V2 / "metrics.json"
    path.write_bytes(path.read_bytes().replace(b"run-1", b"run-2"))
    assert run("lineage", "--store", str(store)) == 1
    assert "metrics.json is altered" in capsys.readouterr().err


def test_show_tells_one_versions_story_or_everyones(store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.promote("housets", V1, by="cleo", why="newer")
    assert run("show", V2, "--store", str(store)) == 0
    shown = capsys.readouterr().out
    assert "archived" in shown
    assert "took its place" in " ".join(shown.split())
    assert "newer" not in shown
    assert run("show", "--store", str(store)) == 0
    assert "newer" in capsys.readouterr().out
    assert run("show", V2, "--json", "--store", str(store)) == 0
    found = json.loads(capsys.readouterr().out)
    assert [move["stage"] for move in found["moves"]] == ["archived", "production", "staging"]


@pytest.mark.parametrize("why", ["", "  ", "a\nb", "\x1b[31m", "x" * 1001, "\udcff"])
def test_a_reason_is_one_printable_line(store: FolderStore, capsys: pytest.CaptureFixture[str], why: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("promote", V1, "--why", why, "--store", str(store))
    assert stopped.value.code == 2
    assert "one line of 1 to 1,000 printable characters" in capsys.readouterr().err
    assert store.current("housets").version == V2  # type: ignore[union-attr]


def test_lineage_from_a_bucket(
    tmp_path: Path, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = BucketPlace(s3_settings)
    publish(place.open(), tmp_path / "b", V1, JUDGED)
    place.open().promote("housets", V1, by="bob", why="good")
    monkeypatch.setenv("S3_ENDPOINT_URL", str(s3_settings.s3_endpoint_url))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert run("lineage", "--json", "--store", place.uri) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stage"], found["moves"][0]["by"], found["mlflow_run_id"]) == ("production", "bob", "run-1")
