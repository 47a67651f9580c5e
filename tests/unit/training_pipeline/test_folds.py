from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.errors import DataError
from src.training_pipeline.folds import last_months, month_name, month_numbers, rolling_origins


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
