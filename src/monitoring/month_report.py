"""What is known about one month, before it is written anywhere: pure functions from rows to measures and words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.feature_pipeline import load
from src.feature_pipeline.checks import ValidationResult
from src.inference_pipeline.prediction_file import Layout
from src.monitoring import drift, notable, quality
from src.monitoring.drift import Drift
from src.monitoring.measures import Measure
from src.monitoring.reference import Reference
from src.monitoring.verdicts import Verdict, verdicts

PREDICTED = "predicted"


@dataclass(frozen=True)
class MonthReport:
    """One month of one version, measured; `look_at` are rows, `pages` Evidently's, name -> content."""

    config: DatasetConfig
    month: str
    version: str
    at: datetime
    tag: str  # of the predictions file that it is about
    measures: tuple[Measure, ...]
    verdicts: tuple[Verdict, ...]
    drift: Drift | None
    middles: dict[str, tuple[float, float]]  # column -> median of the reference and of the month
    checked: ValidationResult | None
    look_at: tuple[dict[str, Any], ...]
    look_why: str
    notes: tuple[str, ...]
    pages: dict[str, bytes]

    def value(self, name: str) -> float | None:
        """Return a measure of all rows, None where there is none."""
        return next((one.value for one in self.measures if one.name == name and not one.segment), None)

    @property
    def beyond(self) -> tuple[Verdict, ...]:
        return tuple(one for one in self.verdicts if one.state == "beyond its limit")


def measured(
    month: str,
    rows: pl.DataFrame,
    raw: pl.DataFrame | None,
    reference: Reference,
    config: DatasetConfig,
    *,
    at: datetime,
    tag: str = "",
    is_newest: bool = True,
) -> MonthReport:
    """Measure one month.

    Args:
        month: `YYYY-MM`, or `all` of a data set without dates.
        rows: its predictions as `prediction_file.read_month` reads them, in the order in which they were written.
        raw: the rows that they were made from; None where they are not at hand.
        reference: of the version that made the predictions.
        config: names columns, expectations and limits.
        at: when.
        tag: of the predictions' file.
        is_newest: whether no later month has predictions.
    """
    layout, notes = Layout(config), []
    features, checked = None, None
    if raw is None or raw.is_empty():
        notes.append("The month's raw rows are not in the input: only its predictions are measured.")
    else:
        try:
            features = reference.features(raw)
        except DataError as error:
            notes.append(f"The model's features cannot be made of the raw rows: {error}")
        checked = quality.check_rows(raw, features, reference, config, month)
    aligned = features is not None and raw is not None and _are_same(rows, raw, config)
    if raw is not None and aligned:
        rows = _with_segments(rows, raw, config)
    found = list(quality.prediction_measures(rows, layout, month, at))
    found += quality.row_measures(checked, raw, config) if checked and raw is not None else ()
    found += quality.segment_measures(rows, layout)
    current, known = _sides(rows, features, reference, layout)
    drifted = drift.measure(current, known, config.monitoring.drift_distance)
    found += _drift_measures(drifted, rows.height)
    shown, why = _look_at(rows, features if aligned else None, reference, layout)
    pages = {"drift.html": drifted.page} if drifted and drifted.page else {}
    performance = drift.performance(rows, layout.actual, layout.predicted, is_classes=bool(config.target.classes))
    pages |= {"performance.html": performance} if performance else {}
    judged = verdicts(found, config.monitoring, is_newest=is_newest)
    return MonthReport(
        config=config,
        month=month,
        version=reference.version,
        at=at,
        tag=tag,
        measures=tuple(found),
        verdicts=judged,
        drift=drifted,
        middles=_middles(current, known),
        checked=checked,
        look_at=tuple(shown),
        look_why=why,
        notes=tuple(notes),
        pages=pages,
    )


def _are_same(rows: pl.DataFrame, raw: pl.DataFrame, config: DatasetConfig) -> bool:
    """Whether predictions and raw rows stand beside each other, as far as the keys say."""
    names = [name for name in config.keys if name in rows.columns and name in raw.columns]
    if rows.height != raw.height:
        return False
    try:
        keys = load.typed(raw.lazy().select(names), config, "the input") if names else raw.select()
    except DataError:
        return False
    return all(rows[name].cast(pl.String).equals(keys[name].cast(pl.String)) for name in names)


def _with_segments(rows: pl.DataFrame, raw: pl.DataFrame, config: DatasetConfig) -> pl.DataFrame:
    wanted = {one.column for one in config.segments if one.column} - {*rows.columns}
    return rows.with_columns(raw[name] for name in sorted(wanted & {*raw.columns}))


def _sides(
    rows: pl.DataFrame, features: pl.DataFrame | None, reference: Reference, layout: Layout
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the columns to compare, of the month and of the reference: features, region, the prediction."""
    known = reference.newest(layout.config.monitoring.reference_months)
    region = [layout.config.region] if layout.config.region in rows.columns and layout.config.region else []
    text = pl.col(layout.predicted) if layout.config.task == "regression" else pl.col(layout.predicted).cast(pl.String)
    said = rows.select(text.alias(PREDICTED), *(pl.col(name).cast(pl.String) for name in region))
    current = said if features is None else pl.concat([said, features], how="horizontal_extend")
    return current, known.rename({layout.predicted: PREDICTED}, strict=False)


def _middles(current: pl.DataFrame, known: pl.DataFrame) -> dict[str, tuple[float, float]]:
    found = {}
    for name in current.columns:
        if name in known.columns and current[name].dtype.is_numeric() and known[name].dtype.is_numeric():
            before, after = known[name].median(), current[name].median()
            if isinstance(before, float) and isinstance(after, float):
                found[name] = (before, after)
    return found


def _drift_measures(drifted: Drift | None, rows: int) -> Sequence[Measure]:
    if drifted is None:
        return ()
    each = [
        Measure("drift", one.distance, one.rows, f"column={one.name}")
        for one in drifted.columns
        if one.distance is not None
    ]
    return (Measure("drift_share", drifted.share, rows), *each)


def _look_at(
    rows: pl.DataFrame, features: pl.DataFrame | None, reference: Reference, layout: Layout
) -> tuple[list[dict[str, Any]], str]:
    if rows[layout.actual].count():
        return notable.largest_errors(rows, layout), "the largest errors"
    return notable.most_unusual(rows, features, reference, layout), "the most unusual rows"
