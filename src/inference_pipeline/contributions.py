"""Say in the target's unit, or in probability, how much each feature moved an answer."""

import numpy as np
from numpy.typing import NDArray

from src.core.scale import Transform, inverse, softmax

# Of the integral along the straight line; 24 nodes are exact to 1e-9 for log-odds that move by 20.
NODES = 24


def to_target_unit(
    shap: NDArray[np.floating], estimate: NDArray[np.floating], transform: Transform, least: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn contributions on the model's scale, shape (n, f), into a base and one amount per feature.

    Returns:
        `base`, shape (n,), and `amounts`, shape (n, f): base + amounts.sum(axis=1) = estimate, shape (n,), to
        float64's rounding. The base is the model's average answer, the same for all rows but for float32's rounding.

    For log, base = estimate * exp(-sum(shap)), and feature i gets shap_i * (estimate - base) / sum(shap): its share of
    the log ratio, times the logarithmic mean of base and estimate (where sum(shap) is 0, both are the estimate, and so
    is their mean). It is the integral of the exponential's slope along the straight line from the base to the estimate
    (Aumann-Shapley): signs are kept, a feature without effect gets 0, and the amounts add up. Without a transform the
    amounts are the SHAP values.

    The base is measured back from the estimate, as float32 sums of SHAP values and of leaves differ in the last digit.

    Where the unit has a `least` value, the base and the estimate that is explained are brought up to it, and the
    amounts shrink alike: below it nothing moves, so that part of the line counts nothing.
    """
    values = np.asarray(shap, dtype=np.float64)
    answer = np.asarray(estimate, dtype=np.float64)
    total = values.sum(axis=1)
    if transform == "none":
        base, amounts = answer - total, values
    else:
        base = answer * inverse(transform, -total)
        # -expm1(-s) / s is (1 - exp(-s)) / s without its loss of digits near 0, where it tends to 1.
        share = np.divide(-np.expm1(-total), total, out=np.ones_like(total), where=total != 0)
        amounts = values * (answer * share)[:, None]
    if least is None:
        return base, amounts
    low, high = np.maximum(base, least), np.maximum(answer, least)
    kept = np.divide(high - low, answer - base, out=np.ones_like(base), where=answer != base)
    return low, amounts * kept[:, None]


def to_probability(
    shap: NDArray[np.floating], margins: NDArray[np.floating], chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Turn contributions to the log-odds of k classes, shape (n, k, f), into some to one class's probability, (n, f).

    The same integral as in `to_target_unit`, of the softmax's slope along the straight line from the base to the
    margins, shape (n, k), by Gauss and Legendre's rule. Row i is about class `chosen[i]`, and its amounts add up to
    that class's probability less the one at the base.
    """
    values = np.asarray(shap, dtype=np.float64)
    ends, rows = np.asarray(margins, dtype=np.float64), np.arange(len(shap))
    total = values.sum(axis=2)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)  # takes a tenth of a second to import
    found = np.zeros((values.shape[0], values.shape[2]))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        p = softmax(ends - (1 - node) * total)
        # The slope of class c's probability along class j's log-odds is p_c * ((c = j) - p_j).
        slope = -p * p[rows, chosen][:, None]
        slope[rows, chosen] += p[rows, chosen]
        found += weight * np.einsum("nk,nkf->nf", slope, values)
    return found
