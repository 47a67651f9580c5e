"""Families and baselines beside each other on repeated splits, from a raw file to a leaderboard."""

import json
import logging
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import polars as pl
import pytest
import yaml
from scipy import stats

from src.core.cli import run_command
from src.core.config import DatasetConfig, Settings, load_config
from src.training_pipeline import compare, leaderboard, tracking
from src.training_pipeline.leaderboard import Entrant

CONFIG = {
    "name": "flats",
    "title": "rents of made-up flats",
    "source": {"origin": "made up"},
    "columns": {"day": "date", "area": "number", "rooms": "number", "rent": {"type": "number", "unit": "EUR"}},
    "target": {"column": "rent", "unit": "EUR", "transform": "log"},
    "split": {"by": "random", "seed": 1, "eval": 0.1, "holdout": 0.2, "column": "day"},
    "features": [{"recipe": "numbers", "columns": ["area", "rooms"]}],
    "model": {"max_rounds": 30, "params": {"max_depth": 3, "learning_rate": 0.2}},
    "families": {
        "ridge": {},
        "bare": {"family": "linear", "transform": "none", "features": ["area"]},
    },
    "compare": {
        "seeds": [1, 2, 3],
        "splits": {
            "later days": {"by": "time", "column": "day", "eval_from": "2020-06-01", "holdout_from": "2020-09-01"}
        },
    },
}


@pytest.fixture
def flats(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    n = 300
    area, rooms = rng.uniform(20, 160, n), rng.integers(1, 6, n)
    rent = 12 * area * np.exp(rng.normal(size=n) * 0.1)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 10, 26), "1d", eager=True)
    frame = pl.DataFrame({"day": days, "area": area, "rooms": rooms, "rent": rent})
    frame.write_csv(tmp_path / "flats.csv")
    (tmp_path / "flats.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path / "flats.yaml", tmp_path / "flats.csv"


def run(flats: tuple[Path, Path], settings: Settings) -> list[dict[str, Any]]:
    compare.run(DatasetConfig.model_validate(CONFIG), settings, str(flats[1]), settings.workspace / "compare")
    found: list[dict[str, Any]] = json.loads((settings.workspace / "compare" / "leaderboard.json").read_text())
    return found


def test_every_family_and_baseline_is_judged_on_every_split(flats: tuple[Path, Path], settings: Settings) -> None:
    random, later = run(flats, settings)
    assert (random["splits"], later["splits"]) == ("80% to 20% at random, seeds 1, 2, 3", "later days")
    assert (random["fitted_rows"], random["judged_rows"]) == (240, 60)
    entrants = {one["name"]: one for one in random["entrants"]}
    assert set(entrants) == {"xgboost", "ridge", "bare", "median of train", "linear model"}
    assert all(len(one["splits"]) == 3 for one in entrants.values())
    ranks = [one["mean"]["mape"] for one in random["entrants"]]
    assert ranks == sorted(ranks)
    assert entrants["median of train"]["mean"]["mape"] > 3 * entrants["bare"]["mean"]["mape"]
    low, high = entrants["median of train"]["difference"]["interval_95"]
    assert 0 < low < high
    assert {one["name"]: one["difference"]["interval_95"] for one in later["entrants"]}["ridge"] is None
    pictures = sorted((settings.workspace / "compare").glob("*.png"))
    assert [path.read_bytes()[:4] for path in pictures] == [b"\x89PNG"] * 2


def test_the_runs_are_in_mlflow(flats: tuple[Path, Path], settings: Settings) -> None:
    run(flats, settings)
    client = mlflow.MlflowClient(tracking.tracking_uri(settings))
    runs = client.search_runs([client.get_experiment_by_name("flats").experiment_id])
    names = [one.info.run_name for one in runs]
    assert sorted(set(names)) == ["bare", "compare", "linear model", "median of train", "ridge", "xgboost"]
    ridge = next(one for one in runs if one.info.run_name == "ridge" and "seeds" in one.data.tags["splits"])
    assert len(client.get_metric_history(ridge.info.run_id, "mape")) == 3
    assert ridge.data.metrics["mean_mape"] > 0


def test_cross_validation_judges_every_row_once(flats: tuple[Path, Path], settings: Settings) -> None:
    config = DatasetConfig.model_validate({**CONFIG, "compare": {"folds": 4}})
    frame = compare.load.read(flats[1], config)
    (rounds,) = compare.rounds_of(frame, config).values()
    judged = pl.concat([one.judge for one in rounds])
    assert len(rounds) == 4
    assert judged.sort("day").equals(frame.sort("day"))
    assert all(one.fit.join(one.judge, on="day", how="semi").is_empty() for one in rounds)


def test_a_config_without_families_says_so(
    flats: tuple[Path, Path], settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSPACE", str(settings.workspace))
    path, data = flats
    path.write_text(yaml.safe_dump({**CONFIG, "families": {}}))
    assert run_command(compare.main, ["--dataset", str(path), "--input", str(data)]) == 2
    assert "lists no `families`" in capsys.readouterr().err


def test_the_command_prints_the_leaderboards(
    flats: tuple[Path, Path], settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSPACE", str(settings.workspace))
    path, data = flats
    logging.getLogger().handlers.clear()
    assert run_command(compare.main, ["--dataset", str(path), "--input", str(data)]) == 0
    said = capsys.readouterr().out
    assert "flats: 80% to 20% at random, seeds 1, 2, 3, 240 rows fitted, 60 judged" in said
    assert "below 0" in said


def test_the_interval_is_the_corrected_resampled_one() -> None:
    config = load_config("housets")
    base, other = ([{"mape": value} for value in values] for values in ([0.10, 0.12, 0.11], [0.13, 0.13, 0.15]))
    board = leaderboard.ranked(
        "x", config, [Entrant("xgboost", tuple(base)), Entrant("ridge", tuple(other))], [(80, 20)] * 3
    )
    gaps = np.array([0.03, 0.01, 0.04])
    reach = stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 0.25) * gaps.var(ddof=1))
    assert board.difference(board.entrants[1]) == pytest.approx((gaps.mean(), gaps.mean() - reach, gaps.mean() + reach))
