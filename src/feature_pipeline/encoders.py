"""Fitted encoders: plain tables, category -> number, learned from training rows only."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl

from src.core.config import DatasetConfig
from src.core.errors import ConfigError
from src.core.recipes import Frequency, TargetMean
from src.core.spelling import tidy
from src.feature_pipeline.text_features import mapped
from src.feature_pipeline.transforms import WITHIN, Table, category_key

# Columns that training rows carry while encoders are fitted: position in the split, target on the model's scale.
ROW = "__row"
SCALED = "__scaled_target"


@dataclass(frozen=True)
class Fitted:
    """What training rows taught.

    `tables`: recipe name -> `{"table": {category: value}, "default": value of an unseen category}`, for every row
    to come. `out_of_fold`: the same per fold of the training rows, from the other folds only.
    """

    tables: dict[str, Table]
    out_of_fold: dict[str, dict[int, Table]]


def lookup_table(config: DatasetConfig) -> Table:
    """Read the small table beside the YAML: tidied name -> values of the columns that it adds.

    Raises:
        ConfigError: the file or one of its columns is missing, or two rows have one name.
    """
    path = config.lookup_file
    assert config.lookup is not None
    assert path is not None
    if not path.is_file():
        raise ConfigError(f"lookup.table: {path} does not exist; it is looked for beside the YAML")
    frame = pl.read_csv(path)
    wanted = [config.lookup.by, *config.lookup.add]
    lacking = [name for name in wanted if name not in frame.columns]
    if lacking:
        raise ConfigError(f"{path} lacks the column {lacking[0]!r} that lookup names")
    column = config.columns[config.lookup.by]
    rows = {tidy(str(name), column): values for name, *values in frame.select(wanted).iter_rows()}
    if len(rows) != frame.height:
        raise ConfigError(f"{path}: two rows have the same {config.lookup.by} once tidied")
    return {"table": rows}


def fit(frame: Any, config: DatasetConfig) -> Fitted:
    """Learn every fitted recipe from cleaned training rows (a Narwhals frame with `ROW` and `SCALED`)."""
    tables: dict[str, Table] = {}
    out_of_fold: dict[str, dict[int, Table]] = {}
    unit = _unit(frame)
    for recipe in config.fitted:
        if isinstance(recipe, Frequency):
            tables[recipe.name] = _frequencies(frame, recipe)
        else:
            tables[recipe.name], out_of_fold[recipe.name] = _target_means(frame, recipe, unit)
    return Fitted(tables, out_of_fold)


def _rows(frame: Any) -> list[dict[str, Any]]:
    """Bring a small aggregate home from whichever engine made it, in an order that does not depend on the engine."""
    local = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    rows: list[dict[str, Any]] = local.rows(named=True)
    return sorted(rows, key=lambda row: tuple(str(value) for value in row.values()))


def _frequencies(frame: Any, recipe: Frequency) -> Table:
    counts = frame.select(category_key(recipe).alias("key")).drop_nulls().group_by("key").agg(nw.len().alias("n"))
    return {"table": {row["key"]: float(row["n"]) for row in _rows(counts)}, "default": 0.0}


def _unit(frame: Any) -> float:
    """Return the power of two of which targets are summed as whole numbers, without the sum leaving 64 bits.

    Engines add in the order that threads happen to have. Whole numbers add up to the same sum in any order; floats
    differ in the last bits. In a log price of a million rows the unit is 2e-12.
    """
    (row,) = _rows(frame.select(nw.col(SCALED).abs().max().alias("largest"), nw.len().alias("n")))
    total = (row["largest"] or 1.0) * max(row["n"], 1)
    return float(2.0 ** max(math.ceil(math.log2(total)) - 62, -60))


def _target_means(frame: Any, recipe: TargetMean, unit: float) -> tuple[Table, dict[int, Table]]:
    sums = (
        frame.select(
            category_key(recipe).alias("key"),
            (nw.col(recipe.within) if recipe.within else nw.lit("")).alias("group"),
            (nw.col(ROW) % recipe.folds).alias("fold"),
            (nw.col(SCALED) / unit).cast(nw.Int64).alias("units"),
        )
        .group_by("key", "group", "fold")
        .agg(nw.col("units").sum(), nw.len().alias("n"))
    )
    rows = _rows(sums)
    everything = _smoothed(rows, recipe, unit)
    folds = {
        fold: _smoothed([row for row in rows if row["fold"] != fold], recipe, unit)
        for fold in sorted({row["fold"] for row in rows})
    }
    return everything, folds


def _smoothed(rows: list[dict[str, Any]], recipe: TargetMean, unit: float) -> Table:
    total, count = sum(row["units"] for row in rows), sum(row["n"] for row in rows)
    prior = total * unit / count if count else math.nan
    if not recipe.within:
        return {"table": _means(rows, "key", recipe.smoothing, unit, lambda _: prior), "default": prior}
    groups = _means(rows, "group", recipe.smoothing, unit, lambda _: prior)
    return {
        "table": _means(rows, "key", recipe.smoothing, unit, lambda key: groups[key.partition(WITHIN)[0]]),
        "groups": groups,
        "default": prior,
    }


def _means(
    rows: list[dict[str, Any]], by: str, smoothing: float, unit: float, prior: Callable[[str], float]
) -> dict[str, float]:
    units: dict[str, int] = {}
    counts: dict[str, int] = {}
    for row in rows:
        if row[by] is not None:
            units[row[by]] = units.get(row[by], 0) + row["units"]
            counts[row[by]] = counts.get(row[by], 0) + row["n"]
    return {key: (units[key] * unit + smoothing * prior(key)) / (counts[key] + smoothing) for key in units}


def out_of_fold(recipe: TargetMean, folds: dict[int, Table]) -> nw.Expr:
    """Encode training rows, each by the table of the folds that it is not in."""
    fold = (nw.col(ROW) % recipe.folds).cast(nw.String)
    prior = mapped(fold, [str(fold) for fold in folds], [table["default"] for table in folds.values()], None)
    if recipe.within:
        group = _by_fold(fold, nw.col(recipe.within), {number: table["groups"] for number, table in folds.items()})
        prior = nw.when(group.is_null()).then(prior).otherwise(group)
    known = _by_fold(fold, category_key(recipe), {number: table["table"] for number, table in folds.items()})
    return nw.when(known.is_null()).then(prior).otherwise(known)


def _by_fold(fold: nw.Expr, key: nw.Expr, tables: dict[int, dict[str, float]]) -> nw.Expr:
    # One mapping of "fold|category" instead of a branch per fold: the category is looked up once.
    old = [f"{number}|{category}" for number, table in tables.items() for category in table]
    new = [value for table in tables.values() for value in table.values()]
    return mapped(nw.concat_str(fold, key, separator="|"), old, new, None)
