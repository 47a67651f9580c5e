"""Evaluate XGBoost's trees many times faster than XGBoost, to the last bit; XGBoost itself is the fallback.

XGBoost takes a second to import, with SciPy, and 40 MB: nothing here imports it before it is needed.
"""

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from src.core.errors import BundleError, DataError
from src.inference_pipeline import ubjson

if TYPE_CHECKING:
    import xgboost as xgb

try:
    from src.inference_pipeline import _trees
except ImportError:  # installed without a C compiler
    _trees = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Margin = Callable[[Floats, int], Floats]

NODE = np.dtype([("threshold", np.float32), ("slot", np.uint16), ("right", np.uint16)])
MAX_INDEX = 2**16  # slots and nodes of one tree are counted in 16 bits
MIN_ROWS_PER_THREAD = 512  # below it a thread costs more than it saves


@dataclass(frozen=True)
class Trees:
    """The trees of a gbtree model in flat arrays; immutable, so threads may share it.

    `nodes` holds tree after tree, tree t from `roots[t]`, level by level, siblings side by side; `_trees.pyx` says how
    they are read. `names` are the features' where the model knows them. `outputs[t]` is the column of the margin that
    tree t adds to, `base` the margin before any tree.
    """

    features: int
    names: tuple[str, ...]
    base: Floats
    nodes: NDArray[np.void]
    roots: NDArray[np.intp]
    depths: NDArray[np.intc]
    outputs: NDArray[np.intc]

    @classmethod
    def from_booster(cls, booster: "xgb.Booster") -> "Trees":
        """Copy the trees of a booster, all of them: slice a booster that stopped early to its best rounds first.

        Raises:
            BundleError: the model has parts that only XGBoost evaluates, such as categorical splits or dart weights.
        """
        saved = bytes(booster.save_raw("ubj"))
        trees = cls.from_saved(saved, np.empty(0, np.float32))
        return replace(trees, base=_base_margin(saved, trees.features))

    @classmethod
    def from_saved(cls, saved: bytes, base: Floats) -> "Trees":
        """Read the trees of a model that XGBoost saved as UBJSON, `base` being its margin before any tree, shape (k,).

        Raises:
            BundleError: as `from_booster`, or it is no such file.
        """
        learner = ubjson.read(saved)["learner"]
        name = learner["gradient_booster"]["name"]
        if name != "gbtree":
            raise BundleError(f"cannot compile a {name!r} booster, only 'gbtree'; XGBoost can evaluate it")
        features = int(learner["learner_model_param"]["num_feature"])
        if 2 * features + 1 > MAX_INDEX:
            raise BundleError(f"cannot compile a model of {features} features, at most {(MAX_INDEX - 1) // 2}")
        ensemble = learner["gradient_booster"]["model"]
        packed = [_pack(tree, features) for tree in ensemble["trees"]]
        sizes = [len(nodes) for nodes, _ in packed]
        return cls(
            features=features,
            names=tuple(learner["feature_names"]),
            base=base,
            nodes=np.concatenate([nodes for nodes, _ in packed]) if packed else np.empty(0, NODE),
            roots=np.cumsum([0, *sizes[:-1]], dtype=np.intp) if packed else np.empty(0, np.intp),
            depths=np.array([depth for _, depth in packed], np.intc),
            outputs=np.array(ensemble["tree_info"], np.intc),
        )

    def margin(self, X: Floats, threads: int = 1) -> Floats:
        """Sum the trees for the rows of X, shape (n, features), float32, NaN where missing.

        Any number of threads and any division into batches give the same bits.

        Returns:
            shape (n,), or (n, k) for a model of k > 1 outputs; what `Booster.predict(output_margin=True)` returns.

        Raises:
            DataError: X is of another type or width.
        """
        _check_matrix(X, self.features)
        X = np.ascontiguousarray(X)
        n = len(X)
        margin = np.empty((n, len(self.base)), np.float32)
        margin[:] = self.base
        threads = min(threads, n // MIN_ROWS_PER_THREAD)
        if threads <= 1:
            self._add(X, margin)
        else:
            edges = [n * i // threads for i in range(threads + 1)]
            parts = [slice(*pair) for pair in pairwise(edges)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda part: self._add(X[part], margin[part]), parts))
        return margin if len(self.base) > 1 else margin[:, 0]

    def _add(self, X: Floats, margin: Floats) -> None:
        _trees.add_margins(X, self.nodes, self.roots, self.depths, self.outputs, margin)


def evaluator(booster: "xgb.Booster", probe: Floats) -> tuple[Margin, str]:
    """Return the fastest function that gives the booster's margins, and its name: "compiled" or "xgboost".

    The compiled trees are taken if they equal XGBoost to the last bit on the probe, shape (n, features); otherwise
    a warning says why not. The function takes a matrix and a number of threads.
    """
    slow = XGBoostMargin(lambda: booster)
    try:
        trees = Trees.from_booster(booster) if _trees is not None else None
        return checked(trees, probe, slow(probe, 1)).margin, "compiled"
    except BundleError as error:
        logger.warning("XGBoost evaluates the model, slower: %s", error)
    return slow, "xgboost"


def checked(trees: Trees | None, probe: Floats, wanted: Floats) -> Trees:
    """Return the trees if they say what XGBoost says of the probe, shape (n, f), to the last bit (BundleError)."""
    if trees is None or _trees is None:
        raise BundleError(
            "its trees are not compiled; install a C compiler, then `uv sync --reinstall-package housecast`"
        )
    if len(probe) == 0:
        raise BundleError("there is no probe row to compare on")
    ours = trees.margin(probe)
    if ours.shape != wanted.shape or not np.array_equal(ours.view(np.uint32), wanted.view(np.uint32)):
        raise BundleError(f"the compiled trees disagree on the probe ({_difference(ours, wanted)})")
    return trees


class XGBoostMargin:
    """XGBoost's own margins. A booster keeps its number of threads, so each number gets a copy."""

    def __init__(self, booster: Callable[[], "xgb.Booster"]) -> None:
        self._booster = booster
        self._copies: dict[int, xgb.Booster] = {}
        self._lock = threading.Lock()

    def __call__(self, X: Floats, threads: int = 1) -> Floats:
        features = int(self._booster().num_features())
        _check_matrix(X, features)
        if len(X) == 0:  # XGBoost forgets the number of outputs
            return self(np.zeros((1, features), np.float32))[:0]
        with self._lock:
            if threads not in self._copies:
                self._copies[threads] = self._booster().copy()
                self._copies[threads].set_param({"nthread": threads})
            booster = self._copies[threads]
        margin: Floats = booster.inplace_predict(X, predict_type="margin", validate_features=False)
        return margin


def _base_margin(saved: bytes, features: int) -> Floats:
    """Ask XGBoost for the margin before any tree; it alone knows the objective's link."""
    import xgboost as xgb

    model = ubjson.read(saved)
    learner = model["learner"]
    ensemble = learner["gradient_booster"]["model"]
    # XGBoost leaves the link out if there is no tree at all, so one stays, with leaves of 0.
    stump = [tree | {"split_conditions": [0.0] * len(tree["split_conditions"])} for tree in ensemble["trees"][:1]]
    count = {"num_trees": str(len(stump)), "num_parallel_tree": "1"}
    ensemble = ensemble | {"trees": stump, "tree_info": [0] * len(stump), "gbtree_model_param": count}
    ensemble["iteration_indptr"] = list(range(len(stump) + 1))
    learner = learner | {"gradient_booster": {"name": "gbtree", "model": ensemble}}
    text = json.dumps(model | {"learner": learner}, default=lambda array: array.tolist())
    bare = xgb.Booster(model_file=bytearray(text.encode()))
    margin = bare.inplace_predict(np.zeros((1, features), np.float32), predict_type="margin", validate_features=False)
    return np.asarray(margin, np.float32).reshape(-1)


def _pack(tree: dict[str, Any], features: int) -> tuple[NDArray[np.void], int]:
    """Return one tree's reachable nodes, level by level, and its depth."""
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    threshold = np.array(tree["split_conditions"], np.float32)
    _refuse_unsupported(tree, threshold)
    levels = [np.zeros(1, np.intp)]
    while (inner := levels[-1][left[levels[-1]] >= 0]).size:
        levels.append(np.stack([left[inner], right[inner]], axis=1).ravel())
    order = np.concatenate(levels)
    if len(order) > MAX_INDEX:
        raise BundleError(f"cannot compile a tree of {len(order)} nodes, at most {MAX_INDEX}")
    position = np.empty(len(left), np.intp)
    position[order] = np.arange(len(order))
    is_leaf = left[order] < 0
    missing_right = np.array(tree["default_left"])[order] == 0
    slot = np.array(tree["split_indices"])[order] + features * missing_right
    nodes = np.empty(len(order), NODE)
    nodes["threshold"] = threshold[order]
    nodes["slot"] = np.where(is_leaf, 2 * features, slot)
    nodes["right"] = position[np.where(is_leaf, order, right[order])]
    return nodes, len(levels) - 1


def _refuse_unsupported(tree: dict[str, Any], threshold: Floats) -> None:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise BundleError("cannot compile leaves that hold vectors (multi_strategy='multi_output_tree')")
    if np.any(tree["split_type"]):
        raise BundleError("cannot compile categorical splits")
    # Missing is walked as an infinity, which such a threshold would send the wrong way.
    if not np.isfinite(threshold).all():
        raise BundleError("cannot compile a threshold or a leaf that is not finite")


def _check_matrix(X: object, features: int) -> None:
    if isinstance(X, np.ndarray) and X.dtype == np.float32 and X.ndim == 2 and X.shape[1] == features:
        return
    given = f"{X.dtype} of shape {X.shape}" if isinstance(X, np.ndarray) else type(X).__name__
    raise DataError(f"the model takes a float32 matrix of {features} columns, not {given}")


def _difference(ours: Floats, theirs: Floats) -> str:
    if ours.shape != theirs.shape:
        return f"shape {ours.shape} against {theirs.shape}"
    return f"by up to {np.abs(ours - theirs).max():g}"
