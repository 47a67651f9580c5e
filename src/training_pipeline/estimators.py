"""scikit-learn's estimators as families: those of an allow-list, each with its own parameters."""

import importlib
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src.core import scale
from src.core.config import DatasetConfig
from src.core.errors import ConfigError, DataError
from src.inference_pipeline.estimators import FittedEstimator
from src.training_pipeline.families import Array, Contest, OnRound, Params, Rows, Stopped

logger = logging.getLogger(__name__)

VERSION = f"scikit-learn {sklearn.__version__}"
# Family -> module, class for numbers, class for classes.
CLASSES = {
    "linear": ("linear_model", "LinearRegression", None),
    "ridge": ("linear_model", "Ridge", None),
    "logistic_regression": ("linear_model", None, "LogisticRegression"),
    "decision_tree": ("tree", "DecisionTreeRegressor", "DecisionTreeClassifier"),
    "random_forest": ("ensemble", "RandomForestRegressor", "RandomForestClassifier"),
    "extra_trees": ("ensemble", "ExtraTreesRegressor", "ExtraTreesClassifier"),
    "hist_gradient_boosting": ("ensemble", "HistGradientBoostingRegressor", "HistGradientBoostingClassifier"),
    "k_neighbors": ("neighbors", "KNeighborsRegressor", "KNeighborsClassifier"),
}
# These cannot take missing values, and features of different units would count by their size.
SCALED = ("linear", "ridge", "logistic_regression", "k_neighbors")
# The linear models have an `n_jobs` too, without effect.
THREADED = ("random_forest", "extra_trees", "k_neighbors")
DEFAULTS: dict[str, Params] = {"logistic_regression": {"max_iter": 2000}}


def threads_for(rows: int, wanted: int | None) -> int:
    """Choose the threads of a fit: the setting's, else one for few rows, else all cores (written -1)."""
    return wanted or (1 if rows < 5_000 else -1)


def params_of(config: DatasetConfig, tuned: Mapping[str, Any], threads: int) -> Params:
    """Put together the family's defaults, the config's parameters, then the tuned ones, seed and threads."""
    own = {**DEFAULTS.get(config.model.family, {}), **config.model.params, **tuned}
    if "random_state" in _bare(config).get_params():
        own["random_state"] = config.model.seed
    return own | ({"n_jobs": threads} if config.model.family in THREADED else {})


def check_params(params: Params, config: DatasetConfig) -> None:
    """Refuse unknown names and impossible values before any real work (ConfigError)."""
    X = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32)
    y = np.arange(24) % max(2, len(config.target.classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _made(config, params).fit(X, y)
        except (ValueError, TypeError) as error:
            known = ", ".join(sorted(_bare(config).get_params()))
            said = str(error).strip().splitlines()[0]
            raise ConfigError(f"{config.model.family}: {said} (parameters: {known})") from error


def effective_params(params: Params, names: tuple[str, ...], config: DatasetConfig) -> Params:
    """Read the values of named parameters, scikit-learn's own defaults included; None: no such parameter."""
    known = _bare(config).get_params() | params
    return {name: known.get(name) for name in names}


def contest(fit_on: Rows, judge_on: Rows, config: DatasetConfig) -> Contest:
    """Prepare rows to fit; there are no rounds that judged rows could stop."""
    del judge_on

    def candidate(params: Params, on_round: OnRound | None = None) -> Stopped:
        return Stopped(fit(fit_on, config, params, 0, on_round))

    return candidate


def fit(
    on: Rows, config: DatasetConfig, params: Params, rounds: int = 0, on_round: OnRound | None = None
) -> FittedEstimator:
    """Fit the estimator to the target on the model's scale, or to class numbers."""
    del rounds, on_round
    is_classifier = config.task == "classification"
    y: Array = on.y.astype(np.int64) if is_classifier else scale.forward(config.target.transform, on.y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        try:
            values = on.X.astype(np.float64)  # as they are asked, see FittedEstimator
            model = _made(config, params).fit(values, y)
            model.predict(values[:1])  # neighbours are counted only here
        except ValueError as error:
            raise DataError(
                f"train: {config.model.family} cannot learn from {len(y):,} rows: {str(error).splitlines()[0]}"
            ) from error
    for said in {str(one.message).split(". ")[0] for one in caught if issubclass(one.category, ConvergenceWarning)}:
        logger.warning("%s: %s", config.model.family, said.splitlines()[0])
    if config.model.family in THREADED:
        last = model[-1] if config.model.family in SCALED else model
        last.set_params(n_jobs=1)  # serving's requests are small
    return FittedEstimator(model, _typical(on.X), len(config.target.classes))


def _typical(X: np.ndarray) -> np.ndarray:
    known = np.isfinite(X).any(axis=0)
    typical = np.full(X.shape[1], np.nan, np.float32)
    typical[known] = np.nanmedian(X[:, known], axis=0)
    return typical


def _bare(config: DatasetConfig) -> Any:
    module, regressor, classifier = CLASSES[config.model.family]
    name = classifier if config.task == "classification" else regressor
    return getattr(importlib.import_module(f"sklearn.{module}"), str(name))()


def _made(config: DatasetConfig, params: Params) -> Any:
    estimator = _bare(config).set_params(**params)
    if config.model.family not in SCALED:
        return estimator
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(imputer, StandardScaler(), estimator)
