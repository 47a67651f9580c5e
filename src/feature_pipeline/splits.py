"""Which rows train and which judge: cut by time, or drawn at random in units that never straddle two splits."""

import logging
from collections.abc import Mapping

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.core.sections import RandomSplit, TimeSplit
from src.core.workspace import SPLITS
from src.feature_pipeline.transforms import tidied

logger = logging.getLogger(__name__)

Rows = NDArray[np.int64]
# A row's position, while units are told apart.
POSITION = "__position"


def split(frame: pl.DataFrame, config: DatasetConfig) -> dict[str, pl.DataFrame]:
    """Put typed rows into train, eval and holdout; each keeps their order.

    Raises:
        DataError: a split without a row, or a row without what decides where it goes.
    """
    if isinstance(config.split, TimeSplit):
        return _by_time(frame, config.split)
    return _at_random(frame, config, config.split)


def _by_time(frame: pl.DataFrame, rule: TimeSplit) -> dict[str, pl.DataFrame]:
    """Cut by time: train < eval_from <= eval < holdout_from <= holdout."""
    date = pl.col(rule.column)
    undated = frame[rule.column].null_count()
    if undated:
        raise DataError(f"{undated:,} rows have no {rule.column}; every row needs one to be put into a split")
    parts = {
        "train": frame.filter(date < rule.eval_from),
        "eval": frame.filter((date >= rule.eval_from) & (date < rule.holdout_from)),
        "holdout": frame.filter(date >= rule.holdout_from),
    }
    for name, part in parts.items():
        if part.is_empty():
            first, last = frame[rule.column].min(), frame[rule.column].max()
            raise DataError(
                f"the {name} split is empty: {rule.column} runs from {first!s} to {last!s}, "
                f"eval starts at {rule.eval_from} and holdout at {rule.holdout_from}"
            )
    return parts


def _at_random(frame: pl.DataFrame, config: DatasetConfig, rule: RandomSplit) -> dict[str, pl.DataFrame]:
    for column in rule.drawn_by:
        missing = frame[column].null_count()
        if missing:
            raise DataError(f"{missing:,} rows have no {column}; every row needs one to be put into a split")
    if rule.duplicates == "drop":
        every = frame.height
        frame = frame.unique(keep="first", maintain_order=True)
        logger.info("dropped %s rows that equal an earlier one", f"{every - frame.height:,}")
    named = _as_named(frame, config)
    before, of = drawn(named, rule)
    holdout = before < np.ceil(rule.holdout * of)
    # Counted, as the last unit of the holdout may reach into the share of eval.
    classes = _classes(named, rule)
    taken = np.bincount(classes[holdout], minlength=frame.height)[classes]
    judged = before < taken + np.ceil(rule.eval * of)
    masks = {"train": ~judged, "eval": judged & ~holdout, "holdout": holdout}
    _refuse_empty(named, masks, rule)
    parts = {name: frame.filter(pl.Series(mask)) for name, mask in masks.items()}
    if rule.duplicates == "scatter" and not rule.group:
        count = sum(straddling(parts, config).values())
        logger.warning(
            "%s rows have an equal in another split (split.duplicates: scatter): scores are optimistic", f"{count:,}"
        )
    return parts


def _as_named(frame: pl.DataFrame, config: DatasetConfig) -> pl.DataFrame:
    """Tidy the columns of groups and classes, so that two spellings of a name are one."""
    names = [tidied(name, config.columns[name]) for name in config.drawn_by if config.columns[name].tidy]
    return nw.from_native(frame).with_columns(names).to_native()


def drawn(frame: pl.DataFrame, rule: RandomSplit) -> tuple[Rows, Rows]:
    """Put the rows of each class into a random order, unit by unit; without classes all rows are one.

    Args:
        frame: the columns of groups and classes, and all in which equal rows agree.
        rule: the seed, and what makes a unit and a class.

    Returns:
        For each row, how many rows of its class come before its unit, 0 to n - 1, and n; shapes (rows,).
    """
    # The legacy generator, because it draws what scikit-learn draws: published results rest on that.
    draw = np.random.RandomState(rule.seed)
    units, classes = _units(frame, rule), _classes(frame, rule)
    before, of = np.zeros_like(units), np.zeros_like(units)
    ends = np.cumsum(np.unique(classes, return_counts=True)[1])
    for rows in np.split(np.argsort(classes, kind="stable"), ends[:-1]):
        _, unit, sizes = np.unique(units[rows], return_inverse=True, return_counts=True)
        order = draw.permutation(len(sizes))
        start = np.empty_like(sizes)
        start[order] = np.cumsum(sizes[order]) - sizes[order]
        before[rows], of[rows] = start[unit], len(rows)
    return before, of


def parts(frame: pl.DataFrame, config: DatasetConfig, rule: RandomSplit, count: int) -> Rows:
    """Number rows 0 to count - 1 by the part of a cross-validation they are in, shape (rows,); units stay whole."""
    before, of = drawn(_as_named(frame, config), rule)
    return before * count // of


def straddling(parts: Mapping[str, pl.DataFrame], config: DatasetConfig) -> dict[str, int]:
    """Count the rows of each split that have an equal, or another of their group, in another split."""
    every = _as_named(pl.concat(parts.values()), config)
    named = pl.Series("split", np.repeat(np.arange(len(parts)), [part.height for part in parts.values()]))
    columns = config.split.group if isinstance(config.split, RandomSplit) else ()
    unit = pl.Series("unit", _numbered(every, columns or every.columns))
    counted = pl.DataFrame([named, unit]).with_columns((pl.col("split").n_unique().over("unit") > 1).alias("shared"))
    shared = counted["shared"].to_numpy()
    return {name: int(shared[(named == i).to_numpy()].sum()) for i, name in enumerate(parts)}


def _units(frame: pl.DataFrame, rule: RandomSplit) -> Rows:
    if rule.duplicates == "scatter" and not rule.group:
        return np.arange(frame.height)
    return _numbered(frame, rule.group or frame.columns)


def _classes(frame: pl.DataFrame, rule: RandomSplit) -> Rows:
    return _numbered(frame, (rule.stratify,)) if rule.stratify else np.zeros(frame.height, np.int64)


def _numbered(frame: pl.DataFrame, columns: list[str] | tuple[str, ...]) -> Rows:
    """Number rows by the first row that agrees with them in these columns; missing values agree."""
    first = frame.with_row_index(POSITION).select(pl.col(POSITION).min().over(columns))
    return first.to_series().cast(pl.Int64).to_numpy()


def _refuse_empty(frame: pl.DataFrame, masks: Mapping[str, NDArray[np.bool_]], rule: RandomSplit) -> None:
    shares = f"split.eval {rule.eval:g} and split.holdout {rule.holdout:g}"
    for name in SPLITS:
        if not masks[name].any():
            units = len(np.unique(_units(frame, rule)))
            what = (
                f" in {units:,} groups of {', '.join(rule.group)}" if rule.group else f", {units:,} of them different"
            )
            raise DataError(
                f"the {name} split is empty: there are {frame.height:,} rows{what}; {shares} need more, or change them"
            )
        if rule.stratify:
            classes = frame[rule.stratify]
            lacking = set(classes) - set(classes.filter(pl.Series(masks[name])))
            if lacking:
                shown = ", ".join(map(repr, sorted(lacking)[:3]))
                raise DataError(
                    f"split.stratify: {len(lacking):,} of {classes.n_unique():,} classes of {rule.stratify} have too "
                    f"few rows for the {name} split, for example {shown}; {shares} need at least one row in each split"
                )
