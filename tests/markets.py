"""A tiny data set of three features whose price is known, for tests of training."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from src.core.config import DatasetConfig
from src.feature_pipeline.feature_engineering import Matrix


def tiny_config(model: dict[str, Any] | None = None, **sections: Any) -> DatasetConfig:
    """Return a config that trains in milliseconds; `model` and other sections replace its own."""
    plain = {
        "name": "tiny",
        "title": "Three numbers and a price",
        "source": {},
        "columns": {"zipcode": "text", "date": "date", "a": "number", "b": "number", "c": "number", "price": "number"},
        "target": {"column": "price", "transform": "log"},
        "keys": ["zipcode", "date"],
        "split": {"by": "time", "column": "date", "eval_from": "2020-01-01", "holdout_from": "2021-01-01"},
        "features": [{"recipe": "numbers", "columns": ["a", "b", "c"]}],
        "model": {
            "params": {"learning_rate": 0.3, "max_depth": 3, "subsample": 0.8},
            "max_rounds": 200,
            "early_stopping": {"rounds": 5, "months": 6},
            **(model or {}),
        },
        "tuning": {
            "trials": 5,
            "folds": 2,
            "fold_months": 6,
            "space": {"learning_rate": {"float": [0.05, 0.5], "log": True}, "max_depth": {"int": [2, 6]}},
        },
    }
    return DatasetConfig.model_validate({**plain, **sections})


def tiny_matrix(months: int = 36, per_month: int = 15, seed: int = 0) -> Matrix:
    """Return shuffled rows up to 2019-12: log price = 12 + a + b*c/2 + noise of 2 %, and a tenth of c is missing."""
    draw = np.random.default_rng(seed)
    n = months * per_month
    X = draw.normal(size=(n, 3)).astype(np.float32)
    y = np.exp(12 + X[:, 0] + X[:, 1] * X[:, 2] / 2 + draw.normal(scale=0.02, size=n)).astype(np.float64)
    X[draw.random(n) < 0.1, 2] = np.nan
    number = draw.permutation(np.repeat(np.arange(2020 * 12 - months, 2020 * 12), per_month))
    dates = [date(int(m) // 12, int(m) % 12 + 1, 15) for m in number]
    return Matrix(X, y, pl.DataFrame({"zipcode": ["00000"] * n, "date": dates, "price": y}))


def write_train(folder: Path, data: Matrix) -> Path:
    """Write a matrix as the feature stage does; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    features = pl.DataFrame(data.X, schema=["a", "b", "c"])
    pl.concat([data.meta, features], how="horizontal").write_parquet(folder / "train.parquet")
    return folder
