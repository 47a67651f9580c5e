"""Seeded rows taken through the real stages, for tests that need something fitted."""

from typing import Any

import polars as pl

from src.core.config import DatasetConfig
from src.feature_pipeline import encoders, feature_engineering, load, preprocess
from tests.factories import housets_frame


def typed_housets(config: DatasetConfig, rows: int, seed: int = 0) -> pl.DataFrame:
    return load.typed(housets_frame(rows=rows, seed=seed).lazy(), config, "test")


def clean_housets(config: DatasetConfig, rows: int, seed: int = 0) -> pl.DataFrame:
    tables = {"lookup": encoders.lookup_table(config)}
    return preprocess.clean(typed_housets(config, rows, seed).lazy(), config, tables).collect()


def housets_tables(config: DatasetConfig, rows: int = 500) -> dict[str, Any]:
    fitted = feature_engineering.fit(clean_housets(config, rows), config)
    return {**fitted.tables, "lookup": encoders.lookup_table(config)}
