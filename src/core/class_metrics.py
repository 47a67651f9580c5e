"""The metrics of classification, once.

Arrays are class numbers `y`, shape (n,), and probabilities `p`, shape (n, k), which add up to 1 in every row. Empty
input, different lengths, a class number outside 0..k-1 and probabilities that are not finite are a DataError.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src.core.errors import DataError

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

# Probabilities of 0 would make a log loss infinite; scikit-learn clips at its type's epsilon too.
SMALLEST = float(np.finfo(np.float64).eps)


def scores(y: ArrayLike, p: ArrayLike) -> dict[str, float]:
    """Return accuracy, weighted F1 and log loss (natural logarithm) by name.

    The weighted F1 is the mean of the classes' F1 scores by their numbers of rows; a class that is neither there nor
    predicted counts nothing, one that is there and never predicted right counts 0.
    """
    actual, probabilities = _checked(y, p)
    counts = confusion(actual, probabilities)
    right, there, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    f1 = np.divide(2 * right, there + said, out=np.zeros(len(right)), where=there + said > 0)
    chosen = probabilities[np.arange(len(actual)), actual]
    return {
        "accuracy": float(right.sum() / len(actual)),
        "f1": float((f1 * there).sum() / len(actual)),
        "log_loss": float(-np.mean(np.log(np.clip(chosen, SMALLEST, 1.0)))),
    }


def confusion(y: ArrayLike, p: ArrayLike) -> Counts:
    """Count rows by actual class (first axis) and predicted class, shape (k, k); of equal probabilities the first."""
    actual, probabilities = _checked(y, p)
    k = probabilities.shape[1]
    return np.bincount(actual * k + probabilities.argmax(axis=1), minlength=k * k).reshape(k, k)


def _checked(y: ArrayLike, p: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    numbers, probabilities = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if numbers.ndim != 1 or probabilities.ndim != 2 or len(numbers) != len(probabilities) or len(numbers) == 0:
        raise DataError(
            f"metrics need n class numbers and (n, k) probabilities of at least one row, not shapes {numbers.shape} "
            f"and {probabilities.shape}"
        )
    bad = ~np.isfinite(probabilities).all(axis=1)
    if bad.any():
        raise DataError(f"{int(bad.sum())} rows have probabilities that are not finite, the first is {bad.argmax()}")
    known = np.isfinite(numbers) & (numbers >= 0) & (numbers < probabilities.shape[1]) & (numbers % 1 == 0)
    if not known.all():
        first = int((~known).argmax())
        raise DataError(
            f"{int((~known).sum())} class numbers are not of 0 to {probabilities.shape[1] - 1}: row {first}"
        )
    return numbers.astype(np.int64), probabilities
