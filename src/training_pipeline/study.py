"""The stored search: its space, its name and the SQLite file from which a stopped search resumes."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from src.core import scale
from src.core.config import Choice, DatasetConfig, FloatRange, IntRange
from src.core.errors import ConfigError, DataError
from src.feature_pipeline.feature_engineering import Matrix
from src.training_pipeline.families import Params, family_of
from src.training_pipeline.folds import Fold

# Marks the trial of the config's own parameters.
DEFAULT = "default"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def distributions(config: DatasetConfig) -> dict[str, BaseDistribution]:
    """Turn `tuning.space` into Optuna's distributions (ConfigError names the parameter that makes none)."""
    if not config.tuning.space:
        raise ConfigError("tuning.space is empty: list the parameters to search, or train without tuning")
    made: dict[str, BaseDistribution] = {}
    for name, spec in config.tuning.space.items():
        try:
            made[name] = _distribution(spec)
        except ValueError as error:
            raise ConfigError(f"tuning.space.{name}: {error}") from error
    return made


def _distribution(spec: IntRange | FloatRange | Choice) -> BaseDistribution:
    if isinstance(spec, IntRange):
        return IntDistribution(*spec.int, log=spec.log)
    if isinstance(spec, FloatRange):
        return FloatDistribution(*spec.float, log=spec.log)
    return CategoricalDistribution(spec.choice)


def own_values(config: DatasetConfig, params: Params) -> dict[str, float | int | str]:
    """Return the config's own value of every searched parameter, the family's default where the config has none.

    Raises:
        ConfigError: a value lies outside the space, so the search could not include what it has to beat.
    """
    found: dict[str, float | int | str] = {}
    for name, value in family_of(config).effective_params(params, tuple(config.tuning.space), config).items():
        spec = config.tuning.space[name]
        if value is None:
            raise ConfigError(
                f"tuning.space.{name}: {config.model.family} has no such parameter, or no value of its own for it; "
                "correct it, set it in the parameters, or remove it"
            )
        allowed = spec.choice if isinstance(spec, Choice) else spec.int if isinstance(spec, IntRange) else spec.float
        inside = value in allowed if isinstance(spec, Choice) else _between(value, *allowed)
        if not inside:
            raise ConfigError(
                f"tuning.space.{name}: the model's own value {value!r} is not within {list(allowed)}; widen the "
                "space or set model.params, so that the search includes what it has to beat"
            )
        found[name] = int(value) if isinstance(spec, IntRange) else value
    return found


def _between(value: object, low: object, high: object) -> bool:
    return (
        isinstance(value, int | float)
        and isinstance(low, int | float)
        and isinstance(high, int | float)
        and (low <= value <= high)
    )


def study_name(config: DatasetConfig, data: Matrix, parts: np.ndarray, folds: list[Fold], base: Params) -> str:
    """Name the search after everything that its scores depend on, so that a changed search starts anew."""
    said = {
        "features": config.feature_names,
        "target": config.target.model_dump(),
        "least": scale.least_estimate(config),
        "trend": config.model.trend.model_dump() if config.model.trend else None,
        "space": {name: spec.model_dump() for name, spec in config.tuning.space.items()},
        "metric": config.tuning.metric,
        "folds": [(f.months.get("first_judged"), f.months.get("last")) for f in folds],
        "params": {name: value for name, value in base.items() if name != "nthread"},
        "rounds": [config.model.max_rounds, config.model.early_stopping.rounds],
        "model": config.model.variant or config.model.family,
        "made_with": family_of(config).VERSION,
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for part in (data.X, data.y, parts):
        digest.update(np.ascontiguousarray(part).data)
    return f"{config.name}-{digest.hexdigest()[:16]}"


def open_study(path: Path, name: str, seed: int) -> optuna.Study:
    """Open or create a study that minimises, with a seeded TPE sampler and a median pruner over folds.

    Raises:
        DataError: the file is not a study database that this version reads.
    """
    # Optuna's schema set-up configures the process's logging when it finds the root logger bare.
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
        study = optuna.create_study(study_name=name, storage=storage, direction="minimize", load_if_exists=True)
    except (SQLAlchemyError, RuntimeError) as error:
        raise DataError(f"{path} is not a readable study ({type(error).__name__}); remove it to search anew") from error
    finally:
        root.removeHandler(silent)
    # A resumed search must not repeat the draws that it has already judged.
    drawn = seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=6, multivariate=True, constant_liar=False)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count: judged on every fold, or pruned."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def default_trial(study: optuna.Study, *, waiting: bool = False) -> FrozenTrial | None:
    """Find the judged trial of the config's own parameters, or with `waiting` the one still to be judged."""
    state = TrialState.WAITING if waiting else TrialState.COMPLETE
    return next((t for t in study.trials if t.user_attrs.get(DEFAULT) and t.state == state), None)
