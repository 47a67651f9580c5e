"""Versions moved in the store and shown in a real MLflow database."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from src.core.cli import run_command
from src.core.config import Settings
from src.core.errors import HousecastError
from src.core.folder_store import FolderStore
from src.core.stages import STAGES
from src.training_pipeline import lifecycle, tracking
from tests.bundles import V1, V2, V3, sealed
from tests.markets import tiny_config

# MLflow's own models use a SQLAlchemy option that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

CONFIG = tiny_config()
METRICS = b'{"gate": {"passed": true, "lines": []}, "training": {"run_id": null}}'
Run = Callable[..., int]


@pytest.fixture
def unregistered(settings: Settings, tmp_path: Path) -> FolderStore:
    """A store of three versions of which MLflow knows nothing."""
    made = FolderStore(settings.workspace / "models")
    for version in (V1, V2, V3):
        publish(made, tmp_path, version)
    return made


@pytest.fixture
def store(recording: Settings, unregistered: FolderStore) -> FolderStore:
    """The same store, registered."""
    lifecycle.sync(CONFIG, recording, unregistered)
    return unregistered


@pytest.fixture
def run(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("WORKSPACE", str(settings.workspace))
    monkeypatch.setenv("LOGNAME", "ann")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    return lambda *arguments: run_command(lifecycle.main, ["--dataset", str(tmp_path / "tiny.yaml"), *arguments])


def publish(store: FolderStore, folder: Path, version: str) -> None:
    store.publish("tiny", sealed(folder / version, version, dataset="tiny", files={"metrics.json": METRICS}))


def shown(settings: Settings) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    """Return what MLflow shows: version -> (stage, aliases)."""
    found = tracking.registered(CONFIG, settings)
    assert found is not None
    return {one.version: (one.tags.get("stage"), one.aliases) for one in found}


def test_moves_are_recorded_in_the_store_and_shown_in_mlflow(
    store: FolderStore, recording: Settings, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(recording)[V3] == ("development", ("challenger",)), "staging is empty: the newest version"
    assert run("move", V1, "--to", "production", "--why", "the first") == 0
    assert f"tiny: {V1} is in production in {store}" in capsys.readouterr().out
    assert run("move", V2, "--to", "staging", "--why", "try it") == 0
    assert shown(recording) == {
        V1: ("production", ("champion",)),
        V2: ("staging", ("challenger",)),
        V3: ("development", ()),
    }
    assert run("move", V2, "--to", "production", "--why", "better") == 0
    assert shown(recording) == {
        V1: ("archived", ()),
        V2: ("production", ("champion",)),
        V3: ("development", ("challenger",)),
    }
    tags = next(one.tags for one in tracking.registered(CONFIG, recording) or () if one.version == V2)
    assert (tags["promoted_by"], tags["promoted_why"], tags["stage_why"]) == ("ann", "better", "better")
    assert run("rollback", "--why", "too high") == 0
    assert store.current("tiny").version == V1  # type: ignore[union-attr]
    assert shown(recording)[V1] == ("production", ("champion",))
    assert run("rollback", "--to", V3, "--why", "neither") == 0
    assert shown(recording)[V3] == ("production", ("challenger", "champion"))
    pointer = store.current("tiny")
    assert pointer is not None
    assert (pointer.version, pointer.by, pointer.why, pointer.rollback) == (V3, "ann", "neither", True)
    tags = next(one.tags for one in tracking.registered(CONFIG, recording) or () if one.version == V3)
    assert tags["promoted_why"] == "rolled back: neither"


def test_sync_mends_what_mlflow_missed_and_registers_what_it_does_not_have(
    store: FolderStore, recording: Settings, run: Run, tmp_path: Path
) -> None:
    newer = "20260104T000000Z-00000004"
    publish(store, tmp_path, newer)
    store.promote("tiny", V1, by="bob", why="by hand")
    store.promote("tiny", newer, by="bob", why="by hand")
    store.move("tiny", V2, "staging", by="bob", why="by hand")
    assert shown(recording)[V3] == ("development", ("challenger",)), "MLflow knows nothing of it yet"
    assert run("sync") == 0
    wanted = {
        newer: ("production", ("champion",)),
        V3: ("development", ()),
        V2: ("staging", ("challenger",)),
        V1: ("archived", ()),
    }
    assert shown(recording) == wanted
    registered = tracking.registered(CONFIG, recording)
    assert registered is not None
    assert registered[0].version == newer
    assert registered[0].tags["gate"] == "passed"
    assert list((recording.workspace / "mlruns").rglob("bundle/manifest.json"))
    assert run("sync") == 0
    assert shown(recording) == wanted
    assert len(tracking.registered(CONFIG, recording) or ()) == 4, "nothing is registered twice"


def test_stages_of_what_left_the_store_are_taken_away(store: FolderStore, recording: Settings, tmp_path: Path) -> None:
    store.promote("tiny", V3, by="bob", why="x")
    assert lifecycle.mirror(CONFIG, recording, store)
    other = FolderStore(tmp_path / "other")
    publish(other, tmp_path / "again", V1)
    assert lifecycle.mirror(CONFIG, recording, other)
    assert shown(recording) == {V1: ("development", ("challenger",)), V2: (None, ()), V3: (None, ())}


def test_a_server_that_is_down_costs_a_warning_and_not_the_move(
    unregistered: FolderStore, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run("move", V1, "--to", "staging", "--why", "try it") == 0
    assert unregistered.story("tiny").stage(V1) == "staging"
    captured = capsys.readouterr()
    assert f"{V1} is in staging" in captured.out
    assert captured.err.count("WARNING") == captured.err.count("going on without a record") == 1
    assert run("show") == 0
    assert "staging" in capsys.readouterr().out
    assert run("sync") == 1, "what is asked for is not done"
    assert "does not show" in capsys.readouterr().err


def test_a_store_that_fails_after_the_move_costs_a_warning(
    store: FolderStore, recording: Settings, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    (store.root / "tiny" / STAGES).write_text("damaged")
    assert not lifecycle.mirror(CONFIG, recording, store)
    assert "stages.json is damaged" in caplog.text
    with pytest.raises(HousecastError, match="does not show"):
        lifecycle.sync(CONFIG, recording, store)


def test_a_damaged_version_does_not_keep_the_others_out(
    store: FolderStore, recording: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer, newest = "20260104T000000Z-00000004", "20260105T000000Z-00000005"
    publish(store, tmp_path, newer)
    publish(store, tmp_path, newest)
    (store.root / "tiny" / newer / "metrics.json").write_text("altered")
    lifecycle.sync(CONFIG, recording, store)
    assert f"tiny {newer} stays out of MLflow" in caplog.text
    assert shown(recording)[newest] == ("development", ("challenger",))


def test_show_puts_the_store_beside_mlflow(store: FolderStore, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    store.promote("tiny", V1, by="bob", why="by hand")
    assert run("show") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if V1 in line)
    assert line.split() == [V1, "production", "1", "development"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["move", "20990101T000000Z-00000000", "--to", "staging", "--why", "x"], 2, f"The latest: {V1}, {V2}, {V3}"),
        (["move", "latest", "--to", "staging", "--why", "x"], 2, "'latest' is not a version"),
        (["rollback", "--to", "latest", "--why", "x"], 2, "'latest' is not a version"),
        (["rollback", "--why", "x"], 1, "no current version to roll back from"),
        (["move", V1, "--to", "development", "--why", "x"], 1, "is in development already"),
    ],
)
def test_mistakes_are_one_line(
    unregistered: FolderStore, run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert run(*arguments) == code
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["move", V1, "--to", "staging"],
        ["move", V1, "--to", "retired", "--why", "x"],
        ["move", V1, "--why", "x"],
        ["move", "--to", "staging", "--why", "x"],
        ["rollback"],
        ["rollback", V1, "--why", "x"],
        ["sync", V1],
        [],
    ],
)
def test_usage_errors_exit_2(run: Run, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
