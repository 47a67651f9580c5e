"""Batch output made up for tests: months of a small market, as `run_monthly` writes them."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from src.core import sealed_parquet
from src.core.predictions_store import FolderPredictions, PredictionsStore, file_name

# The batch keeps names as the raw file spells them; cleaning brings these together.
REGIONS = {"boston-cambridge": "Boston-Cambridge, MA-NH", "denver-aurora": "Denver–Aurora, CO"}
VERSION = "20261120T231500Z-1a2b3c4d"


def month_frame(month: str, rows: int = 20, seed: int = 0, version: str = VERSION) -> pl.DataFrame:
    """Return one month's rows; the last one has no actual, and ZIP codes have lost their leading zeros."""
    draw = np.random.default_rng([seed, int(month.replace("-", ""))])
    actual = np.exp(draw.normal(12.5, 0.5, rows))
    estimate = actual * np.exp(draw.normal(0, 0.1, rows))
    year, number = map(int, month.split("-"))
    spelled = list(REGIONS.values())
    return pl.DataFrame(
        {
            "zipcode": [str(2101 + row) for row in reversed(range(rows))],
            "date": [date(year, number, 28)] * rows,
            "city_full": [spelled[row % len(spelled)] for row in range(rows)],
            "predicted_price": estimate,
            "lower_80": estimate * 0.9,
            "upper_80": estimate * 1.1,
            "lower_95": estimate * 0.8,
            "upper_95": estimate * 1.2,
            "flags": ["" if row % 7 else "unknown_zipcode" for row in range(rows)],
            "actual_price": [*actual[:-1].tolist(), None],
            "model_version": [version] * rows,
        }
    )


def put_months(store: PredictionsStore | Path, *months: str, rows: int = 20, seed: int = 0) -> PredictionsStore:
    """Write months into a store, or into the store of a folder."""
    into = FolderPredictions(store) if isinstance(store, Path) else store
    for month in months:
        into.put(file_name(month), sealed_parquet.to_bytes(month_frame(month, rows, seed)))
    return into


def flowers_frame() -> pl.DataFrame:
    """Return iris's one batch: of four rows one is said wrongly and one has no actual."""
    said, actual = ["setosa", "virginica", "setosa", "virginica"], ["setosa", "virginica", "versicolor", None]
    size = {name: [5.0, 3.5, 1.4, 0.2] for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")}
    shares = {f"probability_{name}": [0.5, 0.25, 0.25, 0.0] for name in ("setosa", "versicolor", "virginica")}
    return pl.DataFrame(
        {
            **size,
            "predicted_species": said,
            **shares,
            "flags": [""] * 4,
            "actual_species": actual,
            "model_version": [VERSION] * 4,
        }
    )
