"""A data set without dates and without keys goes through every stage: random splits, one batch."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from src import pipeline
from src.batch import run_monthly
from src.core.cli import run_command
from src.core.config import DatasetConfig, Settings, load_config
from src.core.predictions_store import FolderPredictions
from src.core.store import open_store
from src.core.store_cli import main as store_command
from src.core.workspace import SPLITS, Workspace
from src.training_pipeline.baselines import LABELS

HOMES = {
    "name": "homes",
    "title": "Made-up homes",
    "source": {"files": ["homes.csv"]},
    "columns": {"town": "text", "rooms": "number", "area": {"type": "number", "required": True}, "rent": "number"},
    "target": {"column": "rent", "unit": "EUR", "label": "monthly rent", "transform": "log"},
    "place": "town",
    "split": {"by": "random", "seed": 3, "eval": 0.15, "holdout": 0.2},
    "features": [{"recipe": "numbers", "columns": ["rooms", "area"]}],
    "model": {"params": {"learning_rate": 0.3, "max_depth": 3}, "max_rounds": 60, "early_stopping": {"rounds": 5}},
    "tuning": {"trials": 2, "folds": 3, "space": {"max_depth": {"int": [2, 4]}}},
    "intervals": [0.8],
    "gate": {"max": {"holdout": {"mape": 0.2}}, "beats": ["median", "place_median"]},
    "segments": [{"name": "town", "column": "town"}],
}


def homes(n: int = 500) -> pl.DataFrame:
    draw = np.random.default_rng(5)
    rooms, area = draw.integers(1, 6, n), draw.uniform(20, 120, n).round()
    rent = np.exp(5.5 + 0.01 * area + 0.08 * rooms + draw.normal(0, 0.05, n)).round()
    town = draw.choice(["Ede", "Oss", "Urk"], n)
    frame = pl.DataFrame({"town": town, "rooms": rooms, "area": area, "rent": rent})
    return pl.concat([frame, frame.head(50)])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DatasetConfig:
    path = tmp_path_factory.mktemp("configs") / "homes.yaml"
    path.write_text(yaml.safe_dump(HOMES, sort_keys=False))
    return load_config(str(path))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("homes")
    (root / "market").mkdir()
    homes().write_csv(root / "market" / "homes.csv")
    return Settings(workspace=root, data_root=root / "market", threads=1)


@pytest.fixture(scope="module")
def space(config: DatasetConfig, settings: Settings) -> Workspace:
    made = Workspace.of(config.name, settings)
    store = open_store(None, settings, made.store)
    pipeline.run_stages(pipeline.stages_of(config, settings, store), config, made.stages)
    return made


def test_copies_are_in_one_split_from_raw_rows_to_features(space: Workspace) -> None:
    parts = {split: pl.read_parquet(space.raw / f"{split}.parquet") for split in SPLITS}
    assert sum(part.height for part in parts.values()) == 550
    assert sum(part.unique().height for part in parts.values()) == homes().unique().height
    assert json.loads((space.raw / "load.json").read_text())["dropped"] == 0
    assert pl.read_parquet(space.features / "holdout.parquet").columns == ["town", "rent", "rooms", "area"]


def test_the_model_is_good_and_published_and_nothing_speaks_of_months(
    space: Workspace, config: DatasetConfig, settings: Settings, tmp_path: Path
) -> None:
    store = open_store(None, settings, space.store)
    pointer = store.current("homes")
    assert pointer is not None
    scores = json.loads((space.reports / "evaluation" / "scores.json").read_text())
    assert scores["holdout"]["scores"]["mape"] < 0.08
    assert scores["eval"]["first"] is None
    assert scores["eval"]["coverage"][0]["observed"] == pytest.approx(0.8, abs=0.12)
    assert set(scores["eval"]["baselines"]) == {"median", "linear", "place_median"}
    card = (store.fetch("homes", pointer.version, tmp_path / pointer.version) / "model_card.md").read_text()
    page = (space.reports / "evaluation" / "index.html").read_text().split("<h2>Plots")[0]
    assert "cross-fitted in random parts" in card
    assert "cross-fitted in random parts" in page
    for text in (card, page, (space.reports / "summary.txt").read_text()):
        assert "month" not in text.replace("monthly rent", "")
        assert "None" not in text
        assert LABELS["last_known"] not in text
    training = json.loads((space.model / "train.json").read_text())
    assert training["months"] == {}
    assert len(json.loads((space.model / "params.json").read_text())["folds"]) == 3


def test_lineage_names_the_splits_without_days(space: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(store_command, ["lineage", "--dataset", "homes", "--store", str(space.store)]) == 0
    said = capsys.readouterr().out
    assert "holdout" in said
    assert "None" not in said


def test_all_rows_are_one_batch(space: Workspace) -> None:
    assert [path.name for path in space.predictions.iterdir()] == ["preds_all.parquet"]
    written, raw = (
        pl.read_parquet(space.predictions / "preds_all.parquet"),
        pl.read_parquet(space.raw / "holdout.parquet"),
    )
    assert written.columns == [
        *("rooms", "area", "predicted_rent", "lower_80", "upper_80", "flags", "actual_rent", "model_version")
    ]
    assert written["flags"].unique().to_list() == [""]
    assert written["actual_rent"].to_list() == raw["rent"].to_list()


def test_a_month_cannot_be_asked_for(
    space: Workspace, config: DatasetConfig, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def batch(argv: list[str] | None = None) -> None:
        store = open_store(None, settings, space.store)
        output = FolderPredictions(space.predictions)
        run_monthly.run(config, space.raw / "holdout.parquet", output, store, settings, argv or [])

    assert run_command(batch, ["2022-01"]) == 2
    assert "--month 2022-01: rows of homes have no date, so they are one batch" in capsys.readouterr().err


def test_a_batch_without_rows_says_so(
    space: Workspace, config: DatasetConfig, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.read_parquet(space.raw / "holdout.parquet").clear().write_parquet(tmp_path / "none.parquet")

    def batch(argv: list[str] | None = None) -> None:
        store = open_store(None, settings, space.store)
        output = FolderPredictions(tmp_path / "out")
        run_monthly.run(config, tmp_path / "none.parquet", output, store, settings)

    assert run_command(batch, []) == 1
    assert "none.parquet has no rows" in capsys.readouterr().err
