"""Split conformal intervals on the model's scale.

The residuals z_true - z_pred of rows that neither fitting nor tuning saw give each level an interval (lo, hi) to add
to a prediction. The two ends are taken apart, each with half of the error, so that a skewed error gives a skewed
interval (the asymmetric form in Romano, Patterson and Candès, "Conformalized Quantile Regression", 2019). With n
residuals the upper end is the ceil((n + 1)(1 - alpha / 2))-th smallest and the lower one its mirror, which guarantees
the level for exchangeable rows. Months are not exchangeable: the coverage on the holdout shows what is left of the
guarantee in time.
"""

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src.core.errors import DataError

Array = NDArray[np.float64]
Interval = tuple[float, float]
logger = logging.getLogger(__name__)


def calibrate(z_true: ArrayLike, z_pred: ArrayLike, levels: Sequence[float]) -> dict[float, Interval]:
    """Return level -> (lo, hi), to be added to a prediction on the model's scale.

    A level that needs more rows (see `enough_rows`) gets the widest residuals there are, and a warning.

    Raises:
        DataError: no rows, values that are not finite, or a level outside (0, 1).
    """
    truth, estimate = np.asarray(z_true, dtype=np.float64), np.asarray(z_pred, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != estimate.shape:
        raise DataError(f"calibration needs two columns of one length, not shapes {truth.shape} and {estimate.shape}")
    if truth.size == 0:
        raise DataError("calibration needs at least one row; is the eval split empty?")
    residuals = np.sort(truth - estimate)
    if not np.isfinite(residuals).all():
        bad = int((~np.isfinite(residuals)).sum())
        raise DataError(f"calibration needs finite values, and {bad} of {residuals.size} residuals are not")
    for level in levels:
        if not enough_rows(residuals.size, level):
            logger.warning(
                "%d calibration rows are too few for an interval of %g %%: the widest residuals are used",
                residuals.size,
                100 * level,
            )
    return {level: _ends(residuals, level) for level in levels}


def enough_rows(n: int, level: float) -> bool:
    """Say whether n residuals can promise the level."""
    return _rank(n, level) <= n


def cross_fitted(
    z_true: Array, z_pred: Array, groups: NDArray[np.generic], levels: Sequence[float]
) -> dict[float, tuple[Array, Array]] | None:
    """Return level -> (lo, hi), each (n,), every row's from the other groups; None for fewer than two groups.

    This is how calibration rows can be judged honestly: with groups = months, no month widens or narrows its own
    interval. A level that the other groups cannot promise is left out.
    """
    names, index = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return None
    residuals = z_true - z_pred
    smallest_rest = len(residuals) - int(np.bincount(index).max())
    kept = [level for level in levels if enough_rows(smallest_rest, level)]
    ends = {level: (np.empty(len(residuals)), np.empty(len(residuals))) for level in kept}
    for group in range(len(names)):
        here = index == group
        rest = np.sort(residuals[~here])
        for level in kept:
            ends[level][0][here], ends[level][1][here] = _ends(rest, level)
    return ends


def as_plain(intervals: Mapping[float, Interval]) -> dict[str, list[float]]:
    """Return the intervals as a bundle keeps them: `{"0.8": [lo, hi]}`."""
    return {str(level): [float(lo), float(hi)] for level, (lo, hi) in intervals.items()}


def _rank(n: int, level: float) -> int:
    if not 0 < level < 1:
        raise DataError(f"an interval's level must lie between 0 and 1, not {level}")
    # Rounded first: (n + 1) * (1 - 0.1) can come out a hair above the whole number that it is.
    return math.ceil(round((n + 1) * (1 + level) / 2, 9))


def _ends(ordered: Array, level: float) -> Interval:
    n = len(ordered)
    rank = min(_rank(n, level), n)
    return float(ordered[n - rank]), float(ordered[rank - 1])
