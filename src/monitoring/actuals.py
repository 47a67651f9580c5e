"""Record what came true: a file's values join the predictions of the same key and month.

Telling a file again changes nothing. A value that comes late joins what was predicted long ago; one that differs from
what was told before replaces it, and is counted as a correction. The monthly batch's files get the values too, so that
whatever reads those, the dashboard first, shows them.
"""

import io
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from src.core import sealed_parquet
from src.core.cli import parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig
from src.core.errors import ConfigError, DataError
from src.core.predictions_store import PredictionsStore, file_name, open_predictions
from src.feature_pipeline import load, sources
from src.monitoring.database import opened, writing
from src.monitoring.keys import key_of, names_of
from src.monitoring.recorded import joined
from src.monitoring.tables import actuals

logger = logging.getLogger(__name__)

CHUNK = 5_000
EXAMPLES = 3


@dataclass(frozen=True)
class Told:
    """What became of a file's values, in rows."""

    new: int
    corrected: int
    known: int  # told before, the same
    empty: int  # without a value: not known yet
    predicted: int  # recorded predictions of these keys and months
    filled: Mapping[str, int]  # month -> rows of the batch's file whose actual changed


def read(path: Path, config: DatasetConfig) -> tuple[pl.DataFrame, int]:
    """Read the values of a CSV or Parquet file: key, month, value; and how many rows have none.

    Raises:
        ConfigError: rows of the data set have no key or no date, so that nothing can be joined.
        DataError: a column is missing, a key or date is, a value is impossible, or a key has two values in a month.
    """
    names, target = names_of(config), config.target.column
    if not names or config.date is None:
        raise ConfigError(
            f"{config.name}: what came true is joined by key and month: name the key in `keys` and the date in"
            " `split.column` of the dataset's YAML"
        )
    wanted = [*names, config.date, target]
    rows = load.read(path, config, wanted).select(wanted)
    missing = rows.select(pl.col(*names, config.date).is_null().sum()).row(0, named=True)
    for name, count in missing.items():
        if count:
            raise DataError(f"{path}: column {name}: {count:,} rows have none, and cannot be joined without")
    told = rows.filter(pl.col(target).is_not_null())
    _check_values(told, config, path)
    keys = [key_of(row, config, names) for row in told.select(names).iter_rows(named=True)]
    made = told.select(
        pl.Series("key", keys, pl.String),
        pl.col(config.date).dt.strftime("%Y-%m").alias("month"),
        pl.col(target).alias("value"),
    ).unique(maintain_order=True)
    twice = made.filter(pl.struct("key", "month").is_duplicated())
    if twice.height:
        shown = " | ".join(f"{row[0]} in {row[1]}: {row[2]}" for row in twice.head(EXAMPLES).iter_rows())
        raise DataError(f"{path}: {twice.height:,} rows tell different values of the same key and month: {shown}")
    return made, rows.height - told.height


def _check_values(told: pl.DataFrame, config: DatasetConfig, path: Path) -> None:
    target = config.target.column
    if config.task == "classification":
        wrong = told.filter(~pl.col(target).is_in(list(config.target.classes)))
        asked = f"one of {', '.join(config.target.classes)}"
    else:
        column = config.columns[target]
        least = column.min if column.min is not None else float("-inf")
        most = column.max if column.max is not None else float("inf")
        wrong, asked = told.filter(~pl.col(target).is_between(least, most)), f"between {least:,g} and {most:,g}"
    if wrong.height:
        examples = ", ".join(map(repr, wrong[target].head(EXAMPLES)))
        raise DataError(f"{path}: column {target}: {wrong.height:,} values are not {asked}, for example {examples}")


def tell(
    values: pl.DataFrame, config: DatasetConfig, engine: sa.Engine, source: str, now: datetime
) -> tuple[int, int, int]:
    """Record values in one transaction; returns how many are new, corrected and known.

    Args:
        values: key, month, value; a key has one value in a month.
        config: names the data set and the task.
        engine: the monitoring database.
        source: what told them.
        now: when.
    """
    column = "label" if config.task == "classification" else "value"
    months = values["month"].unique().to_list()
    with writing(engine) as connection:
        of_months = (actuals.c.dataset == config.name, actuals.c.month.in_(months))
        before = {
            (row[0], row[1]): row[2]
            for row in connection.execute(
                sa.select(actuals.c.key, actuals.c.month, actuals.c[column]).where(*of_months)
            )
        }
        rows = [row for row in values.iter_rows() if before.get(row[:2]) != row[2]]
        new = sum(row[:2] not in before for row in rows)
        told = [_row(config.name, row, column, source, now) for row in rows]
        for start in range(0, len(told), CHUNK):
            connection.execute(_upsert(engine.dialect.name, column), told[start : start + CHUNK])
    return new, len(rows) - new, values.height - len(rows)


def _row(dataset: str, row: Sequence[Any], column: str, source: str, now: datetime) -> dict[str, Any]:
    empty = {"value": None, "label": None, "corrected_at": None, "corrections": 0}
    return {
        **empty,
        "dataset": dataset,
        "key": row[0],
        "month": row[1],
        column: row[2],
        "received_at": now,
        "source": source,
    }


def _upsert(dialect: str, column: str) -> Any:
    made = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(actuals)
    return made.on_conflict_do_update(
        index_elements=["dataset", "key", "month"],
        set_={
            column: made.excluded[column],
            "corrected_at": made.excluded.received_at,
            "corrections": actuals.c.corrections + 1,
            "source": made.excluded.source,
        },
    )


def fill(values: pl.DataFrame, config: DatasetConfig, output: PredictionsStore) -> dict[str, int]:
    """Write values into the batch's files of their months; returns month -> rows that changed (StoreError)."""
    there = {file.month: file.name for file in output.files()}
    changed = {}
    for month in sorted(set(values["month"]) & there.keys()):
        content, _ = output.read(there[month])
        frame = pl.read_parquet(io.BytesIO(content))
        filled, count = with_actuals(frame, values.filter(pl.col("month") == month), config)
        if count:
            output.put(file_name(month), sealed_parquet.to_bytes(filled))
            changed[month] = count
    return changed


def with_actuals(frame: pl.DataFrame, values: pl.DataFrame, config: DatasetConfig) -> tuple[pl.DataFrame, int]:
    """Return a month's predictions with its values in `actual_<target>`, and how many of them are other than before."""
    column = f"actual_{config.target.column}"
    names = names_of(config)
    keys = [key_of(row, config, names) for row in frame.select(names).iter_rows(named=True)]
    found = pl.DataFrame({"key": keys}, schema={"key": pl.String}).join(
        values.select("key", "value"), on="key", how="left", maintain_order="left"
    )["value"]
    before = frame[column]
    after = pl.Series(column, found.cast(before.dtype)).to_frame().with_columns(before.alias("__before"))
    made = after.select(pl.coalesce(column, "__before"))[column]
    return frame.with_columns(made), int(made.ne_missing(before).sum())


def main(argv: Sequence[str] | None = None) -> None:
    """Record a file's values from the command line."""
    args_parser = parser(__doc__.splitlines()[0])
    args_parser.add_argument(
        "--input",
        required=True,
        help="CSV or Parquet with the key, the date and the target of each row: a file, a folder, s3:// or https://",
    )
    args = args_parser.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    with tempfile.TemporaryDirectory(prefix="housecast-", dir=settings.cache) as folder:
        values, empty = read(sources.resolve(args.input, config, settings, Path(folder)), config)
    with opened(settings) as engine:
        source = sources.recorded(args.input, settings)
        new, corrected, known = tell(values, config, engine, source, datetime.now(UTC))
        known_now = joined(engine, config, values["month"].unique().to_list())
        predicted = known_now.filter(pl.any_horizontal(pl.col("value", "label_actual").is_not_null())).height
    # After the database: told again, it fills what a store that was down has missed.
    filled = fill(values, config, open_predictions(config.name, settings))
    print(summary(Told(new, corrected, known, empty, predicted, filled)))  # noqa: T201


def summary(told: Told) -> str:
    """Say what became of a file, in a few lines."""
    lines = [
        f"{told.new + told.corrected + told.known:,} values: {told.new:,} new, {told.corrected:,} corrected,"
        f" {told.known:,} known already; {told.empty:,} rows have no value yet",
        f"{told.predicted:,} recorded predictions of these months have what came true",
    ]
    lines += [f"preds {month}: {count:,} rows filled" for month, count in told.filled.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
