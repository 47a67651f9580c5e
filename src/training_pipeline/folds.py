"""Which months fit and which months judge: rolling origins and the early-stopping split, both inside train.

A judged month is always later than every month fitted. Encoded features were made out-of-fold over the whole of train,
so the encodings of a fold's rows may know neighbours' later prices (never their own): the same small advantage for
every candidate, which is why fold scores rank candidates and eval judges the winner.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core.errors import DataError

Rows = NDArray[np.int64]
Months = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row numbers to fit on and to judge on, each in the order of the matrix; months are written 2019-03."""

    fit: Rows
    judge: Rows
    first_judged: str
    last_judged: str


def month_numbers(dates: pl.Series) -> Months:
    """Count months since year 0 for each date, shape (n,); DataError when a date is missing."""
    missing = dates.null_count()
    if missing or not dates.dtype.is_temporal():
        what = f"{missing:,} missing dates" if missing else f"{dates.dtype} values"
        raise DataError(f"train: {dates.name} has {what}; months cannot be told apart. Run feature_engineering again")
    return (dates.dt.year().cast(pl.Int64) * 12 + dates.dt.month().cast(pl.Int64) - 1).to_numpy()


def month_name(month: int) -> str:
    """Write a month number as 2019-03."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def last_months(months: Months, count: int) -> Fold:
    """Judge the last `count` calendar months, fit on the earlier ones; DataError when none are earlier."""
    if len(months) == 0:
        raise DataError("train has no rows; check split.eval_from and the rules under rows")
    first, last = int(months.min()), int(months.max())
    start = last - count + 1
    if start <= first:
        span = last - first + 1
        raise DataError(
            f"train spans {span} month{'s' if span > 1 else ''} ({month_name(first)} to {month_name(last)}), and "
            f"early stopping wants the last {count} for itself; set model.early_stopping.months below {span}"
        )
    return _fold(months, start, last)


def rolling_origins(months: Months, folds: int, fold_months: int) -> list[Fold]:
    """Cut up to `folds` consecutive windows of `fold_months` from the end of train, earliest first.

    A window counts when it has rows, and when at least as many months as it spans come before it; so a short history
    gives fewer folds than asked for.

    Raises:
        DataError: not even one fold fits.
    """
    if len(months) == 0:
        raise DataError("train has no rows; check split.eval_from and the rules under rows")
    first, last = int(months.min()), int(months.max())
    ends = [last - k * fold_months for k in range(folds - 1, -1, -1)]
    windows = [(end - fold_months + 1, end) for end in ends if end - 2 * fold_months + 1 >= first]
    made = [_fold(months, start, end) for start, end in windows]
    made = [fold for fold in made if len(fold.judge) and len(fold.fit)]
    if not made:
        raise DataError(
            f"train spans {last - first + 1} months ({month_name(first)} to {month_name(last)}): too few for a fold "
            f"of {fold_months}, which needs {2 * fold_months}; set tuning.fold_months to less, or train without tuning"
        )
    return made


def _fold(months: Months, start: int, end: int) -> Fold:
    judged = (months >= start) & (months <= end)
    return Fold(np.flatnonzero(months < start), np.flatnonzero(judged), month_name(start), month_name(end))
