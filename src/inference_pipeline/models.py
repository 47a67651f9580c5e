"""A fitted model of any family, as serving sees it: answers, reasons, and a file in the bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import BundleError
from src.core.manifest import MODELS
from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.estimators import FittedEstimator

Array = NDArray[np.float64]
Floats = NDArray[np.float32]


class Model(Protocol):
    """What training makes and serving asks; features are float32, shape (n, f), NaN where missing.

    Answers are on the model's scale, shape (n,), or for classes probabilities, shape (n, k).
    """

    file: str
    evaluator: str

    def __call__(self, X: Floats, threads: int = 1) -> Array: ...

    def contributions(self, X: Floats, output: NDArray[np.intp] | None = None) -> Array:
        """Return how far each feature moved the answer on the model's scale, shape (n, f).

        Of classes, how far it moved the probability of class `output[i]` in row i.
        """
        ...

    def save(self, path: Path) -> None:
        """Write the model; its name in a bundle is `file`."""
        ...

    def plain(self) -> dict[str, Any]:
        """Return what else the model needs, as builtin containers and numbers."""
        ...


def file_of(config: DatasetConfig) -> str:
    """Return the name of the file that holds a model of the config's family."""
    return _kind(config).file


def load_model(folder: Path, config: DatasetConfig, plain: Mapping[str, Any]) -> Model:
    """Read a model that `save` wrote, with what `plain` returned; check digests before.

    Raises:
        BundleError: the file is no model of the config's family, or scikit-learn is needed and not installed.
    """
    return _kind(config).load(folder, config, plain)


def model_file(folder: Path) -> Path:
    """Return the one model file of a folder (BundleError when there is none, or two)."""
    found = [folder / name for name in MODELS if (folder / name).is_file()]
    if not found:
        raise BundleError(f"{folder / next(iter(MODELS))} does not exist: run the stage that makes it (train) first")
    if len(found) > 1:
        raise BundleError(f"{folder} holds {' and '.join(path.name for path in found)}, and one is needed: train again")
    return found[0]


def _kind(config: DatasetConfig) -> type[BoostedTrees] | type[FittedEstimator]:
    return BoostedTrees if config.model.family == "xgboost" else FittedEstimator
