"""The XGBoost family: parameters checked, rounds found, a booster fitted, estimates in the target's unit.

Matrices are float32, shape (n, f), NaN = missing; targets are float64, shape (n,), in the target's unit. The booster
learns, on the target's scale, what a linear trend leaves.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from src.core import scale
from src.core.config import DatasetConfig
from src.core.errors import ConfigError, DataError
from src.inference_pipeline.trend import Trend

Features = NDArray[np.float32]
Array = NDArray[np.float64]
Params = dict[str, Any]
# Those whose output is the target on the model's scale, without a link function of their own.
OBJECTIVES = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror")
ROWS_WORTH_THREADS = 5_000
# The one parameter that is not XGBoost's: how much of the linear trend lies under the trees.
TREND_SHARE = "trend_share"
OnRound = Callable[[int], None]


@dataclass(frozen=True)
class EarlyStop:
    """The rounds that early stopping chose, and MAE on the target's scale after each round."""

    booster: xgb.Booster
    rounds: int
    curve: dict[str, list[float]]


def threads_for(rows: int, wanted: int | None) -> int:
    """Choose the threads of a fit: the setting's, else one for few rows, else all cores (written 0).

    Measured on 2 cores, 44 features, 100 rounds: 1,250 rows take 0.3 s on one thread and 0.7 s on two that others also
    use; 10,000 take 0.45 s and 0.26 s.
    """
    return wanted or (1 if rows < ROWS_WORTH_THREADS else 0)


def booster_params(config: DatasetConfig, tuned: Mapping[str, Any], threads: int) -> Params:
    """Put together what `xgb.train` gets: the config's parameters, then the tuned ones; `hist` unless they say else."""
    own = {"objective": "reg:squarederror", "tree_method": "hist", **config.model.params}
    if config.model.trend:
        own[TREND_SHARE] = config.model.trend.share
    return {**own, **tuned, "seed": config.model.seed, "nthread": threads, "verbosity": 1}


def check_params(params: Params) -> None:
    """Refuse unknown names and impossible values before any real work (ConfigError)."""
    if params["objective"] not in OBJECTIVES:
        raise ConfigError(
            f"model.params: objective {params['objective']!r} is not one of {', '.join(OBJECTIVES)}; "
            "for another scale use target.transform"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _probe(params)
        except (xgb.core.XGBoostError, TypeError, ValueError) as error:
            raise ConfigError(f"model.params: {str(error).strip().splitlines()[0]}") from error
    for warning in caught:
        if "are not used" in str(warning.message):
            names = str(warning.message).split("{")[-1].split("}")[0].strip()
            raise ConfigError(f"model.params: XGBoost does not know {names}; correct the name or remove it")


def effective_params(params: Params, names: tuple[str, ...]) -> Params:
    """Read the values that XGBoost would use for parameters of trees, its own defaults included; None: no such one."""
    written = json.loads(_probe(params).save_config())["learner"]["gradient_booster"]["tree_train_param"]
    return {name: params.get(name, _number(written.get(name))) for name in names}


def _probe(params: Params) -> xgb.Booster:
    # One round on four made-up rows costs a millisecond and has XGBoost itself judge the parameters.
    X = np.arange(4, dtype=np.float32).reshape(4, 1)
    data = xgb.QuantileDMatrix(X, label=np.arange(1, 5), max_bin=int(params.get("max_bin", 256)))
    return xgb.train(_of_trees(params), data, 1)


def _of_trees(params: Params) -> Params:
    return {name: value for name, value in params.items() if name != TREND_SHARE}


def _number(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def check_rows(X: Features, y: Array, config: DatasetConfig) -> None:
    """Refuse rows that XGBoost would refuse late or learn from wrongly (DataError names the column and how many)."""
    column = config.target.column
    if len(y) == 0:
        raise DataError("train has no rows; check split.eval_from and the rules under rows")
    bad = ~np.isfinite(y) | ((y <= 0) if config.target.transform == "log" else np.zeros(len(y), bool))
    if bad.any():
        rule = "finite and above 0 (target.transform is log)" if config.target.transform == "log" else "finite"
        raise DataError(f"train: {column} must be {rule}; {bad.sum():,} rows are not, the first is {y[bad][0]:g}")
    infinite = np.isinf(X).any(axis=0)
    if infinite.any():
        name = config.feature_names[int(np.argmax(infinite))]
        raise DataError(f"train: feature {name!r} is infinite in {int(np.isinf(X).sum()):,} values; check its recipe")


def trend(X: Features, y: Array, config: DatasetConfig, params: Params) -> Trend:
    """Fit the linear part; without `model.trend` there is none."""
    if config.model.trend is None:
        return Trend.none()
    z = scale.forward(config.target.transform, y)
    return Trend.fit(X, z, config.trend_columns, config.model.trend.ridge, float(params[TREND_SHARE]))


def matrix(X: Features, y: Array, config: DatasetConfig, params: Params, under: Trend) -> xgb.DMatrix:
    """Make a matrix whose label is what the trend leaves."""
    # Not a QuantileDMatrix: it saves one copy of X, and XGBoost 3.2 trains the same bits 1.1 to 1.6 times slower on it.
    return xgb.DMatrix(
        X,
        label=scale.forward(config.target.transform, y) - under(X),
        feature_names=list(config.feature_names),
        nthread=params["nthread"] or None,
    )


class _Rounds(xgb.callback.TrainingCallback):
    def __init__(self, on_round: OnRound) -> None:
        super().__init__()
        self.on_round = on_round

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        del model, evals_log
        self.on_round(epoch + 1)
        return False


def fit(params: Params, data: xgb.DMatrix, rounds: int, on_round: OnRound | None = None) -> xgb.Booster:
    """Add `rounds` trees."""
    return xgb.train(_of_trees(params), data, rounds, callbacks=[_Rounds(on_round)] if on_round else None)


def fit_until_worse(
    params: Params, fit_on: xgb.DMatrix, judge_on: xgb.DMatrix, config: DatasetConfig, on_round: OnRound | None = None
) -> EarlyStop:
    """Add trees until the judged rows have not improved for `early_stopping.rounds`, at most `max_rounds`."""
    curve: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(
        {**_of_trees(params), "eval_metric": "mae"},
        fit_on,
        config.model.max_rounds,
        evals=[(judge_on, "judge")],
        early_stopping_rounds=config.model.early_stopping.rounds,
        evals_result=curve,
        verbose_eval=False,
        callbacks=[_Rounds(on_round)] if on_round else None,
    )
    return EarlyStop(booster, booster.best_iteration + 1, {"judge_mae": curve["judge"]["mae"]})


def predict(booster: xgb.Booster, X: Features, config: DatasetConfig, under: Trend, rounds: int = 0) -> Array:
    """Estimate in the target's unit, shape (n,), from the trend and the first `rounds` trees (0: all of them)."""
    z = booster.inplace_predict(X, iteration_range=(0, rounds), validate_features=False)
    return scale.inverse(config.target.transform, z + under(X))
