"""Which of two models is better, and whether that could be chance."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from src.core.errors import DataError
from src.monitoring import duel


def rows(places: int, months: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "month": [f"2023-{10 + month}" for month in range(months) for _ in range(places)],
            "place": [f"{place:05}" for _ in range(months) for place in range(places)],
            "actual": 100_000.0 + 1_000 * np.arange(places * months),
        }
    )


def test_both_errors_by_month_and_their_difference() -> None:
    known = rows(20)
    actual = known["actual"].to_numpy()
    ours = actual + np.repeat([1_000.0, 2_000.0, 3_000.0], 20)
    found = duel.judge(known, actual - 5_000, ours, 0.95)
    assert found.months == (
        duel.Month("2023-10", 20, 5_000, 1_000),
        duel.Month("2023-11", 20, 5_000, 2_000),
        duel.Month("2023-12", 20, 5_000, 3_000),
    )
    assert (found.rows, found.places, found.champion, found.challenger) == (60, 20, 5_000, pytest.approx(2_000))
    # Every place differs by the same, so no draw of places changes the mean.
    assert (found.difference, found.lower, found.upper) == pytest.approx((-3_000, -3_000, -3_000))
    assert found.is_won
    assert found.words("USD") == "the challenger is better: MAE -3,000 USD (95 % interval -3,000 to -3,000)"


def test_equal_models_are_no_win() -> None:
    known = rows(12)
    said = known["actual"].to_numpy() * 1.1
    found = duel.judge(known, said, said, 0.95)
    assert (found.difference, found.lower, found.upper) == (0, 0, 0)
    assert not found.is_won
    assert "not better beyond chance" in found.words("USD")


def test_the_interval_is_scipys_where_each_place_has_as_many_rows() -> None:
    draw = np.random.default_rng(3)
    means = draw.normal(-100, 400, 60)
    gaps = np.tile(means, 4) + np.repeat([-30.0, 10.0, -10.0, 30.0], 60)
    ours = duel.interval(gaps, np.tile(np.arange(60), 4), 0.9)
    theirs = stats.bootstrap((means,), np.mean, confidence_level=0.9, method="percentile", n_resamples=20_000, rng=1)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=3)
    # As if all rows were independent, it would be half as wide: 4 rows of a place are one piece of news.
    alone = duel.interval(gaps, np.arange(240), 0.9)
    assert (ours[1] - ours[0]) / (alone[1] - alone[0]) == pytest.approx(2, rel=0.1)


def test_places_of_unequal_size_weigh_by_their_rows_and_the_seed_decides() -> None:
    draw = np.random.default_rng(4)
    sizes = draw.integers(1, 30, 40)
    places = np.repeat(np.arange(40), sizes)
    gaps = draw.normal(size=40)[places] * 1_000
    low, high = duel.interval(gaps, places, 0.95)
    assert low < gaps.mean() < high
    assert duel.interval(gaps, places, 0.95) == (low, high)
    assert duel.interval(gaps, places, 0.95, seed=1) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_it_holds_the_mean_as_often_as_it_says() -> None:
    draw = np.random.default_rng(5)
    places = np.repeat(np.arange(40), 3)
    held = 0
    for number in range(100):
        gaps = draw.normal(50, 300, 40)[places] + draw.normal(0, 100, 120)
        low, high = duel.interval(gaps, places, 0.9, seed=number)
        held += low <= 50 <= high
    assert 82 <= held <= 97


def test_few_places_say_too_little() -> None:
    known = rows(9)
    said = known["actual"].to_numpy()
    with pytest.raises(DataError, match="9 places say too little"):
        duel.judge(known, said, said, 0.95)
