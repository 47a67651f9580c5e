"""What every family of models offers to training, and which module offers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from src.core import scale
from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.inference_pipeline.models import Model

Features = NDArray[np.float32]
Array = NDArray[np.float64]
Params = dict[str, Any]
OnRound = Callable[[int], None]


@dataclass(frozen=True)
class Rows:
    """Rows to learn from: `X` float32, shape (n, f), NaN = missing; `y` in the target's unit or class numbers, (n,)."""

    X: Features
    y: Array

    def __getitem__(self, rows: NDArray[np.int64]) -> "Rows":
        return Rows(self.X[rows], self.y[rows])


@dataclass(frozen=True)
class Stopped:
    """A model and the rounds that the judged rows chose (0: the family has no rounds), with its learning curves."""

    model: Model
    rounds: int = 0
    curve: dict[str, list[float]] = field(default_factory=dict)


class Contest(Protocol):
    """Rows prepared once, on which candidates are fitted and judged."""

    def __call__(self, params: Params, on_round: OnRound | None = None) -> Stopped: ...


class Family(Protocol):
    """A module of the training pipeline that fits one kind of model."""

    VERSION: str

    def threads_for(self, rows: int, wanted: int | None) -> int: ...

    def params_of(self, config: DatasetConfig, tuned: Mapping[str, Any], threads: int) -> Params:
        """Put together the config's parameters, then the tuned ones, then seed and threads."""
        ...

    def check_params(self, params: Params, config: DatasetConfig) -> None:
        """Refuse unknown names and impossible values before any real work (ConfigError)."""
        ...

    def effective_params(self, params: Params, names: tuple[str, ...], config: DatasetConfig) -> Params:
        """Read the values that would be used for named parameters, defaults included; None: no such parameter."""
        ...

    def contest(self, fit_on: Rows, judge_on: Rows, config: DatasetConfig) -> Contest: ...

    def fit(
        self, on: Rows, config: DatasetConfig, params: Params, rounds: int, on_round: OnRound | None = None
    ) -> Model: ...


def family_of(config: DatasetConfig) -> Family:
    """Return the module that fits the config's model."""
    from src.training_pipeline import estimators, xgb

    family: Family = xgb if config.model.family == "xgboost" else estimators
    return family


def estimates(model: Model, X: Features, config: DatasetConfig, threads: int = 1) -> Array:
    """Return estimates in the target's unit, shape (n,), or probabilities of classes, shape (n, k)."""
    answer = model(X, threads)
    return scale.in_unit(answer, config)


def check_rows(on: Rows, config: DatasetConfig) -> None:
    """Refuse rows that no family can learn from (DataError names the column and how many)."""
    column, y = config.target.column, on.y
    if len(y) == 0:
        raise DataError("train has no rows; check the split and the rules under rows")
    bad = ~np.isfinite(y) | ((y <= 0) if config.target.transform == "log" else np.zeros(len(y), bool))
    if bad.any():
        rule = "finite and above 0 (target.transform is log)" if config.target.transform == "log" else "finite"
        raise DataError(f"train: {column} must be {rule}; {bad.sum():,} rows are not, the first is {y[bad][0]:g}")
    absent = [name for number, name in enumerate(config.target.classes) if not (y == number).any()]
    if absent:
        raise DataError(f"train: no row of {column} is {absent[0]!r}; every class in target.classes needs some")
    infinite = np.isinf(on.X).any(axis=0)
    if infinite.any():
        name = config.feature_names[int(np.argmax(infinite))]
        raise DataError(
            f"train: feature {name!r} is infinite in {int(np.isinf(on.X).sum()):,} values; check its recipe"
        )
