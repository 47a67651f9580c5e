"""The linear part of a model: what trees cannot do, follow prices beyond those of the training years.

A tree answers with averages of what it has seen, so in a rising market it falls behind. A model with a trend is
`share * ridge(log of a few features) + trees`: the trees learn what the trend leaves, on the target's scale.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from src.inference_pipeline import _trees
except ImportError:  # installed without a C compiler
    _trees = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Features = NDArray[np.float32]

TAILS = (0.005, 0.995)


@dataclass(frozen=True)
class Trend:
    """A fitted trend. For feature `columns[j]` with value x: `weights[j] * log(x)`, or `absent[j]` without a value.

    x is brought into `low[j]..high[j]`, the range of training, so that an absurd value cannot carry a price away.
    `means[j]` is the term's mean in training, from which contributions are counted.
    """

    columns: tuple[int, ...]
    weights: tuple[float, ...]
    absent: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    means: tuple[float, ...]
    intercept: float

    @classmethod
    def none(cls) -> "Trend":
        """Return the trend of a model without one."""
        return cls((), (), (), (), (), (), 0.0)

    @classmethod
    def fit(cls, X: Features, z: Array, columns: tuple[int, ...], ridge: float, share: float) -> "Trend":
        """Fit `share` of a ridge regression of z, shape (n,), on the logs of some columns of X, shape (n, f).

        A missing value, or one that has no logarithm, takes an indicator of its own and the column's mean.
        """
        if not columns or share == 0:
            return cls.none()
        values = X[:, columns].astype(np.float64)
        known = values > 0
        # Winsorised for the fit only: a few absurd values would bend it for all.
        logs = np.log(np.clip(np.where(known, values, 1.0), *_range(values, known, TAILS)))
        low, high = _range(values, known, (0.0, 1.0))
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, logs, 0.0).sum(axis=0) / count
        design = np.hstack([np.where(known, logs - centre, 0.0), ~known])
        target = z - z.mean()
        gram = design.T @ design + ridge * np.eye(design.shape[1])
        solved = share * np.linalg.solve(gram, design.T @ target)
        weights, absent = solved[: len(columns)], solved[len(columns) :]
        # sum of weights * (log x - centre) is sum of weights * log x less a constant, which the intercept takes.
        shift = weights * centre
        applied = np.log(np.clip(np.where(known, values, 1.0), low, high))
        terms = np.where(known, applied * weights, absent + shift)
        return cls(
            tuple(int(c) for c in columns),
            _floats(weights),
            _floats(absent + shift),
            _floats(low),
            _floats(high),
            _floats(terms.mean(axis=0)),
            float(share * z.mean() - shift.sum()),
        )

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.intp], Array, Array, Array, Array]:
        rest = (np.array(values) for values in (self.low, self.high, self.weights, self.absent))
        return np.array(self.columns, np.intp), *rest  # type: ignore[return-value]

    def terms(self, X: Features) -> Array:
        """Return each column's term on the model's scale, shape (n, len(columns))."""
        columns, low, high, weights, absent = self._arrays
        values = X[:, columns].astype(np.float64)
        known = values > 0
        logs = np.log(np.minimum(np.maximum(np.where(known, values, 1.0), low), high))
        return np.where(known, weights * logs, absent)

    def __call__(self, X: Features) -> Array:
        """Return the trend on the model's scale, shape (n,)."""
        total = np.full(len(X), self.intercept)
        if not self.columns:
            return total
        # Term by term either way: the same additions for one row as for a million, hence the same bits.
        if _trees is not None:
            columns, low, high, weights, absent = self._arrays
            _trees.add_terms(np.ascontiguousarray(X), columns, weights, absent, low, high, total)
            return total
        for term in self.terms(X).T:
            total += term
        return total

    def contributions(self, X: Features) -> Array:
        """Return how far each feature's term is from its mean in training, on the model's scale, shape (n, f)."""
        found = np.zeros(X.shape)
        if self.columns:
            found[:, self.columns] = self.terms(X) - np.array(self.means)
        return found

    def plain(self) -> dict[str, Any]:
        """Return builtin containers and numbers, for a bundle."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in content.items()}

    @classmethod
    def of_plain(cls, content: dict[str, Any]) -> "Trend":
        """Read what `plain` returned."""
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return cls(**fields)


def _range(values: Array, known: NDArray[np.bool_], ends: tuple[float, float]) -> tuple[Array, Array]:
    """Return two quantiles of each column's known values; 1 where it has none."""
    found = [np.quantile(v[k], ends) if k.any() else np.ones(2) for v, k in zip(values.T, known.T, strict=True)]
    return np.array([low for low, _ in found]), np.array([high for _, high in found])


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
