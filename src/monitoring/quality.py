"""How good a month's rows and its predictions are: expectations, missing values, errors, coverage, segments."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import polars as pl

from src.core import metric_expressions as expressions
from src.core.class_metrics import SMALLEST
from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.core.predictions_store import ALL
from src.core.sections import Segment
from src.feature_pipeline import load, validate
from src.feature_pipeline.checks import Check, ValidationResult
from src.inference_pipeline.prediction_file import Layout
from src.monitoring.measures import Measure
from src.monitoring.reference import Reference

UNSEEN = "unknown_"
# A feed has lost a column where so much more of it is missing than in the reference.
LOST = 0.5
# A column that is the same in all rows is a broken feed where chance would do that less often than this.
UNLIKELY = 1e-6
GROUP = "__group"


def check_rows(
    raw: pl.DataFrame, features: pl.DataFrame | None, reference: Reference, config: DatasetConfig, month: str
) -> ValidationResult:
    """Check a month's raw rows against the config's expectations, and its features for a feed that broke.

    Args:
        raw: the month's rows as they came.
        features: the same as the model sees them; None where they cannot be made.
        reference: what the version learned from.
        config: names columns and expectations.
        month: names the result.
    """
    there = [name for name in config.columns if name in raw.columns]
    try:
        rows = load.typed(raw.lazy().select(there), config, month)
    except DataError as error:
        text = str(error).splitlines()[0]
        return ValidationResult(month, raw.height, (Check("rows_can_be_read", (), "", "critical", False, None, text),))
    result = validate.check_month(rows, config, month)
    if features is None:
        return result
    return replace(result, checks=(*result.checks, *_feeds(features, reference, config)))


def _feeds(features: pl.DataFrame, reference: Reference, config: DatasetConfig) -> Iterator[Check]:
    rows, least = features.height, config.monitoring.min_rows
    if rows < least:
        return
    known = reference.newest(config.monitoring.reference_months)
    for name in features.columns:
        values, before = features[name], known[name]
        if not before.count():
            continue
        gone, usual = values.null_count() / rows, before.null_count() / known.height
        text = f"{values.null_count():,} of {rows:,} rows have no value, {usual:.0%} of the reference's"
        yield Check("column_keeps_its_values", (name,), "", "critical", gone - usual <= LOST, values.null_count(), text)
        share = _most_common_share(known, name, reference.config.date)
        if share ** values.count() < UNLIKELY:
            same = values.drop_nulls().n_unique() == 1
            text = f"all {values.count():,} rows have {values.drop_nulls()[0]:g}" if same else "has different values"
            yield Check("column_varies", (name,), "", "critical", not same, None, text)


def _most_common_share(known: pl.DataFrame, name: str, day: str | None) -> float:
    """Return the share of the most common value, in the month of the reference where that is largest."""
    # What is one number for a whole month, as an interest rate is, may be the same in all rows of a month.
    by = [pl.col(day).dt.truncate("1mo").alias(GROUP)] if day else [pl.lit(0).alias(GROUP)]
    counts = known.filter(pl.col(name).is_not_null()).group_by(*by, name).len()
    shares = counts.group_by(GROUP).agg((pl.col("len").max() / pl.col("len").sum()).alias("share"))
    share: float = shares["share"].max() if shares.height else 1.0  # type: ignore[assignment]
    return share


def row_measures(checked: ValidationResult, raw: pl.DataFrame, config: DatasetConfig) -> Iterator[Measure]:
    """Yield what the raw rows say: failed expectations, and how much of each input is missing."""
    yield Measure("failed_expectations", len(checked.failed("critical")), checked.rows)
    yield Measure("failed_warnings", len(checked.failed("warning")), checked.rows)
    codes = config.missing_codes
    for name in config.raw_inputs:
        if name not in raw.columns:
            yield Measure("missing_share", 1.0, raw.height, f"column={name}")
            continue
        values = raw[name]
        missing = values.is_null()
        if name in codes:
            missing |= values.cast(pl.Float64, strict=False).eq(codes[name]).fill_null(value=False)
        yield Measure("missing_share", _share(missing), raw.height, f"column={name}")


def prediction_measures(rows: pl.DataFrame, layout: Layout, month: str, at: datetime) -> Iterator[Measure]:
    """Yield what the month's predictions say: rows, unseen places, age, and errors where actuals are known."""
    n = rows.height
    yield Measure("rows", n, n)
    flags = rows["flags"].cast(pl.String).fill_null("")
    yield Measure("unseen_share", _share(flags.str.contains(UNSEEN, literal=True)), n)
    if month != ALL:
        yield Measure("data_age_days", (at.date() - month_end(month)).days, n)
    known = rows.filter(pl.col(layout.actual).is_not_null() & pl.col(layout.predicted).is_not_null())
    yield Measure("actuals_share", known.height / n if n else 0.0, n)
    if known.height:
        yield from _errors(known, layout)


def month_end(month: str) -> date:
    """Return the last day of a month, `YYYY-MM`."""
    first = date.fromisoformat(f"{month}-01")
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def _errors(known: pl.DataFrame, layout: Layout) -> Iterator[Measure]:
    pair = (layout.actual, layout.predicted)
    if layout.config.task == "classification":
        texts = known.with_columns(pl.col(*pair).cast(pl.String))
        found = texts.select(accuracy=expressions.accuracy(*pair), log_loss=_log_loss(layout)).row(0, named=True)
    else:
        wanted = {name: getattr(expressions, name)(*pair) for name in ("mae", "rmse", "mape", "mdape")}
        wanted["bias"] = _relative(layout).median()
        found = known.select(**wanted, **_coverages(layout)).row(0, named=True)
    for name, value in found.items():
        if value is not None and math.isfinite(value):
            yield Measure(name, value, known.height)


def _relative(layout: Layout) -> pl.Expr:
    actual, estimate = pl.col(layout.actual), pl.col(layout.predicted)
    return pl.when(actual != 0).then((estimate - actual) / actual.abs())


def _coverages(layout: Layout) -> dict[str, pl.Expr]:
    return {f"coverage_{level}": expressions.coverage(layout.actual, *ends) for level, ends in layout.bounds.items()}


def _log_loss(layout: Layout) -> pl.Expr:
    actual = pl.col(layout.actual)
    said = [pl.when(actual == name).then(pl.col(f"probability_{name}")) for name in layout.config.target.classes]
    return -pl.coalesce(said).clip(SMALLEST, 1.0).log().mean()


def segment_measures(rows: pl.DataFrame, layout: Layout) -> Iterator[Measure]:
    """Yield the errors of each group of the config's segments; of a small one its rows only."""
    classes = layout.config.task == "classification"
    known = rows.filter(pl.col(layout.actual).is_not_null() & pl.col(layout.predicted).is_not_null())
    for segment in layout.config.segments:
        group = _group(segment, layout)
        if group is None or (segment.column and segment.column not in rows.columns) or known.is_empty():
            continue
        pair = (layout.actual, layout.predicted)
        wanted = {"accuracy": expressions.accuracy(*pair)} if classes else {"mdape": expressions.mdape(*pair)}
        if not classes:
            wanted |= dict(list(_coverages(layout).items())[:1])
        texts = known.with_columns(pl.col(*pair).cast(pl.String)) if classes else known
        groups = texts.group_by(group.alias(GROUP)).agg(pl.len().alias("rows"), **wanted).sort(GROUP)
        for found in groups.iter_rows(named=True):
            name, count = f"{segment.name}={found.pop(GROUP)}", found.pop("rows")
            yield Measure("rows", count, count, name)
            if count >= segment.min_rows:
                yield from (Measure(key, value, count, name) for key, value in found.items() if value is not None)


def _group(segment: Segment, layout: Layout) -> pl.Expr | None:
    """Name each row's group; None for months, of which there is one."""
    if segment.by == "column" and segment.column:
        return pl.col(segment.column).cast(pl.String).fill_null("(missing)")
    if segment.by == "price_decile" and layout.config.task == "regression":
        # Numbers, not limits: those differ from month to month, and could not be charted.
        return (((pl.col(layout.actual).rank("ordinal") - 1) * 10) // pl.len() + 1).cast(pl.String).str.zfill(2)
    return None


def _share(marks: pl.Series) -> float:
    return float(marks.sum()) / len(marks) if len(marks) else 0.0
