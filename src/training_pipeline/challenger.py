"""Train a data set's recipe anew on newer rows: the stages of the pipeline, in folders that nothing else uses."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.core.files import write_json
from src.core.sections import TimeSplit
from src.core.store import Store
from src.core.workspace import Workspace
from src.feature_pipeline import feature_engineering, load, preprocess, validate
from src.feature_pipeline.splits import split
from src.training_pipeline import eval as evaluation
from src.training_pipeline import train, tune

logger = logging.getLogger(__name__)

ROW_COUNT = "expect_table_row_count_to_be_between"


def forwarded(config: DatasetConfig, newest: date) -> DatasetConfig:
    """Move a config's time split forward to the newest date of the data; all else stays.

    The holdout is the `retraining.judged_months` newest months, and eval the `eval_months` before them: the YAML's own
    eval is years long, and a challenger that must not learn from them would be as old as its champion.

    Raises:
        ConfigError: see `require_months`.
    """
    rule, before = config.retraining, require_months(config)
    last = newest.year * 12 + newest.month - 1
    holdout = last - rule.judged_months + 1
    start = {"holdout_from": _month(holdout), "eval_from": _month(holdout - rule.eval_months)}
    return config.model_copy(update={"split": before.model_copy(update=start)})


def require_months(config: DatasetConfig) -> TimeSplit:
    """Return the split of a data set of prices that is cut by time (ConfigError for others: no months are unseen)."""
    if not isinstance(config.split, TimeSplit) or config.task != "regression":
        raise ConfigError(
            f"{config.name}: models are compared on months that neither has seen, which needs prices and `split.by:"
            f" time`; `python -m src.pipeline --dataset {config.name}` trains it anew and compares on its eval rows"
        )
    return config.split


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def tuned_of(training: Mapping[str, Any], config: DatasetConfig) -> dict[str, Any]:
    """Return what a version's search chose, of those parameters that the config still searches.

    Args:
        training: the `training` section of the version's `metrics.json`.
        config: the recipe that is trained now.
    """
    params = training.get("params")
    name = config.model.variant or config.model.family
    if not isinstance(params, dict) or name != (training.get("variant") or training.get("family")):
        return {}
    return {key: value for key, value in params.items() if key in config.tuning.space}


def make(
    config: DatasetConfig,
    settings: Settings,
    frame: pl.DataFrame,
    loaded: load.Loaded,
    space: Workspace,
    reports: Path,
    store: Store,
    tuned: Mapping[str, Any] | None,
) -> evaluation.Evaluation:
    """Take typed rows to a version in the store that nobody has promoted.

    Args:
        config: the recipe, with its split where it should be.
        settings: the deployment; of its workspace only MLflow's record is used.
        frame: the rows.
        loaded: where they are from.
        space: empty folders of its own.
        reports: folder of the reports on the rows and on the model.
        store: where the version goes.
        tuned: parameters that a search chose before; None: search.

    Raises:
        DataError: the rows do not do, for example since a split is empty.
        GateError: the bundle does not serve what was evaluated.
        StoreError: the store refused.
    """
    parts = split(frame, config)
    content = asdict(loaded) | {"splits": {name: part.height for name, part in parts.items()}}
    load.write_splits(space.raw, parts, record="load.json", content=content)
    # How many rows there must be is said of years of them, not of a few months.
    rules = tuple(one for one in config.expectations if one.rule != ROW_COUNT)
    validate.run(config.model_copy(update={"expectations": rules}), space.raw, reports / "quality")
    preprocess.run(config, space.raw, space.processed)
    feature_engineering.run(config, space.processed, space.features)
    if tuned is None and config.tuning.space:
        tune.run(config, settings, space.features, space.model)
    elif tuned:
        name = config.model.variant or config.model.family
        write_json(space.model / "params.json", {"params": dict(tuned), "model": name, "trials": "the champion's"})
    train.run(config, settings, space.features, space.model)
    places = evaluation.Places(space.model, space.features, space.raw, reports / "evaluation")
    return evaluation.run(config, settings, places, store, publishing=True, promoting=False)


def newest_of(frame: pl.DataFrame, config: DatasetConfig) -> date:
    """Return the newest date of typed rows (DataError when there is none)."""
    found = frame[require_months(config).column].max()
    if not isinstance(found, date):
        raise DataError(f"no row has a {config.split.column}: nothing says which are the newest")
    return found
