"""A scikit-learn estimator as a model that serves. Stored by skops, which builds named types and runs no code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import BundleError

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

# Orders in which features are switched on for contributions. More steady the split between features; none changes
# their sum.
ORDERS = 8
ASKED_AT_ONCE = 4096  # rows
# Beyond what skops trusts by itself: the parts of the allowed families.
TRUSTED = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)


class FittedEstimator:
    """A fitted regressor, on the model's scale, or a classifier with probabilities.

    `reference`, shape (f,), is the typical row from which contributions are counted: the medians of training.
    """

    file = "model.skops"
    evaluator = "scikit-learn"

    def __init__(self, estimator: Any, reference: Floats, classes: int = 0) -> None:
        self.estimator = estimator
        self.reference = reference
        self.classes = classes

    @classmethod
    def load(cls, folder: Path, config: DatasetConfig, plain: Mapping[str, Any]) -> "FittedEstimator":
        """Read `model.skops`.

        Raises:
            BundleError: scikit-learn is not installed, or the file holds anything but an allowed estimator.
        """
        try:
            from skops import io as skops
        except ImportError as error:
            raise BundleError(
                f"{folder / cls.file} is a model of {config.model.family}, which needs scikit-learn and skops: install "
                "the extra `estimators`"
            ) from error
        path = folder / cls.file
        try:
            strange = sorted(set(skops.get_untrusted_types(file=path)) - set(TRUSTED))
            if strange:
                raise BundleError(f"{path} holds {', '.join(strange[:3])}, which no model of ours does: it is not read")
            estimator = skops.load(path, trusted=list(TRUSTED))
        except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
            raise BundleError(f"{path} is not a model that can be read ({type(error).__name__}: {error})") from error
        reference = np.array(plain["reference"], dtype=np.float32)
        if len(reference) != len(config.feature_names):
            raise BundleError(f"{path} was trained on other features than the config's: train again")
        return cls(estimator, reference, len(config.target.classes))

    def __call__(self, X: Floats, threads: int = 1) -> Array:
        del threads  # scikit-learn's own threads cost more than they save here
        # In float32 a linear model of collinear features, whose weights are huge, answers a row alone otherwise than
        # in a batch. What is float32 at heart, trees, reads the same numbers from either.
        values = X.astype(np.float64)
        if not self.classes:
            return np.asarray(self.estimator.predict(values) if len(X) else np.empty(0), dtype=np.float64)
        found = np.zeros((len(X), self.classes))
        if len(X):
            # A class that training never saw has no column of its own.
            seen = np.asarray(self.estimator.classes_, dtype=np.intp)
            found[:, seen] = self.estimator.predict_proba(values)
            found /= found.sum(axis=1, keepdims=True)
        return found

    def contributions(self, X: Floats, output: NDArray[np.intp] | None = None) -> Array:
        """Return Shapley values against the typical row, sampled over `ORDERS` orders of the features, shape (n, f).

        A row starts as the typical one and takes its own values one after the other; what each changes is averaged
        over the orders (Štrumbelj and Kononenko 2014). They add up to the answer less that of the typical row; of
        classes they are in probability of class `output[i]`.
        """
        n, features = X.shape
        found = np.zeros((n, features))
        rng = np.random.default_rng(0)
        orders = np.array([rng.permutation(features) for _ in range(ORDERS)])
        # Step s of an order has taken its first s features. All steps of a row are asked at once: an answer of a
        # forest costs 10 ms for one row and hardly more for a hundred.
        taken = np.zeros((ORDERS, features + 1, features), dtype=bool)
        for order, steps in zip(orders, taken, strict=True):
            for step, feature in enumerate(order, 1):
                steps[step:, feature] = True
        block = max(1, ASKED_AT_ONCE // taken[..., 0].size)
        for start in range(0, n, block):
            rows = X[start : start + block, None, None, :]
            answer = self(np.where(taken, rows, self.reference).reshape(-1, features))
            answer = answer.reshape(len(rows), ORDERS, features + 1, -1)
            for i, said in enumerate(answer, start):
                gains = np.diff(said[:, :, 0 if output is None else output[i]], axis=1)
                np.add.at(found[i], orders, gains / ORDERS)
        return found

    def save(self, path: Path) -> None:
        from skops import io as skops

        # A forest of 100 deep trees is 300 MB of arrays, and a tenth of that packed.
        skops.dump(self.estimator, path, compression=zipfile.ZIP_DEFLATED, compresslevel=1)

    def plain(self) -> dict[str, Any]:
        return {"reference": [float(value) for value in self.reference]}
