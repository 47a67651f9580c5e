"""What a model version learned from: its reference rows, and its own way from raw rows to features."""

import io
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from src.core.config import DatasetConfig, parse_config
from src.core.errors import DataError
from src.core.plain_pickle import load_plain
from src.core.store import Store
from src.feature_pipeline.feature_engineering import encode
from src.feature_pipeline.load import typed
from src.feature_pipeline.preprocess import clean
from src.feature_pipeline.transforms import Tables, require_columns


@dataclass(frozen=True)
class Reference:
    """A version's config, encoders and reference rows. The model itself is not needed, nor the software it runs in."""

    version: str
    config: DatasetConfig
    tables: Tables
    rows: pl.DataFrame

    def newest(self, months: int) -> pl.DataFrame:
        """Return the rows of the newest months that there are; all of them without dates."""
        date = self.config.date
        if date is None or self.rows.is_empty():
            return self.rows
        month = pl.col(date).dt.truncate("1mo")
        last = self.rows.select(month.max()).item()
        return self.rows.filter(month > pl.lit(last).dt.offset_by(f"-{months}mo"))

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """Features whose values a month may be held against; not those that a month's date alone makes."""
        by_date = {
            name
            for recipe in self.config.features
            if recipe.recipe == "date_parts" and recipe.column == self.config.date
            for name in recipe.names
        }
        return tuple(name for name in self.config.feature_names if name not in by_date and name in self.rows.columns)

    def features(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Turn raw rows into the features that the model sees of them, missing ones as null (DataError)."""
        wanted = self.config.raw_inputs
        require_columns(raw.columns, list(wanted), "the input")
        rows = typed(raw.lazy().select(wanted), self.config, "the input")
        encoded = encode(clean(rows.lazy(), self.config, self.tables), self.config, self.tables).collect()
        return encoded.select(pl.col(self.compared).fill_nan(None))


def read_reference(store: Store, dataset: str, version: str) -> Reference:
    """Read a version's reference from the model store.

    Raises:
        StoreError: the store does not answer, or has no such version.
        BundleError: a file of it is altered.
    """
    content = {
        name: store.read(dataset, version, name) for name in ("config.yaml", "encoders.pkl", "reference.parquet")
    }
    config = parse_config(content["config.yaml"].decode(), f"config.yaml of {dataset} {version}")
    with tempfile.TemporaryDirectory(prefix="housecast-") as folder:
        path = Path(folder) / "encoders.pkl"
        path.write_bytes(content["encoders.pkl"])
        tables = load_plain(path)["tables"]
    try:
        rows = pl.read_parquet(io.BytesIO(content["reference.parquet"]))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"reference.parquet of {dataset} {version} cannot be read: {error}") from error
    return Reference(version, config, tables, rows.with_columns(pl.selectors.float().fill_nan(None)))
