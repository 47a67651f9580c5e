"""XGBoost's trees, with a linear trend under them, as a model that serves."""

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
        # XGBoost explains no infinite value, and the largest finite one takes the same way through the trees.
        matrix = xgb.DMatrix(np.clip(X, -LARGEST, LARGEST), missing=np.nan, nthread=1)
        shap = np.asarray(self.booster.predict(matrix, pred_contribs=True, validate_features=False), dtype=np.float64)
        if shap.ndim == 3:
            if output is None:
                raise DataError(f"the model has {shap.shape[1]} classes: say which one to explain")
            return to_probability(shap[:, :, :-1], shap.sum(axis=2), output)
        return shap[:, :-1] + self.trend.contributions(X)

    def save(self, path: Path) -> None:
        self.booster.save_model(path)

    def plain(self) -> dict[str, Any]:
        return {"trend": self.trend.plain()}
