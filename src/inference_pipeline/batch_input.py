"""What the monthly batch prices and the reports look at: a file of raw rows, cut by month."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError
from src.core.predictions_store import ALL
from src.core.workspace import Workspace
from src.feature_pipeline import load, sources
from src.feature_pipeline.transforms import require_columns

INPUT_HELP = (
    "CSV or Parquet with the rows of one or more months: a file, a folder of Parquet, s3:// or https://; BATCH_INPUT, "
    "else the raw holdout if not given"
)


def months_of(frame: pl.DataFrame, config: DatasetConfig) -> dict[str, pl.DataFrame]:
    """Cut rows by calendar month, `YYYY-MM` -> rows, in time order; rows without a date under `undated`.

    A data set without a date column has all its rows under `all`.
    """
    if config.date is None:
        return {ALL: frame} if frame.height else {}
    require_columns(frame.columns, [config.date], "the input")
    text = frame[config.date].cast(pl.String).str.head(10)
    month = text.str.to_date("%Y-%m-%d", strict=False).dt.strftime("%Y-%m").fill_null("undated")
    parts = frame.with_columns(month.alias("__month")).partition_by("__month", as_dict=True, include_key=False)
    return {str(key[0]): part for key, part in sorted(parts.items())}


@contextmanager
def input_of(source: str | None, config: DatasetConfig, settings: Settings) -> Iterator[Path]:
    """Yield the file or folder of the input; what lies elsewhere is here for the time of the block.

    Without a source it is BATCH_INPUT, else the raw holdout, which is loaded where there is none yet.

    Raises:
        ConfigError: no such file, folder or address.
        DataError: a download failed.
    """
    if source is None and settings.batch_input:
        source = settings.batch_input.replace("{dataset}", config.name)
    if source is None:
        workspace = Workspace.of(config.name, settings)
        load.ensure(config, workspace, settings)
        yield workspace.raw / "holdout.parquet"
        return
    if settings.cache:
        settings.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="housecast-", dir=settings.cache) as folder:
        yield sources.resolve(source, config, settings, Path(folder))


def typed_month(text: str) -> str:
    """Return a month that was typed as `YYYY-MM` (ConfigError when it is none)."""
    year, _, month = text.partition("-")
    if not (len(year) == 4 and year.isdigit() and month.isdigit() and 1 <= int(month) <= 12):
        raise ConfigError(f"--month {text!r}: write it as 2022-01")
    return f"{year}-{int(month):02}"


def check_months(months: Sequence[str], config: DatasetConfig) -> None:
    """Refuse months of a data set whose rows have no date (ConfigError)."""
    if months and config.date is None:
        raise ConfigError(
            f"--month {months[0]}: rows of {config.name} have no date, so they are one batch; leave --month out, or "
            "name a date column as split.column in the dataset's YAML"
        )
