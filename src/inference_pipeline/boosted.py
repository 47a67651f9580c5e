"""XGBoost's trees, with a linear trend under them, as a model that serves."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import BundleError, DataError
from src.core.scale import softmax
from src.inference_pipeline.contributions import to_probability
from src.inference_pipeline.trees import Margin, Trees, XGBoostMargin, checked, evaluator
from src.inference_pipeline.trend import Trend

if TYPE_CHECKING:
    import xgboost as xgb

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
LARGEST = np.finfo(np.float32).max
ROWS_AT_ONCE = 512


class SavedBooster:
    """A booster, or one that is read from what was saved of it as UBJSON once XGBoost itself is needed."""

    def __init__(self, booster: "xgb.Booster | bytes") -> None:
        self._booster = booster

    def __call__(self) -> "xgb.Booster":
        # Two threads may both read it, which does no harm; looked at once, as the other one may be done meanwhile.
        booster = self._booster
        if isinstance(booster, bytes):
            import xgboost as xgb

            # One thread: what XGBoost still does in serving is small, and waking a second costs more than it saves.
            self._booster = booster = xgb.Booster({"nthread": 1}, model_file=bytearray(booster))
        return booster


class BoostedTrees:
    """A booster and its trend. The answer is their sum, or for classes the softmax of the trees' sums.

    Read from a bundle it answers without XGBoost, which is imported once somebody asks for reasons or comparables.
    """

    file = "model.ubj"

    def __init__(
        self,
        booster: "xgb.Booster | SavedBooster",
        trend: Trend,
        margin: tuple[Margin, str] | None = None,
        trees: Trees | None = None,
    ) -> None:
        """Take a booster and what evaluates it; XGBoost does where nothing is given.

        `trees`: its trees as they were read, for `compiled` to check.
        """
        self._source = booster if isinstance(booster, SavedBooster) else SavedBooster(booster)
        self._trees = trees
        self.trend = trend
        self._margin, self.evaluator = margin or (XGBoostMargin(self._source), "xgboost")

    @property
    def booster(self) -> "xgb.Booster":
        """The model in XGBoost's hands."""
        return self._source()

    @classmethod
    def load(cls, folder: Path, config: DatasetConfig, plain: Mapping[str, Any]) -> "BoostedTrees":
        """Read `model.ubj` (BundleError when its features are not the config's)."""
        saved = (folder / cls.file).read_bytes()
        trees = None
        if "base_margin" in plain:
            with suppress(BundleError):  # what is not read here XGBoost reads, or refuses
                trees = Trees.from_saved(saved, np.array(plain["base_margin"], np.float32))
        made = cls(
            SavedBooster(saved), Trend.of_plain(plain["trend"]) if plain.get("trend") else Trend.none(), trees=trees
        )
        names = trees.names if trees else tuple(made.booster.feature_names or ())
        if names and names != config.feature_names:
            raise BundleError(f"{folder / cls.file} was trained on other features than the config's: train again")
        return made

    def compiled(self, probe: Floats, margins: Floats | None = None) -> "BoostedTrees":
        """Return the same model with the fastest evaluator that equals XGBoost on the probe, shape (n, f).

        `margins`: what XGBoost said of the probe, to the last bit; it is asked itself where that is not known.
        """
        if self._trees is not None and margins is not None:
            try:
                fast = checked(self._trees, probe, margins).margin
                return BoostedTrees(self._source, self.trend, (fast, "compiled"))
            except BundleError as error:
                logger.warning("XGBoost is asked what it says today: %s", error)
        return BoostedTrees(self.booster, self.trend, evaluator(self.booster, probe))

    def __call__(self, X: Floats, threads: int = 1) -> Array:
        margin = self._margin(X, threads)
        if margin.ndim == 2:
            return softmax(margin)
        return margin + self.trend(X)

    def by_xgboost(self, X: Floats) -> Floats:
        """Return XGBoost's own sums of the trees, shape (n,) or (n, k), which every evaluator must give."""
        return XGBoostMargin(self._source)(X)

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
        plain: dict[str, Any] = {"trend": self.trend.plain()}
        with suppress(BundleError):  # only XGBoost evaluates such a model
            plain["base_margin"] = Trees.from_booster(self.booster).base.tolist()
        return plain


def _matrix(X: Floats) -> "xgb.DMatrix":
    import xgboost as xgb

    # A matrix takes no infinite value, and the largest finite one takes the same way through the trees.
    return xgb.DMatrix(np.clip(X, -LARGEST, LARGEST), missing=np.nan, nthread=1)
