"""The scale on which a model learns its target, and the way back to the target's unit."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.core.config import DatasetConfig

Transform = Literal["none", "log"]


def forward(transform: Transform, y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Take values in the target's unit, shape (n,), to the model's scale; log needs y > 0."""
    values = np.asarray(y, dtype=np.float64)
    return np.log(values) if transform == "log" else values


def inverse(transform: Transform, z: NDArray[np.floating]) -> NDArray[np.float64]:
    """Take model-scale values, shape (n,), back to the target's unit."""
    values = np.asarray(z, dtype=np.float64)
    return np.exp(values) if transform == "log" else values


def in_unit(z: NDArray[np.floating], config: DatasetConfig) -> NDArray[np.float64]:
    """Take a model's answers to the target's unit, none below the `min` of the target's column; classes stay as is."""
    values, least = inverse(config.target.transform, z), least_estimate(config)
    return values if least is None else np.maximum(values, least, out=values if values is not z else None)


def least_estimate(config: DatasetConfig) -> float | None:
    """Return the `min` of the target's column: a rent below 0 is no estimate, whatever a straight line says."""
    column = config.columns.get(config.target.column)
    return column.min if column and config.task == "regression" else None


def softmax(margins: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn log-odds up to a constant, shape (n, k), into probabilities, shape (n, k)."""
    values = np.asarray(margins, dtype=np.float64)
    weights = np.exp(values - values.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
