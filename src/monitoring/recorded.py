"""What the log holds of requests, taken apart: a row for each prediction, joined with what came true."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa
from pydantic_core import from_json, to_json

from src.core.config import DatasetConfig, load_config
from src.core.errors import ConfigError
from src.monitoring.keys import key_of, month_of, names_of
from src.monitoring.tables import actuals, requests

# Requests that are read in one go: one may hold thousands of rows.
STEP = 200
# One prediction. `inputs` and `intervals` are JSON: the row as it was asked, and level in % -> [lower, upper] or
# class -> probability. `key` is what actuals are joined by; `flags` are separated by ;.
SCHEMA = pl.Schema(
    {  # type: ignore[arg-type]
        "at": pl.Datetime("us", "UTC"),
        "request_id": pl.String,
        "row": pl.Int32,
        "dataset": pl.String,
        "version": pl.String,
        "role": pl.String,
        "key": pl.String,
        "month": pl.String,
        "inputs": pl.String,
        "estimate": pl.Float64,
        "label": pl.String,
        "intervals": pl.String,
        "flags": pl.String,
        "milliseconds": pl.Float64,
    }
)

# What came true: the number, or the class.
TOLD = {"key": pl.String, "month": pl.String, "value": pl.Float64, "label_actual": pl.String}


def read(
    engine: sa.Engine,
    conditions: Sequence[sa.ColumnElement[bool]],
    order: Sequence[sa.ColumnElement[Any]] = (requests.c.at, requests.c.id),
    limit: int | None = None,
) -> Iterator[sa.RowMapping]:
    """Yield the requests that meet all conditions, a few at a time."""
    asked = sa.select(requests).where(*conditions).order_by(*order).limit(limit)
    with engine.connect().execution_options(yield_per=STEP) as connection:
        yield from connection.execute(asked).mappings()


class Configs:
    """The data sets' configs, read when they are needed; None of one that is not here any more."""

    def __init__(self) -> None:
        self._known: dict[str, DatasetConfig | None] = {}

    def of(self, dataset: str) -> DatasetConfig | None:
        """Return a data set's config."""
        if dataset not in self._known:
            try:
                self._known[dataset] = load_config(dataset)
            except ConfigError:
                self._known[dataset] = None
        return self._known[dataset]


def predictions_of(request: Mapping[str, Any] | sa.RowMapping, config: DatasetConfig | None) -> list[dict[str, Any]]:
    """Make the predictions of a request, as `SCHEMA`; none of a file that was scored, and of one that failed.

    Without a config they have no key and no month.
    """
    if request["inputs"] is None or request["answer"] is None:
        return []
    rows, answer = from_json(request["inputs"]), from_json(request["answer"])
    names = names_of(config) if config else ()
    common = {name: request[name] for name in ("at", "request_id", "dataset", "version", "role", "milliseconds")}
    made = []
    for i, row in enumerate(rows):
        said = answer["predictions"][i]
        is_class = "probabilities" in answer
        shares = (
            answer["probabilities"][i] if is_class else {level: ends[i] for level, ends in answer["intervals"].items()}
        )
        made.append(
            {
                **common,
                "row": i,
                "key": key_of(row, config, names) if config else None,
                "month": month_of(row, config) if config else None,
                "inputs": to_json(row).decode(),
                "estimate": None if is_class else said,
                "label": said if is_class else None,
                "intervals": json.dumps(shares),
                "flags": ";".join(answer["flags"][i]),
            }
        )
    return made


def frames(
    engine: sa.Engine, conditions: Sequence[sa.ColumnElement[bool]], rows: int = 20_000
) -> Iterator[pl.DataFrame]:
    """Yield the predictions of requests by time, some thousands at a time: a log may be larger than memory."""
    configs, made = Configs(), list[dict[str, Any]]()
    for request in read(engine, conditions):
        made += predictions_of(request, configs.of(request["dataset"]))
        if len(made) >= rows:
            yield pl.DataFrame(made, schema=SCHEMA)
            made = []
    if made:
        yield pl.DataFrame(made, schema=SCHEMA)


def joined(engine: sa.Engine, config: DatasetConfig, months: Sequence[str]) -> pl.DataFrame:
    """Return the champion's predictions of some months, as `SCHEMA`, with what came true: `value`, `label_actual`."""
    if not months:
        return pl.DataFrame(schema={**SCHEMA, "value": pl.Float64, "label_actual": pl.String})
    within = (
        requests.c.dataset == config.name,
        requests.c.role == "champion",
        requests.c.last_month >= min(months),
        requests.c.first_month <= max(months),
    )
    parts = [part.filter(pl.col("month").is_in(months)) for part in frames(engine, within)]
    found = pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)
    return found.join(told(engine, config.name), on=["key", "month"], how="left", maintain_order="left")


def told(engine: sa.Engine, dataset: str) -> pl.DataFrame:
    """Return what came true of a data set: key, month, value, label_actual."""
    columns = (actuals.c.key, actuals.c.month, actuals.c.value, actuals.c.label)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).where(actuals.c.dataset == dataset)).all()
    return pl.DataFrame([tuple(row) for row in rows], schema=TOLD, orient="row")
