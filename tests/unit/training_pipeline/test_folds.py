from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.feature_pipeline.feature_engineering import Matrix
from src.training_pipeline.folds import (
    last_months,
    month_name,
    month_numbers,
    rolling_origins,
    row_parts,
    stopping_fold,
    tuning_folds,
)
from tests.markets import tiny_config


def numbers(*months: int) -> np.ndarray:
    return np.array(months, dtype=np.int64)


def test_months_are_counted_and_written_in_calendar_terms() -> None:
    found = month_numbers(pl.Series("date", [date(2019, 12, 31), date(2020, 1, 1)]))
    assert np.diff(found).tolist() == [1]
    assert [month_name(m) for m in found] == ["2019-12", "2020-01"]


@pytest.mark.parametrize("dates", [pl.Series("sold", [date(2019, 1, 1), None]), pl.Series("sold", [1, 2])])
def test_dates_that_have_no_month_are_named(dates: pl.Series) -> None:
    with pytest.raises(DataError, match="sold"):
        month_numbers(dates)


def test_windows_are_consecutive_and_end_with_train() -> None:
    months = np.repeat(np.arange(36), 2)
    folds = rolling_origins(months, 3, 6)
    assert [(months[f.judge].min(), months[f.judge].max()) for f in folds] == [(18, 23), (24, 29), (30, 35)]
    assert [months[f.fit].max() for f in folds] == [17, 23, 29]


def test_a_short_history_gives_fewer_folds() -> None:
    assert len(rolling_origins(np.arange(20), 3, 6)) == 2


def test_too_short_a_history_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"spans 11 months.*needs 12.*tuning\.fold_months"):
        rolling_origins(np.arange(11), 3, 6)


def test_a_window_without_rows_is_no_fold() -> None:
    months = numbers(0, 1, 2, 3, 4, 5, 18, 19, 20)
    assert [f.judge.tolist() for f in rolling_origins(months, 3, 3)] == [[6, 7, 8]]


def test_early_stopping_takes_the_last_months() -> None:
    split = last_months(numbers(5, 1, 4, 2, 3), 2)
    assert (split.fit.tolist(), split.judge.tolist()) == ([1, 3, 4], [0, 2])


def test_early_stopping_leaves_months_to_fit() -> None:
    with pytest.raises(DataError, match=r"spans 3 months.*early_stopping\.months below 3"):
        last_months(numbers(1, 2, 3), 3)


@pytest.mark.parametrize("cut", [lambda m: rolling_origins(m, 2, 2), lambda m: last_months(m, 2)])
def test_no_rows_are_refused(cut: object) -> None:
    with pytest.raises(DataError, match="no rows"):
        cut(numbers())  # type: ignore[operator]


@given(
    months=st.lists(st.integers(0, 60), min_size=1, max_size=80),
    folds=st.integers(1, 5),
    fold_months=st.integers(1, 12),
)
def test_a_fold_never_fits_on_a_month_that_it_judges_or_on_a_later_one(
    months: list[int], folds: int, fold_months: int
) -> None:
    try:
        made = rolling_origins(numbers(*months), folds, fold_months)
    except DataError:
        return
    assert 1 <= len(made) <= folds
    for fold in made:
        assert max(months[i] for i in fold.fit) < min(months[i] for i in fold.judge)
    judged = [i for fold in made for i in fold.judge]
    assert len(judged) == len(set(judged))


def drawn_config(folds: int = 3, share: float = 0.15, **rule: Any) -> DatasetConfig:
    """Rows of a place and two numbers, of which one is encoded out-of-fold: `place_target` differs between copies."""
    return tiny_config(
        {"early_stopping": {"share": share}},
        columns={"place": "text", "a": "number", "price": "number"},
        keys=[],
        split={"by": "random", **rule},
        features=[
            {"recipe": "numbers", "columns": ["a"]},
            {"recipe": "target_mean", "column": "place", "name": "place_target"},
        ],
        tuning={"folds": folds},
        segments=[{"name": "place", "column": "place"}],
    )


def matrix(a: list[float], places: list[str] | None = None) -> Matrix:
    n = len(a)
    X = np.column_stack([a, np.random.default_rng(0).normal(size=n)]).astype(np.float32)
    meta = pl.DataFrame({"place": places or ["x"] * n, "price": [1.0] * n})
    return Matrix(X, np.ones(n), meta)


@given(
    a=st.lists(st.one_of(st.just(float("nan")), st.integers(0, 30)), min_size=20, max_size=90),
    folds=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_random_folds_judge_each_row_once_and_never_part_equal_rows(a: list[float], folds: int, seed: int) -> None:
    data, config = matrix(a), drawn_config(folds, seed=seed)
    if len({str(value) for value in a}) < 2:
        return
    try:
        made, parts = tuning_folds(data, config)
    except DataError:
        assert max(map([str(v) for v in a].count, map(str, a))) > len(a) / folds
        return
    assert sorted(i for fold in made for i in fold.judge) == list(range(len(a)))
    for fold in made:
        assert sorted([*fold.fit, *fold.judge]) == list(range(len(a)))
        assert not {str(a[i]) for i in fold.fit} & {str(a[i]) for i in fold.judge}
        assert len(set(parts[fold.judge])) == 1


def test_random_folds_are_of_one_size_and_of_their_seed() -> None:
    data = matrix(list(range(100)))
    one, same, other = (tuning_folds(data, drawn_config(4, seed=seed))[0] for seed in (1, 1, 2))
    assert [len(fold.judge) for fold in one] == [25] * 4
    assert [f.judge.tolist() for f in one] == [f.judge.tolist() for f in same] != [f.judge.tolist() for f in other]
    assert one[0].months == {}


def test_a_group_is_judged_as_a_whole() -> None:
    places = [f"p{i // 5}" for i in range(60)]
    data, config = matrix(list(range(60)), places), drawn_config(group=["place"])
    for fold in [*tuning_folds(data, config)[0], stopping_fold(data, config)]:
        assert not {places[i] for i in fold.fit} & {places[i] for i in fold.judge}


def test_each_fold_has_every_class_in_its_share() -> None:
    places = ["many"] * 60 + ["few"] * 20 + ["one"]
    data, config = matrix(list(range(81)), places), drawn_config(4, stratify="place")
    for fold in tuning_folds(data, config)[0]:
        judged = [places[i] for i in fold.judge]
        assert (judged.count("many"), judged.count("few")) == (15, 5)
    judged = [places[i] for i in stopping_fold(data, config).judge]
    assert {place: judged.count(place) for place in set(judged)} == {"many": 9, "few": 3}


def test_scattered_copies_are_judged_apart() -> None:
    data = matrix([1.0] * 40)
    assert len(tuning_folds(data, drawn_config(4, duplicates="scatter"))[0]) == 4
    with pytest.raises(DataError, match="train has 40 rows, which make no two folds"):
        tuning_folds(data, drawn_config(4))


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_early_stopping_takes_a_random_share(share: float) -> None:
    fold = stopping_fold(matrix(list(range(200))), drawn_config(share=share))
    assert len(fold.judge) == 200 * share
    assert np.any(np.diff(fold.judge) > 1)
    assert sorted([*fold.fit, *fold.judge]) == list(range(200))


@pytest.mark.parametrize("a", [[], [1.0], [1.0, 2.0], [1.0] * 30])
def test_too_few_units_for_early_stopping_are_explained(a: list[float]) -> None:
    with pytest.raises(DataError, match=rf"train has {len(a)} rows, too few .*early_stopping\.share"):
        stopping_fold(matrix(a), drawn_config())


def test_parts_are_months_where_the_split_is_by_time() -> None:
    days = [date(2019, 12, 31), date(2019, 12, 1), date(2020, 2, 1)]
    meta = pl.DataFrame({"zipcode": ["0"] * 3, "date": days, "price": [1.0] * 3})
    parts = row_parts(Matrix(np.zeros((3, 3), np.float32), np.ones(3), meta), tiny_config(), 10)
    assert np.diff(parts).tolist() == [0, 2]
