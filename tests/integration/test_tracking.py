"""Runs and versions in a real MLflow database, read back with MLflow's own client as its UI does."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.core.config import PROJECT, Settings
from src.training_pipeline import tracking, train, tune
from tests.markets import tiny_config, tiny_matrix, write_train

CONFIG = tiny_config()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace whose record is made once for this module."""
    made = Settings(workspace=tmp_path_factory.mktemp("workspace"), threads=1)
    with warnings.catch_warnings():
        # MLflow's own classes use a loader that SQLAlchemy 2.1 deprecates; it says so once, on import.
        warnings.filterwarnings("ignore", "The .{2}noload", DeprecationWarning)
        assert tracking.registered(CONFIG, made) == []
    return made


def client(settings: Settings) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking.tracking_uri(settings))


def artifacts(settings: Settings, run_id: str | None, folder: str | None = None) -> set[str]:
    return {found.path for found in client(settings).list_artifacts(run_id, folder)}


def test_the_record_is_where_a_bare_mlflow_ui_looks(
    deployment: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `mlflow ui` without flags opens ./mlflow.db.
    assert tracking.tracking_uri(deployment) == f"sqlite:///{deployment.workspace}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("x")
    with tracking.start(CONFIG, deployment, "elsewhere") as run:
        run.log_files(tmp_path / "note.txt", "notes")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert list((deployment.workspace / "mlruns").rglob("notes/note.txt"))


def test_training_can_be_judged_from_the_record_alone(deployment: Settings, tmp_path: Path) -> None:
    features = write_train(tmp_path / "features", tiny_matrix())
    said = train.run(CONFIG, deployment, features, tmp_path / "model")
    found = client(deployment).get_run(said["run_id"])
    assert found.info.status == "FINISHED"
    assert found.data.params["max_depth"] == "3"
    assert found.data.params["rounds"] == str(said["rounds"])
    assert found.data.metrics["validation_mape"] == pytest.approx(said["validation"]["mape"])
    assert found.data.tags["features_sha256"] == said["features_sha256"]
    assert found.data.tags["config_sha256"] == CONFIG.digest
    curve = client(deployment).get_metric_history(said["run_id"], "judge_mae")
    assert [point.step for point in curve][:3] == [1, 2, 3]
    assert len(curve) >= said["stopped_at"]
    assert "train.json" in artifacts(deployment, said["run_id"])


def test_runs_carry_the_commit_of_the_code(deployment: Settings) -> None:
    commit = subprocess.run(["git", "-C", PROJECT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode:
        pytest.skip("not a git checkout")
    with tracking.start(CONFIG, deployment, "commit") as run:
        pass
    assert client(deployment).get_run(run.id).data.tags["mlflow.source.git.commit"].startswith(commit.stdout.strip())


def test_trials_are_nested_in_one_search_with_its_plots(deployment: Settings, tmp_path: Path) -> None:
    features = write_train(tmp_path / "features", tiny_matrix(seed=3))
    tune.run(CONFIG, deployment, features, tmp_path / "model", 3)
    found = tune.run(CONFIG, deployment, features, tmp_path / "model", 7)
    parent = client(deployment).get_run(found["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["value"] == found["value"]
    children = client(deployment).search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{found['run_id']}'"
    )
    assert sorted(child.info.run_name for child in children) == [f"trial {number}" for number in range(7)]
    complete = [child for child in children if child.data.tags["state"] == "complete"]
    assert min(child.data.metrics["mape"] for child in complete) == found["best"]
    assert [child.info.run_name for child in children if child.data.tags["default"] == "True"] == ["trial 0"]
    plots = {"parallel_coordinates.html", "importance.html", "history.html"}
    assert artifacts(deployment, found["run_id"]) == {*plots, "params.json"}
    assert "<html>" in (tmp_path / "model" / "plots" / "importance.html").read_text()[:100]


def test_a_run_continues_and_parameters_keep_their_first_value(deployment: Settings) -> None:
    with tracking.start(CONFIG, deployment, "train") as first:
        first.log_params({"depth": 3})
    with tracking.start(CONFIG, deployment, "evaluate", run_id=first.id) as second:
        second.log_params({"depth": 4, "note": "x" * 10_000})
        second.log_metrics({"eval_mape": 0.1}, step=2)
    found = client(deployment).get_run(first.id)
    assert second.id == first.id
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "train"
    assert found.data.params["depth"] == "3"
    assert found.data.metrics == {"eval_mape": 0.1}


def test_a_run_that_is_gone_is_replaced(deployment: Settings) -> None:
    with tracking.start(CONFIG, deployment, "evaluate", run_id="0" * 32) as run:
        pass
    assert run.id not in (None, "0" * 32)


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_a_run_says_how_it_ended(deployment: Settings, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), tracking.start(CONFIG, deployment, "ends badly") as run:
        raise error
    assert client(deployment).get_run(run.id).info.status == status


def test_versions_are_registered_and_shown_under_aliases_that_move(
    deployment: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    for version in ("v1", "v2"):
        with tracking.start(CONFIG, deployment, "evaluate") as run:
            assert tracking.register(CONFIG, deployment, run, tmp_path / "bundle", version, {"gate": "passed"})
        assert artifacts(deployment, run.id, "bundle") == {"bundle/manifest.json"}
    tags = {"v1": {"stage": "production", "promoted_by": "ann"}, "v2": {"stage": "staging"}}
    assert tracking.mirror(CONFIG, deployment, {"champion": "v1", "challenger": "v2"}, tags)
    assert aliases(deployment) == {"v1": ("champion",), "v2": ("challenger",)}
    found = client(deployment).get_model_version_by_alias("tiny", "challenger")
    assert found.run_id == run.id
    assert found.tags == {"version": "v2", "gate": "passed", "stage": "staging"}
    tags = {"v1": {"stage": "archived"}}
    assert tracking.mirror(CONFIG, deployment, {"champion": "v2", "challenger": None}, tags)
    assert aliases(deployment) == {"v1": (), "v2": ("champion",)}
    assert client(deployment).get_model_version("tiny", "1").tags == {
        "version": "v1",
        "gate": "passed",
        "stage": "archived",
    }
    assert client(deployment).get_model_version_by_alias("tiny", "champion").tags == {"version": "v2", "gate": "passed"}
    assert not tracking.mirror(CONFIG, deployment, {"champion": "v99"}, {})
    assert "has no tiny v99: run sync" in caplog.text
    assert aliases(deployment) == {"v1": (), "v2": ()}, "an alias does not name another version than the store's"


def aliases(settings: Settings) -> dict[str, tuple[str, ...]]:
    return {one.version: one.aliases for one in reversed(tracking.registered(CONFIG, settings) or [])}


def test_a_server_that_is_down_costs_the_record_and_not_the_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = Settings(workspace=tmp_path, threads=1, mlflow_tracking_uri="http://127.0.0.1:9")
    features = write_train(tmp_path / "features", tiny_matrix())
    said = train.run(CONFIG, down, features, tmp_path / "model")
    assert said["run_id"] is None
    assert (tmp_path / "model" / "model.ubj").is_file()
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "http://127.0.0.1:9" in warned[0]
    assert "going on without a record" in warned[0]
    assert tune.run(CONFIG, down, features, tmp_path / "model", 2)["trials"] == 2


def test_a_record_that_fails_midway_is_given_up_with_one_warning(
    deployment: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tracking.start(CONFIG, deployment, "midway") as run:
        run.log_files(tmp_path / "missing.txt")
        run.log_metrics({"late": 1.0})
    assert len(caplog.records) == 1
    assert "missing.txt" in caplog.text
    assert not run.is_recorded


def test_the_commands_tune_then_train_and_go_on_logging(deployment: Settings, tmp_path: Path) -> None:
    # MLflow's and Optuna's schema set-ups would like to configure the process's logging: hence a process of its own.
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    write_train(tmp_path / "features", tiny_matrix())
    where = ["--dataset", "tiny.yaml", "--input", "features", "--output-dir", "model"]
    stage = PROJECT / "src" / "training_pipeline"
    env = {**os.environ, "WORKSPACE": str(deployment.workspace), "THREADS": "1"}
    for command in ([stage / "tune.py", *where, "--trials", "2"], [stage / "train.py", *where]):
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=tmp_path, env=env, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "2 of 2, best MAPE" in done.stderr or "tuned in 2 trials" in done.stderr
        assert "Traceback" not in done.stderr
        assert "alembic" not in done.stderr
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "model.ubj",
        "params.json",
        "plots",
        "study.db",
        "train.json",
    }
