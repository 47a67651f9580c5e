"""All stages in order: what has not changed is skipped, what fails is named, what was done stays done."""

import logging
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest

from src import pipeline
from src.core.cli import run_command
from src.core.config import CONFIGS, DatasetConfig, Settings, load_config
from src.core.errors import GateError
from src.core.store import open_store
from src.core.workspace import Workspace
from tests.conftest import Published


@pytest.fixture
def copied(published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The published workspace, copied, so that a test may change it; stamps name paths, so they are rewritten."""
    root = tmp_path / "copy"
    shutil.copytree(published.space.root, root)
    for stamp in (root / "data" / ".stages").iterdir():
        stamp.write_text(stamp.read_text().replace(str(published.space.root), str(root)))
    record = root / "reports" / "published.json"
    record.write_text(record.read_text().replace(str(published.space.root), str(root)))
    monkeypatch.setenv("WORKSPACE", str(root))
    monkeypatch.setenv("DATA_ROOT", str(root / "market"))
    monkeypatch.setenv("THREADS", "1")
    return Workspace(root, "housets")


def stages(config: DatasetConfig, space: Workspace) -> list[pipeline.Stage]:
    settings = Settings(workspace=space.root, data_root=space.root / "market", threads=1)
    return pipeline.stages_of(
        config, settings, open_store(None, settings, space.store), config.source.default, trials=1
    )


def test_every_stage_left_what_it_says(published: Published) -> None:
    space = published.space
    for split in ("train", "eval", "holdout"):
        for path in (space.raw / f"{split}.csv", space.raw / f"{split}.parquet", space.features / f"{split}.parquet"):
            assert path.stat().st_size > 0
    assert (space.reports / "evaluation" / "index.html").is_file()
    assert (space.reports / "quality" / "docs" / "index.html").is_file()
    assert len(list(space.predictions.glob("preds_*.parquet"))) == 24
    assert (space.root / "mlflow.db").is_file()


def test_a_change_runs_the_stages_that_depend_on_it_and_no_other(
    config: DatasetConfig, copied: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    # The code of the stages is the same, so their stamps hold but for the store's name, which is part of two keys.
    (copied.features / "eval.parquet").write_bytes(b"damaged")
    with caplog.at_level(logging.INFO, "src"):
        pipeline.run_stages(stages(config, copied)[:6], config, copied.stages)
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("[")]
    skipped = [line.split()[1].rstrip(":") for line in said if "skipped" in line]
    assert skipped == ["load", "validate", "preprocess", "tune", "train"]
    assert any(line.startswith("[4/6] features: done") for line in said)
    assert pl.read_parquet(copied.features / "eval.parquet").height > 0


def test_force_runs_what_has_not_changed(
    config: DatasetConfig, copied: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "src"):
        pipeline.run_stages(stages(config, copied)[2:4], config, copied.stages, force=True)
    assert "skipped" not in caplog.text
    assert "[2/2] features: done" in caplog.text


def test_a_stage_that_fails_is_not_taken_for_done(config: DatasetConfig, copied: Workspace) -> None:
    def fail() -> None:
        raise GateError("not good enough")

    broken = pipeline.Stage("features", fail, (), ())
    with pytest.raises(GateError):
        pipeline.run_stages([broken], config, copied.stages, force=True)
    assert not (copied.stages / "features.json").exists()


def test_a_model_that_fails_the_gate_is_kept_and_the_old_one_stays_current(
    config: DatasetConfig, copied: Workspace, published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = config.model_copy(update={"gate": config.gate.model_copy(update={"max": {"eval": {"mape": 0.001}}})})
    store = open_store(None, Settings(workspace=copied.root), copied.store)
    before = store.current("housets")
    with pytest.raises(GateError, match=r"eval mape is 0\.\d+, and must be <= 0.001"):
        pipeline.run_stages(stages(strict, copied)[6:7], strict, copied.stages, force=True)
    assert store.current("housets") == before
    assert len(store.versions("housets")) == 2
    assert "kept, not promoted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--trials", "0"], "--trials 0: at least 1 is needed"),
        (["--data", "nowhere.csv"], "no such file or folder: nowhere.csv"),
        (["--data", "simulate:zips=many"], "zips"),
        (["--dataset", "atlantis"], "no dataset 'atlantis'"),
        (["--store", "ftp://somewhere"], "ftp"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    argv: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    assert run_command(pipeline.main, argv) == 2
    err = capsys.readouterr().err
    error = err[err.index("error:") :]
    assert said in error
    assert "Traceback" not in err


def test_the_closing_table_sets_scores_beside_baselines(
    published: Published, config: DatasetConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.print_summary(config, published.settings)
    out = capsys.readouterr().out
    for word in ("median of train", "linear model", "last known", "MdAPE", "80 %", "95 %", "what next", "mlflow ui"):
        assert word in out
    assert max(map(len, out.split("what next")[0].splitlines())) <= 80 + len(str(published.space.root)) + 40


def test_the_commands_that_come_next_name_the_data_set_as_it_was_given(config: DatasetConfig, tmp_path: Path) -> None:
    here, there = Settings(), Settings(workspace=tmp_path / "my work")
    assert list(pipeline.next_commands(config, here)) == [
        ". .venv/bin/activate",
        "mlflow ui",
        "python -m src.core.store list",
        "python src/inference_pipeline/inference.py --input data/raw/holdout.csv --output predictions.csv",
    ]
    assert list(pipeline.next_commands(load_config("iris"), here))[2:] == [
        "python -m src.core.store list --dataset iris",
        "python src/inference_pipeline/inference.py --dataset iris --input data/iris/raw/holdout.csv"
        " --output predictions.csv",
        "python -m src.training_pipeline.compare --dataset iris",
    ]
    path = shutil.copy(CONFIGS / "iris.yaml", tmp_path / "my iris.yaml")
    told = list(pipeline.next_commands(load_config(str(path)), there, "https://example.org/iris.csv?key=secret"))
    assert shlex.split(told[1]) == ["mlflow", "ui", "--backend-store-uri", f"sqlite:///{tmp_path}/my work/mlflow.db"]
    assert shlex.split(told[2])[-2:] == ["--dataset", str(path)]
    assert shlex.split(told[3])[4:6] == ["--input", f"{tmp_path}/my work/data/iris/raw/holdout.csv"]
    assert shlex.split(told[4])[-2:] == ["--input", "https://example.org/iris.csv"]
    server = Settings(workspace=tmp_path, mlflow_tracking_uri="https://ann:secret@mlflow.example.org")
    assert "mlflow" not in " ".join(pipeline.next_commands(config, server))


def test_a_changed_lookup_table_is_a_changed_input(tmp_path: Path) -> None:
    for name in ("housets.yaml", "metros.csv"):
        shutil.copy(CONFIGS / name, tmp_path)
    mine = load_config(str(tmp_path / "housets.yaml"))
    reads = {stage.name for stage in stages(mine, Workspace(tmp_path, "housets")) if mine.lookup_file in stage.inputs}
    assert mine.lookup_file == tmp_path / "metros.csv"
    assert reads == {"preprocess", "features"}
