"""What a model must beat: the median, a linear model, and what else the place has cost.

The first two know what the model knows. The last known price has seen earlier prices of the same place, which a nowcast
has not: it is reported apart, on the rows that have a history, and is labelled so. Where the split is random, time says
little, and the median of the place's training rows is reported on the rows whose place is among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.core.metrics import mae
from src.core.scale import Transform, forward, inverse
from src.core.sections import RandomSplit

Array = NDArray[np.float64]
Features = NDArray[np.float32]

NEEDS_HISTORY = "needs history"
LABELS = {
    "median": "median of train",
    "linear": "linear model",
    "last_known": "last known (needs history)",
    "majority": "shares of train",
    "place_median": "median of the place",
}
# Rows per step of the normal equations, so that the design matrix of a large split is never held whole.
BLOCK = 65_536


def median_of(y_train: Array, n: int) -> Array:
    """Answer the median of train, n times."""
    if len(y_train) == 0:
        raise DataError("the median baseline needs training rows, and there are none")
    return np.full(n, float(np.median(y_train)))


def of_classes(X_train: Features, y_train: Array, X: Sequence[Features], classes: int) -> list[dict[str, Array]]:
    """Return for each X probabilities, (n, k): the classes' shares in train, and a logistic regression on train."""
    shares = np.bincount(y_train.astype(np.int64), minlength=classes) / len(y_train)
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    linear = make_pipeline(imputer, StandardScaler(), LogisticRegression(max_iter=2000))
    linear.fit(X_train, y_train.astype(np.int64))
    seen, found = linear[-1].classes_, []
    for one in X:
        p = np.zeros((len(one), classes))
        p[:, seen] = linear.predict_proba(one)
        found.append({"majority": np.tile(shares, (len(one), 1)), "linear": p})
    return found


@dataclass(frozen=True)
class _Design:
    """The model's features as a linear model needs them: complete and standardised."""

    medians: Array
    indicated: NDArray[np.bool_]
    centre: Array
    spread: Array

    @classmethod
    def of(cls, X: Features) -> "_Design":
        """Learn medians, which columns need an indicator of missing values, means and standard deviations."""
        missing = ~np.isfinite(X)
        indicated = np.asarray(missing.any(axis=0) & ~missing.all(axis=0))
        width = X.shape[1] + int(indicated.sum())
        medians = np.array([_median(X[:, j]) for j in range(X.shape[1])])
        plain = cls(medians, indicated, np.zeros(width), np.ones(width))
        centre, squares = np.zeros(width), np.zeros(width)
        for _, D in plain.blocks(X):
            centre += D.sum(axis=0) / len(X)
        for _, D in plain.blocks(X):
            squares += ((D - centre) ** 2).sum(axis=0) / len(X)
        spread = np.sqrt(squares)
        spread[spread <= 1e-9 * np.abs(centre)] = np.inf  # a constant column says nothing
        return cls(medians, indicated, centre, spread)

    def blocks(self, X: Features) -> Iterator[tuple[slice, Array]]:
        """Yield which rows, and their columns ready for a linear model."""
        for start in range(0, len(X), BLOCK):
            rows = slice(start, start + BLOCK)
            missing = ~np.isfinite(X[rows])
            filled = np.where(missing, self.medians, X[rows].astype(np.float64))
            yield rows, (np.hstack([filled, missing[:, self.indicated]]) - self.centre) / self.spread


@dataclass(frozen=True)
class Linear:
    """A ridge regression from the same features as the model.

    Missing values take the median of train and an indicator; columns are standardised. An estimate outside the range
    of train's target is brought back to it: in a log model one absurd list price would otherwise be worth more than
    the rest of the market together.
    """

    transform: Transform
    design: _Design
    weights: Array
    intercept: float
    range: tuple[float, float]

    @classmethod
    def fit(cls, X: Features, y: Array, transforms: Sequence[Transform], ridge: float = 1.0) -> list["Linear"]:
        """Fit X (n, f) to y (n,), given in the target's unit, once on each scale, by the normal equations."""
        if len(y) == 0:
            raise DataError("the linear baseline needs training rows, and there are none")
        design = _Design.of(X)
        targets = np.column_stack([forward(transform, y) for transform in transforms])
        centre = targets.mean(axis=0)
        gram = ridge * np.eye(len(design.centre), dtype=np.float64)
        moment = np.zeros((len(design.centre), len(transforms)))
        for rows, D in design.blocks(X):
            gram += D.T @ D
            moment += D.T @ (targets[rows] - centre)
        weights: Array = np.asarray(np.linalg.solve(gram, moment), dtype=np.float64)
        ends = [(float(low), float(high)) for low, high in zip(targets.min(axis=0), targets.max(axis=0), strict=True)]
        return [cls(t, design, weights[:, i], float(centre[i]), ends[i]) for i, t in enumerate(transforms)]

    @classmethod
    def stronger(cls, X: Features, y: Array, transform: Transform) -> "Linear":
        """Fit in the target's unit and on the model's scale, and return the one with the lower MAE on train.

        Prices add up better than their logarithms do, and a baseline should be as strong as its kind can be.
        """
        scales: tuple[Transform, ...] = ("none",) if transform == "none" else ("none", transform)
        return min(cls.fit(X, y, scales), key=lambda one: mae(y, one.predict(X)))

    def predict(self, X: Features) -> Array:
        """Return estimates in the target's unit, (n,)."""
        z = np.empty(len(X))
        for rows, D in self.design.blocks(X):
            z[rows] = self.intercept + D @ self.weights
        return inverse(self.transform, np.clip(z, *self.range))


def _median(column: Features) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else 0.0


def last_known(rows: pl.DataFrame, history: pl.DataFrame, config: DatasetConfig) -> Array | None:
    """Return each row's latest price of its place in a strictly earlier month, (n,), NaN where there is none.

    Args:
        rows: has the place and the date.
        history: has place, date and target, of all splits: a price of an earlier month would be known by then.
        config: names the columns; None is returned when it names no place or no date.
    """
    if config.place is None or config.date is None:
        return None
    place, day, target = config.place, config.date, config.target.column
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


def place_median(rows: pl.DataFrame, train: pl.DataFrame, config: DatasetConfig) -> Array | None:
    """Return the median of the training rows of each row's place, (n,), NaN where there are none.

    None is returned when the config names no place, or splits by time: there the last known price says more.
    """
    if config.place is None or not isinstance(config.split, RandomSplit):
        return None
    known = train.drop_nulls(config.place).group_by(config.place).agg(pl.col(config.target.column).median())
    found = rows.select(config.place).join(known, on=config.place, how="left", maintain_order="left")
    return found[config.target.column].fill_null(float("nan")).to_numpy().astype(np.float64)
