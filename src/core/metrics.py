"""Every metric, once; `metric_expressions` has some of them for the groups of a frame.

Arrays are actual values `y` and estimates `yhat`, both of shape (n,) and in the target's unit. Empty input, different
shapes, values that are not finite and actual values of zero where a metric divides by them are a DataError: no metric
is ever NaN in silence.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src.core import class_metrics
from src.core.errors import DataError

Array = NDArray[np.float64]

LABELS = {
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "r2_log": "R² of logs",
    "mape": "MAPE",
    "mdape": "MdAPE",
    "within_5": "within 5 %",
    "within_10": "within 10 %",
    "within_20": "within 20 %",
}
# Of classification, from `class_metrics`.
CLASS_LABELS = {"accuracy": "accuracy", "f1": "weighted F1", "log_loss": "log loss"}
LABELS_OF = {"regression": LABELS, "classification": CLASS_LABELS}
# By which models are compared with each other; lower is better.
DECIDING = {"regression": "mae", "classification": "log_loss"}
HIGHER_IS_BETTER = frozenset({"r2", "r2_log", "within_5", "within_10", "within_20"})
IN_UNIT = frozenset({"mae", "rmse"})


def mae(y: ArrayLike, yhat: ArrayLike) -> float:
    """Return the mean absolute error, in the target's unit."""
    actual, estimate = _checked(y, yhat)
    return float(np.mean(np.abs(estimate - actual)))


def rmse(y: ArrayLike, yhat: ArrayLike) -> float:
    """Return the root mean squared error, in the target's unit."""
    actual, estimate = _checked(y, yhat)
    return float(np.sqrt(np.mean((estimate - actual) ** 2)))


def bias(y: ArrayLike, yhat: ArrayLike) -> float:
    """Return the mean error, estimate minus actual, in the target's unit."""
    actual, estimate = _checked(y, yhat)
    return float(np.mean(estimate - actual))


def r2(y: ArrayLike, yhat: ArrayLike) -> float:
    """Return the share of variance explained; DataError when all actual values are equal."""
    actual, estimate = _checked(y, yhat)
    if _is_constant(actual):
        raise DataError(f"R2 needs at least two different actual values, and all {len(actual)} are {actual[0]:g}")
    total = float(np.sum((actual - actual.mean()) ** 2))
    return 1.0 - float(np.sum((actual - estimate) ** 2)) / total


def mape(y: ArrayLike, yhat: ArrayLike) -> float:
    """Return the mean absolute error relative to the actual value (0.1 is 10 %)."""
    return float(np.mean(_relative_errors(y, yhat)))


def mdape(y: ArrayLike, yhat: ArrayLike) -> float:
    """Return the median absolute error relative to the actual value (0.1 is 10 %)."""
    return float(np.median(_relative_errors(y, yhat)))


def within(y: ArrayLike, yhat: ArrayLike, percent: float) -> float:
    """Return the share of estimates at most `percent` per cent away from the actual value."""
    return float(np.mean(_relative_errors(y, yhat) <= percent / 100))


def scores(y: ArrayLike, yhat: ArrayLike) -> dict[str, float]:
    """Return every metric of `LABELS` by name.

    `r2` is left out when all actual values are equal, `r2_log`, R² of the logarithms, also when a value is not above 0.
    """
    actual, estimate = _checked(y, yhat)
    relative = _relative_errors(actual, estimate)
    found = {"mae": mae(actual, estimate), "rmse": rmse(actual, estimate)}
    if not _is_constant(actual):
        found["r2"] = r2(actual, estimate)
        if actual.min() > 0 and estimate.min() > 0:
            found["r2_log"] = r2(np.log(actual), np.log(estimate))
    found |= {"mape": float(np.mean(relative)), "mdape": float(np.median(relative))}
    found |= {f"within_{p}": float(np.mean(relative <= p / 100)) for p in (5, 10, 20)}
    return found


def scores_of(task: str, y: ArrayLike, said: ArrayLike) -> dict[str, float]:
    """Return every metric of `LABELS_OF[task]`: `said` are estimates, or probabilities of classes, shape (n, k)."""
    return class_metrics.scores(y, said) if task == "classification" else scores(y, said)


def coverage(y: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the share of actual values inside [lower, upper], ends included."""
    actual, low, high = _checked_interval(y, lower, upper)
    return float(np.mean((low <= actual) & (actual <= high)))


def mean_width(lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the mean width of the intervals, in the target's unit."""
    low, _, high = _checked_interval(lower, lower, upper)
    return float(np.mean(high - low))


def mean_relative_width(yhat: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the mean of (upper - lower) / estimate (0.3: the interval is as wide as 30 % of the estimate)."""
    estimate, low, high = _checked_interval(yhat, lower, upper)
    _refuse_zeros(estimate, "estimates")
    return float(np.mean((high - low) / np.abs(estimate)))


@dataclass(frozen=True)
class RatioMeasure:
    """One statistic of a ratio study, the range that is called acceptable and, where cheap, its 95 % interval."""

    name: str
    value: float
    low: float
    high: float
    interval: tuple[float, float] | None = None

    @property
    def in_range(self) -> bool:
        return self.low <= self.value <= self.high


RATIO_RANGES = {
    "median_ratio": (0.90, 1.10),
    "COD": (5.0, 15.0),
    "PRD": (0.98, 1.03),
    "PRB": (-0.05, 0.05),
    "MKI": (0.95, 1.05),
}
# The regression behind PRB needs degrees of freedom left for its confidence interval.
RATIO_STUDY_ROWS = 5


def ratio_study(y: ArrayLike, yhat: ArrayLike) -> dict[str, RatioMeasure]:
    """Judge estimates as assessors do: their level, their uniformity (COD) and their vertical equity (PRD, PRB, MKI).

    A COD below 5 counts as out of range too: with real sales it hints at sales chasing or too few sales. Against a
    smoothed index it may only mean a close fit. PRB brings its closed-form 95 % interval.

    Ranges: IAAO, Standard on Ratio Studies (2013), level 0.90-1.10 and single-family residential COD 5-15 (section
    9.1, table 1-3), PRD 0.98-1.03 and PRB -0.05..0.05 (section 9.2.7); MKI 0.95-1.05 after Quintos, "A Gini measure
    for vertical equity in property assessments" (JPTAA 17(2), 2020). Computed by assesspy.

    Raises:
        DataError: fewer than `RATIO_STUDY_ROWS` rows, values that are not positive, or actual values all equal.
    """
    actual, estimate = _checked(y, yhat)
    if len(actual) < RATIO_STUDY_ROWS:
        raise DataError(f"a ratio study needs at least {RATIO_STUDY_ROWS} rows, not {len(actual)}")
    for name, values in (("actual values", actual), ("estimates", estimate)):
        if values.min() <= 0:
            raise DataError(f"a ratio study needs positive {name}, and the smallest is {values.min():g}")
    if _is_constant(actual):
        raise DataError(f"a ratio study needs different actual values, and all {len(actual)} are {actual[0]:g}")
    import pandas as pd
    from assesspy.ci import prb_ci
    from assesspy.metrics import cod, mki, prb, prd

    e, a = pd.Series(estimate), pd.Series(actual)
    low, high = prb_ci(e, a)
    found = {
        "median_ratio": float(np.median(estimate / actual)),
        "COD": float(cod(e, a)),
        "PRD": float(prd(e, a)),
        "PRB": float(prb(e, a)),
        "MKI": float(mki(e, a)),
    }
    intervals = {"PRB": (float(low), float(high))}
    return {k: RatioMeasure(k, v, *RATIO_RANGES[k], intervals.get(k)) for k, v in found.items()}


def _checked(y: ArrayLike, yhat: ArrayLike) -> tuple[Array, Array]:
    actual = _finite(y, "actual values")
    estimate = _finite(yhat, "estimates")
    if actual.shape != estimate.shape:
        raise DataError(f"metrics need as many estimates as actual values: {len(estimate)} and {len(actual)}")
    return actual, estimate


def _checked_interval(y: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array, Array]:
    values, low = _checked(y, lower)
    high = _checked(y, upper)[1]
    if np.any(low > high):
        raise DataError(f"{int(np.sum(low > high))} intervals have their lower end above the upper one")
    return values, low, high


def _finite(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise DataError(f"metrics need one dimension, and the {name} have shape {array.shape}")
    if array.size == 0:
        raise DataError(f"metrics need at least one row, and there are no {name}")
    bad = ~np.isfinite(array)
    if bad.any():
        raise DataError(f"{int(bad.sum())} of {array.size} {name} are not finite, the first in row {int(bad.argmax())}")
    return array


def _relative_errors(y: ArrayLike, yhat: ArrayLike) -> Array:
    actual, estimate = _checked(y, yhat)
    _refuse_zeros(actual, "actual values")
    return np.abs(estimate - actual) / np.abs(actual)


def _refuse_zeros(values: Array, name: str) -> None:
    zeros = int(np.sum(values == 0))
    if zeros:
        raise DataError(f"{zeros} of {values.size} {name} are 0, and a relative error divides by them; drop those rows")


def _is_constant(values: Array) -> bool:
    return bool(values.min() == values.max())
