"""Say in the target's unit how much each feature moved an estimate."""

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from src.core.errors import BundleError, DataError
from src.core.scale import Transform, inverse

LARGEST = np.finfo(np.float32).max


def contributions(
    booster: xgb.Booster,
    X: NDArray[np.float32],
    estimate: NDArray[np.floating],
    transform: Transform,
    beside: NDArray[np.float64] | float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split estimates into a base and one amount per feature, in the target's unit.

    XGBoost's own SHAP values (exact TreeSHAP, Lundberg et al. 2020) do it on the model's scale; `to_target_unit`
    converts them.

    Args:
        booster: a model of one output.
        X: features, shape (n, f), NaN where missing.
        estimate: what the model answered in the target's unit, shape (n,).
        transform: the scale on which the model learned.
        beside: contributions on that scale of what the model adds to the trees, shape (n, f).

    Returns:
        `base`, shape (n,), and `amounts`, shape (n, f): base + amounts.sum(axis=1) = estimate to float64's rounding.
        The base is the model's average answer, the same for all rows but for float32's rounding.

    Raises:
        BundleError: the model has several outputs.
        DataError: X has another width than the model, or `estimate` another length than X.
    """
    n, features = X.shape
    if features != booster.num_features():
        raise DataError(f"the model takes {booster.num_features()} features, not {features}")
    if np.shape(estimate) != (n,):
        raise DataError(f"{n} rows to explain need {n} estimates, not an array of shape {np.shape(estimate)}")
    if n == 0:  # XGBoost forgets the number of columns
        return np.empty(0), np.empty((0, features))
    # XGBoost explains no infinite value, and the largest finite one takes the same way through the trees.
    matrix = xgb.DMatrix(np.clip(X, -LARGEST, LARGEST), missing=np.nan, nthread=1)
    shap = booster.predict(matrix, pred_contribs=True, validate_features=False)
    if shap.ndim != 2:
        raise BundleError(f"contributions need a model of one output, this one has {shap.shape[1]}")
    return to_target_unit(shap[:, :-1] + beside, estimate, transform)


def to_target_unit(
    shap: NDArray[np.floating], estimate: NDArray[np.floating], transform: Transform
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn contributions on the model's scale, shape (n, f), into the target's unit; see `contributions`.

    For log, base = estimate * exp(-sum(shap)), and feature i gets shap_i * (estimate - base) / sum(shap): its share of
    the log ratio, times the logarithmic mean of base and estimate (where sum(shap) is 0, both are the estimate, and so
    is their mean). It is the integral of the exponential's slope along the straight line from the base to the estimate
    (Aumann-Shapley): signs are kept, a feature without effect gets 0, and the amounts add up. Without a transform the
    amounts are the SHAP values.

    The base is measured back from the estimate, as float32 sums of SHAP values and of leaves differ in the last digit.
    """
    values = np.asarray(shap, dtype=np.float64)
    answer = np.asarray(estimate, dtype=np.float64)
    total = values.sum(axis=1)
    if transform == "none":
        return answer - total, values
    base = answer * inverse(transform, -total)
    # -expm1(-s) / s is (1 - exp(-s)) / s without its loss of digits near 0, where it tends to 1.
    share = np.divide(-np.expm1(-total), total, out=np.ones_like(total), where=total != 0)
    return base, values * (answer * share)[:, None]
