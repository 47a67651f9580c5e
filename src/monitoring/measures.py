"""The table `measures`: what the reports found, for charts, alerts and decisions about retraining."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from src.monitoring.database import writing
from src.monitoring.tables import measures

CHUNK = 1_000
LONGEST_SEGMENT = 200
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "month": pl.String,
    "version": pl.String,
    "name": pl.String,
    "segment": pl.String,
    "value": pl.Float64,
    "rows": pl.Int64,
    "at": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True)
class Measure:
    """One number about a month; `rows` is how many rows it rests on, `segment` is `name=value`, empty for all rows."""

    name: str
    value: float
    rows: int
    segment: str = ""


def replace(engine: sa.Engine, dataset: str, month: str, version: str, found: Iterable[Measure], at: datetime) -> int:
    """Write a month's measures in place of all that the version had of it, in one transaction; returns how many."""
    own = {"dataset": dataset, "month": month, "version": version, "at": at}
    # Two names that are cut to one would be one row, and a statement must not write a row twice.
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in found:
        segment = one.segment[:LONGEST_SEGMENT]
        rows[one.name, segment] = {
            **own,
            "name": one.name,
            "segment": segment,
            "value": float(one.value),
            "rows": one.rows,
        }
    listed = list(rows.values())
    made: Any = (sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert)(measures)
    # Another report of the month may be at it: the last to end wins, and neither fails.
    upsert = made.on_conflict_do_update(
        index_elements=["dataset", "month", "version", "name", "segment"],
        set_={name: made.excluded[name] for name in ("value", "rows", "at")},
    )
    with writing(engine) as connection:
        connection.execute(
            sa.delete(measures).where(
                measures.c.dataset == dataset, measures.c.month == month, measures.c.version == version
            )
        )
        for start in range(0, len(listed), CHUNK):
            connection.execute(upsert, listed[start : start + CHUNK])
    return len(listed)


def read(
    engine: sa.Engine,
    dataset: str,
    *,
    names: Collection[str] = (),
    segment: str | None = None,
    months: Collection[str] = (),
    newest_version: bool = True,
) -> pl.DataFrame:
    """Return measures in the order of months: month, version, name, segment, value, rows, at.

    Args:
        engine: the monitoring database.
        dataset: whose.
        names: only those measures; all if empty.
        segment: only this one, "" for all rows together; every segment if None.
        months: only those; all if empty.
        newest_version: of a month that several versions were measured on only the one that was measured last.
    """
    query = sa.select(*(measures.c[name] for name in SCHEMA)).where(measures.c.dataset == dataset)
    if names:
        query = query.where(measures.c.name.in_(names))
    if segment is not None:
        query = query.where(measures.c.segment == segment)
    if months:
        query = query.where(measures.c.month.in_(months))
    with engine.connect() as connection:
        rows: Sequence[Any] = connection.execute(query.order_by(measures.c.month, measures.c.at)).all()
    frame = pl.DataFrame([tuple(row) for row in rows], schema=SCHEMA, orient="row")
    if not newest_version or frame.is_empty():
        return frame
    return frame.filter(pl.col("version") == pl.col("version").sort_by("at").last().over("month"))
