"""What a model must beat: the median, a linear model, and the place's last known price.

The first two know what the model knows. The last one has seen earlier prices of the same place, which a nowcast has
not: it is reported apart, on the rows that have a history, and is labelled so.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.core.metrics import mae
from src.core.scale import Transform, forward, inverse

Array = NDArray[np.float64]
Features = NDArray[np.float32]

NEEDS_HISTORY = "needs history"
LABELS = {"median": "median of train", "linear": "linear model", "last_known": "last known (needs history)"}
# Rows per step of the normal equations, so that the design matrix of a large split is never held whole.
BLOCK = 65_536


def median_of(y_train: Array, n: int) -> Array:
    """Answer the median of train, n times."""
    if len(y_train) == 0:
        raise DataError("the median baseline needs training rows, and there are none")
    return np.full(n, float(np.median(y_train)))


@dataclass(frozen=True)
class Linear:
    """A ridge regression from the same features as the model.

    Missing values take the median of train and an indicator; columns are standardised. An estimate outside the range
    of train's target is brought back to it: in a log model one absurd list price would otherwise be worth more than
    the rest of the market together.
    """

    transform: Transform
    medians: Array
    indicated: NDArray[np.bool_]
    centre: Array
    spread: Array
    weights: Array
    intercept: float
    range: tuple[float, float]

    @classmethod
    def fit(cls, X: Features, y: Array, transform: Transform, ridge: float = 1.0) -> "Linear":
        """Fit on X (n, f) and y (n,) in the target's unit, by the normal equations, block by block."""
        if len(y) == 0:
            raise DataError("the linear baseline needs training rows, and there are none")
        z = forward(transform, y)
        missing = ~np.isfinite(X)
        indicated = np.asarray(missing.any(axis=0) & ~missing.all(axis=0))
        medians = np.array([_median(X[:, j]) for j in range(X.shape[1])])
        made = cls(transform, medians, indicated, np.zeros(1), np.ones(1), np.zeros(1), 0.0, (z.min(), z.max()))
        blocks = [slice(start, start + BLOCK) for start in range(0, len(z), BLOCK)]
        centre: Array = np.asarray(sum(made._design(X[b]).sum(axis=0) for b in blocks), dtype=np.float64) / len(z)
        squares = sum(((made._design(X[b]) - centre) ** 2).sum(axis=0) for b in blocks)
        spread: Array = np.sqrt(np.asarray(squares, dtype=np.float64) / len(z))
        spread[spread <= 1e-9 * np.abs(centre)] = np.inf  # a constant column says nothing
        gram = ridge * np.eye(len(centre), dtype=np.float64)
        moment = np.zeros(len(centre))
        for b in blocks:
            D = (made._design(X[b]) - centre) / spread
            gram += D.T @ D
            moment += D.T @ (z[b] - z.mean())
        weights: Array = np.asarray(np.linalg.solve(gram, moment), dtype=np.float64)
        return replace(made, centre=centre, spread=spread, weights=weights, intercept=float(z.mean()))

    @classmethod
    def stronger(cls, X: Features, y: Array, transform: Transform) -> "Linear":
        """Fit in the target's unit and on the model's scale, and return the one with the lower MAE on train.

        Prices add up better than their logarithms do, and a baseline should be as strong as its kind can be.
        """
        fitted = [cls.fit(X, y, scale) for scale in dict.fromkeys(("none", transform))]
        return min(fitted, key=lambda one: mae(y, one.predict(X)))

    def predict(self, X: Features) -> Array:
        """Return estimates in the target's unit, (n,)."""
        z = np.empty(len(X))
        for start in range(0, len(X), BLOCK):
            block = slice(start, start + BLOCK)
            z[block] = self.intercept + ((self._design(X[block]) - self.centre) / self.spread) @ self.weights
        return inverse(self.transform, np.clip(z, *self.range))

    def _design(self, X: Features) -> Array:
        missing = ~np.isfinite(X)
        filled = np.where(missing, self.medians, X.astype(np.float64))
        return np.hstack([filled, missing[:, self.indicated].astype(np.float64)])


def _median(column: Features) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else 0.0


def last_known(rows: pl.DataFrame, history: pl.DataFrame, config: DatasetConfig) -> Array | None:
    """Return each row's latest price of its place in a strictly earlier month, (n,), NaN where there is none.

    Args:
        rows: has the place and the date.
        history: has place, date and target, of all splits: a price of an earlier month would be known by then.
        config: names the columns; None is returned when it names no place.
    """
    if config.place is None:
        return None
    place, day, target = config.place, config.split.column, config.target.column
    month = pl.col(day).dt.truncate("1mo").alias("_month")
    known = (
        history.select(place, month, pl.col(target).cast(pl.Float64).alias("_last"))
        .drop_nulls()
        .drop_nans()
        .group_by(place, "_month")
        .agg(pl.col("_last").mean())
        .sort("_month")
    )
    asked = rows.select(place, month).with_row_index("_row").sort("_month")
    found = asked.join_asof(
        known, on="_month", by=place, strategy="backward", allow_exact_matches=False, check_sortedness=False
    )
    return found.sort("_row")["_last"].fill_null(float("nan")).to_numpy().astype(np.float64)
