"""Which rows of train fit and which judge, in the search and in early stopping, cut as the data set's split is.

By time, a judged month is always later than every month fitted (rolling origins). At random, the rows of a unit, equal
rows or a group, are judged together, and a stratified split keeps its classes' shares in every fold.

Encoded features were made out-of-fold over the whole of train, so the encodings of a fold's rows may know neighbours'
later prices (never their own): the same small advantage for every candidate, which is why fold scores rank candidates
and eval judges the winner.
"""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.core.recipes import TargetMean
from src.core.sections import RandomSplit, TimeSplit
from src.feature_pipeline.feature_engineering import Matrix
from src.feature_pipeline.splits import drawn

Rows = NDArray[np.int64]
Months = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row numbers to fit on and to judge on, each in the order of the matrix.

    `months`: the `first`, `first_judged` and `last` of a fold by time, written 2019-03; empty for a random one.
    """

    fit: Rows
    judge: Rows
    months: dict[str, str] = field(default_factory=dict)


def stopping_fold(data: Matrix, config: DatasetConfig) -> Fold:
    """Set rows aside for early stopping: the last months, or a random share where the split is random.

    Raises:
        DataError: too few rows or months.
    """
    stopping = config.model.early_stopping
    if isinstance(config.split, TimeSplit):
        return last_months(month_numbers(data.meta[config.split.column]), stopping.months)
    before, of = _drawn(data, config.split, config)
    # Rounded, so that a class of few rows is fitted rather than judged.
    judged = before < np.rint(stopping.share * of)
    if judged.all() or not judged.any():
        raise DataError(
            f"train has {len(judged):,} rows, too few to set {stopping.share:g} of them, in whole units, aside for "
            "early stopping; change model.early_stopping.share"
        )
    return Fold(np.flatnonzero(~judged), np.flatnonzero(judged))


def tuning_folds(data: Matrix, config: DatasetConfig) -> tuple[list[Fold], Rows]:
    """Cut train for the search; returns the folds, and the part of each row, shape (n,), from which they were cut.

    Raises:
        DataError: not even one fold fits.
    """
    parts = row_parts(data, config, config.tuning.folds)
    if isinstance(config.split, TimeSplit):
        return rolling_origins(parts, config.tuning.folds, config.tuning.fold_months), parts
    numbers = np.unique(parts)
    if len(numbers) < 2:
        raise DataError(f"train has {len(parts):,} rows, which make no two folds; train without tuning")
    return [Fold(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in numbers], parts


def row_parts(data: Matrix, config: DatasetConfig, count: int) -> Rows:
    """Number the part of each row, shape (n,): its month, or one of `count` random parts where the split is random."""
    if isinstance(config.split, TimeSplit):
        return month_numbers(data.meta[config.split.column])
    before, of = _drawn(data, config.split, config)
    return before * count // of


def _drawn(data: Matrix, rule: RandomSplit, config: DatasetConfig) -> tuple[Rows, Rows]:
    # Equal rows have equal features, but for encodings that were made out-of-fold.
    alike = [i for i, name in enumerate(config.feature_names) if name not in _out_of_fold(config)]
    features = pl.DataFrame(data.X[:, alike], schema=[config.feature_names[i] for i in alike])
    return drawn(pl.concat([data.meta, features], how="horizontal"), rule)


def _out_of_fold(config: DatasetConfig) -> set[str]:
    return {recipe.name for recipe in config.fitted if isinstance(recipe, TargetMean)}


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
        raise DataError("train has no rows; check split and the rules under rows")
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
        raise DataError("train has no rows; check split and the rules under rows")
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
    names = {"first": month_name(int(months.min())), "first_judged": month_name(start), "last": month_name(end)}
    return Fold(np.flatnonzero(months < start), np.flatnonzero(judged), names)
