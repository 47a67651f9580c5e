"""Comparables: the known rows that are most like a row, as an assessor shows them beside an estimate."""

import threading
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core import scale
from src.core.config import DatasetConfig
from src.core.errors import BundleError
from src.core.recipes import Numbers
from src.feature_pipeline.feature_engineering import numbered_target
from src.feature_pipeline.transforms import Tables, encoded
from src.inference_pipeline.models import Model
from src.inference_pipeline.similarity import Similarity, similarity_to

Floats = NDArray[np.float32]

# Raw numbers that are shown of a known row, beside what tells it from others: the first of the features.
LEADING = 6


@dataclass(frozen=True)
class Comparable:
    """A known row: how like it is (0 to 1), its true target, the model's estimate of it, and what it is.

    `row`: keys, date, place, region and segments, and the first raw numbers among the features.
    """

    similarity: float
    actual: float | str
    estimate: float | str
    row: dict[str, Any]


@dataclass(frozen=True)
class _Known:
    similarity: Similarity
    actual: pl.Series
    estimate: pl.Series
    rows: pl.DataFrame


class Comparables:
    """The known rows of a version, read and prepared at the first question; threads share one.

    It is given the bytes of `reference.parquet` and not its path: who loads a version may delete its folder.
    """

    def __init__(self, reference: bytes, config: DatasetConfig, tables: Tables, model: Model) -> None:
        self._reference: bytes | None = reference
        self._config, self._tables, self._model = config, tables, model
        self._lock = threading.Lock()
        self._prepared: _Known | None = None

    def of(self, x: Floats, limit: int) -> list[Comparable]:
        """Return the known rows most like the features x, shape (1, f): best first, of equal ones the earlier.

        Raises:
            BundleError: the known rows are not those of the config.
        """
        known = self._known()
        best, alike = known.similarity(x, limit)
        rows = known.rows[best].to_dicts()
        beside = zip(alike.tolist(), known.actual[best], known.estimate[best], rows, strict=True)
        return [Comparable(*one) for one in beside]

    def _known(self) -> _Known:
        with self._lock:
            if self._prepared is None:
                assert self._reference is not None
                self._prepared = _prepare(self._reference, self._config, self._tables, self._model)
                self._reference = None
            return self._prepared


def _prepare(reference: bytes, config: DatasetConfig, tables: Tables, model: Model) -> _Known:
    target = config.target.column
    try:
        frame = pl.read_parquet(reference)
        X = as_served(frame, config, tables)
        shown = [name for name in config.meta_columns if name != target] + _leading(config)
        # Float32 by its shortest decimals: 0.95 and not 0.949999988.
        exact = pl.selectors.by_dtype(pl.Float32).cast(pl.String).cast(pl.Float64)
        rows, actual, estimate = frame.select(shown).with_columns(exact), frame[target], frame[f"predicted_{target}"]
    except pl.exceptions.PolarsError as error:
        raise BundleError(f"reference.parquet does not hold the rows of {config.name}: {error}") from error
    z = numbered_target(actual, config, "reference.parquet").to_numpy().astype(np.float64)
    if config.task == "regression":
        z = scale.forward(config.target.transform, z)
    return _Known(similarity_to(model, X, z), actual, estimate, rows)


def as_served(frame: pl.DataFrame, config: DatasetConfig, tables: Tables) -> Floats:
    """Return the features of known rows as a request for the same rows gets them, float32 of shape (n, f).

    A training row's target mean leaves its own part of the rows out, so that a known home would not equal itself.
    Means of columns that the reference does not hold stay as they are.
    """
    again = [
        encoded(recipe, tables[recipe.name]).cast(nw.Float32).alias(recipe.name)
        for recipe in config.fitted
        if set(recipe.inputs) <= set(frame.columns)
    ]
    served: pl.DataFrame = nw.from_native(frame).with_columns(again).to_native()
    return served.select(pl.col(config.feature_names).cast(pl.Float32)).fill_null(np.nan).to_numpy(order="c")


def _leading(config: DatasetConfig) -> list[str]:
    raw = [name for recipe in config.features if isinstance(recipe, Numbers) for name in recipe.columns]
    return [name for name in raw if name in config.columns and name not in config.meta_columns][:LEADING]
