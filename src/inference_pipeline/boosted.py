"""XGBoost's trees, with a linear trend under them, as a model that serves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import BundleError, DataError
from src.core.scale import softmax
from src.inference_pipeline.contributions import to_probability
from src.inference_pipeline.trees import XGBoostMargin, evaluator
from src.inference_pipeline.trend import Trend

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
LARGEST = np.finfo(np.float32).max
ROWS_AT_ONCE = 512


class BoostedTrees:
    """A booster and its trend. The answer is their sum, or for classes the softmax of the trees' sums."""

    file = "model.ubj"

    def __init__(self, booster: xgb.Booster, trend: Trend, probe: Floats | None = None) -> None:
        """Take the fastest evaluator that equals XGBoost on `probe`, shape (n, f); XGBoost's own without a probe."""
        self.booster = booster
        self.trend = trend
        self._margin, self.evaluator = (
            (XGBoostMargin(booster), "xgboost") if probe is None else evaluator(booster, probe)
        )

    @classmethod
    def load(cls, folder: Path, config: DatasetConfig, plain: Mapping[str, Any]) -> "BoostedTrees":
        """Read `model.ubj` (BundleError when its features are not the config's)."""
        # One thread: what XGBoost still does in serving is small, and waking a second costs more than it saves.
        booster = xgb.Booster({"nthread": 1}, model_file=folder / cls.file)
        if booster.feature_names is not None and tuple(booster.feature_names) != config.feature_names:
            raise BundleError(f"{folder / cls.file} was trained on other features than the config's: train again")
        return cls(booster, Trend.of_plain(plain["trend"]) if plain.get("trend") else Trend.none())

    def compiled(self, probe: Floats) -> "BoostedTrees":
        """Return the same model with the fastest evaluator that equals XGBoost on the probe, shape (n, f)."""
        return BoostedTrees(self.booster, self.trend, probe)

    def __call__(self, X: Floats, threads: int = 1) -> Array:
        margin = self._margin(X, threads)
        if margin.ndim == 2:
            return softmax(margin)
        return margin + self.trend(X)

    def margin(self, X: Floats) -> Array:
        """Return the sum of trend and trees before any softmax, shape (n, k); k is 1 unless the answers are classes."""
        margin = self._margin(X, 1).astype(np.float64)
        return margin if margin.ndim == 2 else (margin + self.trend(X))[:, None]

    def leaves(self, X: Floats) -> NDArray[np.unsignedinteger]:
        """Return the number of the leaf that each row ends in, for each tree: shape (n, trees), as narrow as can be."""
        parts = []
        for start in range(0, len(X), ROWS_AT_ONCE):  # XGBoost says each number in four bytes
            rows = X[start : start + ROWS_AT_ONCE]
            found = self.booster.predict(_matrix(rows), pred_leaf=True, validate_features=False)
            parts.append(found.reshape(len(rows), -1).astype(np.min_scalar_type(int(found.max(initial=0)))))
        return np.concatenate(parts)

    def tree_outputs(self) -> tuple[list[Array], list[int]]:
        """Return each tree's values by node number, and the column of the margin that it adds to.

        Raises:
            BundleError: the booster is not of trees whose leaves add up as they are.
        """
        booster = json.loads(self.booster.save_raw("json"))["learner"]["gradient_booster"]
        if booster["name"] != "gbtree":
            raise BundleError(f"a {booster['name']!r} booster has no leaves that only add up")
        trees = booster["model"]["trees"]
        if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees):
            raise BundleError("the leaves hold vectors (multi_strategy='multi_output_tree')")
        return [np.array(tree["split_conditions"], dtype=np.float64) for tree in trees], booster["model"]["tree_info"]

    def contributions(self, X: Floats, output: NDArray[np.intp] | None = None) -> Array:
        """Return exact SHAP values (TreeSHAP, Lundberg et al. 2020), shape (n, f); of classes turned into probability.

        Raises:
            DataError: X has another width than the model.
        """
        n, features = X.shape
        if features != self.booster.num_features():
            raise DataError(f"the model takes {self.booster.num_features()} features, not {features}")
        if n == 0:  # XGBoost forgets the number of columns
            return np.empty((0, features))
        shap = np.asarray(
            self.booster.predict(_matrix(X), pred_contribs=True, validate_features=False), dtype=np.float64
        )
        if shap.ndim == 3:
            if output is None:
                raise DataError(f"the model has {shap.shape[1]} classes: say which one to explain")
            return to_probability(shap[:, :, :-1], shap.sum(axis=2), output)
        return shap[:, :-1] + self.trend.contributions(X)

    def save(self, path: Path) -> None:
        self.booster.save_model(path)

    def plain(self) -> dict[str, Any]:
        return {"trend": self.trend.plain()}


def _matrix(X: Floats) -> xgb.DMatrix:
    # A matrix takes no infinite value, and the largest finite one takes the same way through the trees.
    return xgb.DMatrix(np.clip(X, -LARGEST, LARGEST), missing=np.nan, nthread=1)
