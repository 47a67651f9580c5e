"""The XGBoost family: parameters checked, rounds found, trees fitted.

Matrices are float32, shape (n, f), NaN = missing; targets are float64, shape (n,), in the target's unit or class
numbers. The booster learns, on the target's scale, what a linear trend leaves.
"""

import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import xgboost as xgb

from src.core import scale
from src.core.config import DatasetConfig
from src.core.errors import ConfigError
from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.trend import Trend
from src.training_pipeline.families import Array, Contest, Features, OnRound, Params, Rows, Stopped

# Those whose output is the target on the model's scale, without a link function of their own.
OBJECTIVES = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror")
CLASSIFIER = "multi:softprob"
ROWS_WORTH_THREADS = 20_000
# The one parameter that is not XGBoost's: how much of the linear trend lies under the trees.
TREND_SHARE = "trend_share"
VERSION = f"xgboost {xgb.__version__}"


def threads_for(rows: int, wanted: int | None) -> int:
    """Choose the threads of a fit: the setting's, else one for few rows, else all cores (written 0).

    Measured on 2 cores, 44 features, 100 rounds: 1,250 rows take 0.3 s on one thread and 0.7 s on two that others also
    use; 10,000 take 0.45 s and 0.26 s, but 14,000 in 439 rounds of three trees took 6 s and 13 s where the second core
    was not free. So few rows stay on one: what it loses at best is less than what two lose at worst.
    """
    return wanted or (1 if rows < ROWS_WORTH_THREADS else 0)


def params_of(config: DatasetConfig, tuned: Mapping[str, Any], threads: int) -> Params:
    """Put together what `xgb.train` gets: the config's parameters, then the tuned ones; `hist` unless they say else."""
    own: Params = {"objective": "reg:squarederror", "tree_method": "hist"}
    if config.task == "classification":
        own |= {"objective": CLASSIFIER, "num_class": len(config.target.classes)}
    own |= config.model.params
    if config.model.trend:
        own[TREND_SHARE] = config.model.trend.share
    return {**own, **tuned, "seed": config.model.seed, "nthread": threads, "verbosity": 1}


def check_params(params: Params, config: DatasetConfig) -> None:
    """Refuse unknown names and impossible values before any real work (ConfigError)."""
    allowed = OBJECTIVES if config.task == "regression" else (CLASSIFIER,)
    if params["objective"] not in allowed:
        raise ConfigError(
            f"model.params: objective {params['objective']!r} is not one of {', '.join(allowed)}; "
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


def effective_params(params: Params, names: tuple[str, ...], config: DatasetConfig) -> Params:
    """Read the values that XGBoost would use for parameters of trees, its own defaults included; None: no such one."""
    del config
    written = json.loads(_probe(params).save_config())["learner"]["gradient_booster"]["tree_train_param"]
    return {name: params.get(name, _number(written.get(name))) for name in names}


def _probe(params: Params) -> xgb.Booster:
    # One round on four made-up rows costs a millisecond and has XGBoost itself judge the parameters.
    X = np.arange(4, dtype=np.float32).reshape(4, 1)
    data = xgb.QuantileDMatrix(
        X, label=np.arange(4) % int(params.get("num_class", 4)), max_bin=int(params.get("max_bin", 256))
    )
    return xgb.train(_of_trees(params), data, 1)


def _of_trees(params: Params) -> Params:
    return {name: value for name, value in params.items() if name != TREND_SHARE}


def _number(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def trend(X: Features, y: Array, config: DatasetConfig, params: Params) -> Trend:
    """Fit the linear part; without `model.trend` there is none."""
    if config.model.trend is None:
        return Trend.none()
    z = scale.forward(config.target.transform, y)  # a trend is of numbers only
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


def fit(on: Rows, config: DatasetConfig, params: Params, rounds: int, on_round: OnRound | None = None) -> BoostedTrees:
    """Fit the trend, then add `rounds` rounds of trees."""
    under = trend(on.X, on.y, config, params)
    callbacks = [_Rounds(on_round)] if on_round else None
    booster = xgb.train(_of_trees(params), matrix(on.X, on.y, config, params, under), rounds, callbacks=callbacks)
    return BoostedTrees(booster, under)


def contest(fit_on: Rows, judge_on: Rows, config: DatasetConfig) -> Contest:
    """Prepare rows to fit and rows to judge, for any number of candidates.

    A candidate gets trees until the judged rows have not improved for `early_stopping.rounds`, at most `max_rounds`.
    """

    @lru_cache(maxsize=1)
    def prepared(nthread: int, share: float) -> tuple[Trend, xgb.DMatrix, xgb.DMatrix]:
        params = {"nthread": nthread, TREND_SHARE: share}
        under = trend(fit_on.X, fit_on.y, config, params)
        fitting, judging = (matrix(rows.X, rows.y, config, params, under) for rows in (fit_on, judge_on))
        return under, fitting, judging

    def candidate(params: Params, on_round: OnRound | None = None) -> Stopped:
        under, fitting, judging = prepared(params["nthread"], float(params.get(TREND_SHARE, 0)))
        metric = "mae" if config.task == "regression" else "mlogloss"
        curve: dict[str, dict[str, list[float]]] = {}
        booster = xgb.train(
            {**_of_trees(params), "eval_metric": metric},
            fitting,
            config.model.max_rounds,
            evals=[(judging, "judge")],
            early_stopping_rounds=config.model.early_stopping.rounds,
            evals_result=curve,
            verbose_eval=False,
            callbacks=[_Rounds(on_round)] if on_round else None,
        )
        rounds = booster.best_iteration + 1
        return Stopped(BoostedTrees(booster[:rounds], under), rounds, {f"judge_{metric}": curve["judge"][metric]})

    return candidate
