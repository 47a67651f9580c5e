"""Which rows of a month to look at: those that were priced worst, or those that are least like the reference."""

from typing import Any

import polars as pl

from src.inference_pipeline.prediction_file import Layout
from src.monitoring.reference import Reference

SHOWN = 10
WHY, SIZE = "why", "__size"


def largest_errors(rows: pl.DataFrame, layout: Layout, most: int = SHOWN) -> list[dict[str, Any]]:
    """Return the rows with the largest relative errors, of classes the most confident mistakes; largest first."""
    actual, said = pl.col(layout.actual), pl.col(layout.predicted)
    if layout.config.task == "classification":
        shares = [pl.col(f"probability_{name}") for name in layout.config.target.classes]
        ranked = rows.filter(actual.cast(pl.String) != said.cast(pl.String)).with_columns(
            pl.max_horizontal(shares).alias(SIZE)
        )
        why = pl.format("{} sure", (pl.col(SIZE) * 100).round(0).cast(pl.Int64).cast(pl.String) + "%")
    else:
        ranked = rows.filter(actual.is_not_null() & (actual != 0)).with_columns(((said - actual) / actual).alias(SIZE))
        per_cent = (pl.col(SIZE) * 100).round(0).cast(pl.Int64)
        why = pl.format(
            "{}% {}", per_cent.abs(), pl.when(per_cent >= 0).then(pl.lit("too high")).otherwise(pl.lit("too low"))
        )
    chosen = ranked.drop_nulls(SIZE).sort(pl.col(SIZE).abs(), descending=True, maintain_order=True).head(most)
    return _shown(chosen.with_columns(why.alias(WHY)), layout)


def most_unusual(
    rows: pl.DataFrame, features: pl.DataFrame | None, reference: Reference, layout: Layout, most: int = SHOWN
) -> list[dict[str, Any]]:
    """Return the rows with a feature farthest from the reference's middle, in its 98 % ranges; flagged ones first.

    Without features, or where they are not of the same rows, the flagged ones only.
    """
    flagged = pl.col("flags").cast(pl.String).fill_null("")
    if features is None or features.height != rows.height:
        chosen = rows.filter(flagged != "").head(most)
        return _shown(chosen.with_columns(flagged.alias(WHY)), layout)
    far = []
    for name in features.columns:
        known = reference.rows[name].drop_nulls()
        if known.is_empty() or not known.dtype.is_numeric():
            continue
        low, middle, high = (float(known.quantile(at) or 0.0) for at in (0.01, 0.5, 0.99))
        if high > low:
            far.append(((features[name].cast(pl.Float64) - middle).abs() / (high - low)).alias(name))
    distances = pl.DataFrame(far).fill_null(0.0)
    if not distances.width:
        return []
    names = pl.Series("__names", distances.columns)
    size = distances.max_horizontal()
    at = distances.select(pl.concat_list(pl.all()).list.arg_max()).to_series()
    why = pl.format("{} is {} of its usual range from the middle", names.gather(at), size.round(1))
    marked = rows.with_columns(
        size.alias(SIZE),
        pl.when(flagged != "").then(flagged).otherwise(pl.lit("")).alias("__flags"),
        pl.Series(WHY, pl.select(why).to_series()),
    )
    ranked = marked.sort(pl.col("__flags") != "", SIZE, descending=True, maintain_order=True).head(most)
    told = pl.when(pl.col("__flags") != "").then(pl.col("__flags")).otherwise(pl.col(WHY))
    return _shown(ranked.with_columns(told.alias(WHY)), layout)


def _shown(rows: pl.DataFrame, layout: Layout) -> list[dict[str, Any]]:
    ends = next(iter(layout.bounds.values()), ())
    wanted = [*layout.context[:6], layout.predicted, *ends, layout.actual, WHY]
    return (
        rows.select(name for name in dict.fromkeys(wanted) if name in rows.columns)
        .with_columns(pl.selectors.temporal().cast(pl.String), pl.selectors.categorical().cast(pl.String))
        .to_dicts()
    )
