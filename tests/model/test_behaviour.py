"""What any sane model of this market must do, held on the model that the stages published."""

import json

import numpy as np
import polars as pl
import pytest

from src.core import metrics
from src.core.config import DatasetConfig
from src.feature_pipeline import simulate
from src.feature_pipeline.feature_engineering import read_matrix
from src.inference_pipeline.boosted import BoostedTrees
from src.training_pipeline import train, xgb
from tests.conftest import Published

# Whole trainings, whose lines other tests follow.
pytestmark = pytest.mark.no_cover


@pytest.fixture(scope="session")
def market(published: Published) -> dict[str, pl.DataFrame]:
    return {split: pl.read_parquet(published.space.raw / f"{split}.parquet") for split in ("eval", "holdout")}


@pytest.mark.parametrize("split", ["eval", "holdout"])
def test_the_error_comes_within_one_and_a_half_times_the_markets_own_noise(
    published: Published, market: dict[str, pl.DataFrame], split: str
) -> None:
    rows = market[split]
    mape = metrics.mape(rows["price"].to_numpy(), published.predictor.predict(rows).estimate)
    assert simulate.IRREDUCIBLE_MAPE * 0.95 < mape < simulate.IRREDUCIBLE_MAPE * 1.5


def test_a_dearer_market_is_priced_higher(published: Published, market: dict[str, pl.DataFrame]) -> None:
    rows = market["eval"].drop_nulls(["median_list_price", "median_ppsf", "median_list_ppsf"])
    money = ["median_list_price", "median_ppsf", "median_list_ppsf"]
    dearer = rows.with_columns(pl.col(money) * 1.3)
    change = published.predictor.predict(dearer).estimate / published.predictor.predict(rows).estimate
    assert np.median(change) > 1.05
    assert (change > 1).mean() > 0.95


def test_what_cannot_matter_does_not(published: Published, market: dict[str, pl.DataFrame]) -> None:
    rows = market["eval"]
    wanted = published.predictor.predict(rows).estimate.tolist()
    spelled = rows.with_columns(pl.col("city_full").str.to_uppercase() + ", NY-NJ")
    assert published.predictor.predict(spelled).estimate.tolist() == wanted
    leaks = rows.with_columns(median_sale_price=pl.lit(1.0), price=pl.lit(2.0))
    assert published.predictor.predict(leaks).estimate.tolist() == wanted
    assert published.predictor.predict(rows.drop("median_sale_price", "price", "city")).estimate.tolist() == wanted


def test_a_later_rows_features_do_not_change_an_earlier_estimate(
    published: Published, market: dict[str, pl.DataFrame]
) -> None:
    early, late = market["eval"], market["holdout"]
    alone = published.predictor.predict(early).estimate
    together = published.predictor.predict(pl.concat([early, late])).estimate[: early.height]
    assert alone.tolist() == together.tolist()


def test_intervals_hold_roughly_what_they_promise_out_of_sample(
    published: Published, market: dict[str, pl.DataFrame]
) -> None:
    rows = market["holdout"]
    said = published.predictor.predict(rows)
    y = rows["price"].to_numpy()
    for level, least in ((0.8, 0.6), (0.95, 0.8)):
        inside = ((said.lower[level] <= y) & (y <= said.upper[level])).mean()
        assert least < inside < 1


def test_the_same_rows_seed_and_machine_give_the_same_bits(published: Published, config: DatasetConfig) -> None:
    data = read_matrix(published.space.features / "train.parquet", config)
    params = xgb.params_of(config, {}, 1)
    first, second = (train.train(data, config, params) for _ in range(2))
    assert isinstance(first.model, BoostedTrees)
    assert isinstance(second.model, BoostedTrees)
    assert first.model.booster.save_raw() == second.model.booster.save_raw()
    assert first.model.trend == second.model.trend


def test_the_published_scores_are_those_of_the_published_model(
    published: Published, market: dict[str, pl.DataFrame]
) -> None:
    scores = json.loads((published.space.reports / "evaluation" / "scores.json").read_text())
    for split, rows in market.items():
        found = metrics.mape(rows["price"].to_numpy(), published.predictor.predict(rows).estimate)
        assert scores[split]["scores"]["mape"] == pytest.approx(found, rel=1e-9)
