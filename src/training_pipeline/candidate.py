"""The trained model that asks to be published: what it is, and what it says about eval and holdout."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xgboost
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.core.files import read_json, sha256
from src.core.plain_pickle import load_plain
from src.core.scale import forward, inverse
from src.core.sections import JUDGED
from src.core.workspace import SPLITS
from src.feature_pipeline.feature_engineering import Matrix, read_matrix
from src.inference_pipeline.trend import Trend
from src.training_pipeline import baselines, intervals
from src.training_pipeline.charts import Curve
from src.training_pipeline.scorecard import Bounds, Estimates

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
CURVE_LEVELS = tuple(round(0.1 * step, 1) for step in range(1, 10))


@dataclass(frozen=True)
class Candidate:
    """A trained model with the rows it was fitted on and those that judge it.

    `trend` is the linear part under the trees. `margins`: split -> their sum on the model's scale, (n,).
    `intervals`: level -> (lo, hi) on that scale.
    """

    config: DatasetConfig
    booster: xgboost.Booster
    trend: Trend
    training: dict[str, Any]
    tables: Any
    fingerprint: str
    matrices: dict[str, Matrix]
    margins: dict[str, Array]
    intervals: dict[float, intervals.Interval]
    raw_dir: Path

    def estimates(self, split: str) -> Array:
        """Return the estimates of one split in the target's unit, (n,)."""
        return inverse(self.config.target.transform, self.margins[split])

    def raw(self, split: str) -> pl.DataFrame:
        """Read one split as it was loaded, before cleaning."""
        return pl.read_parquet(self.raw_dir / f"{split}.parquet")


def load(config: DatasetConfig, model_dir: Path, features_dir: Path, raw_dir: Path) -> Candidate:
    """Read what training left and calibrate its intervals on eval.

    Raises:
        DataError: a file is missing or of another config, a split is empty, or a target cannot be judged.
    """
    for path in (model_dir / "model.ubj", model_dir / "train.json", *(raw_dir / f"{s}.parquet" for s in SPLITS)):
        if not path.is_file():
            raise DataError(f"{path} does not exist: run the stage that makes it (load, then train) first")
    training = read_json(model_dir / "train.json")
    # Before it is parsed: a damaged file can crash or hang XGBoost's parser.
    if training.get("model_sha256") not in (None, sha256(model_dir / "model.ubj")):
        raise DataError(f"{model_dir / 'model.ubj'} is not the model that train.json beside it describes: train again")
    booster = xgboost.Booster(model_file=model_dir / "model.ubj")
    if booster.feature_names is not None and tuple(booster.feature_names) != config.feature_names:
        raise DataError(f"{model_dir / 'model.ubj'} was trained on other features than the config's: train again")
    _check_training(training, features_dir, config)
    matrices = {split: read_matrix(features_dir / f"{split}.parquet", config) for split in SPLITS}
    for split, matrix in matrices.items():
        _check_target(split, matrix.y, config)
    trend = Trend.of_plain(training["trend"]) if training.get("trend") else Trend.none()
    margins = {split: _margin(booster, trend, matrix) for split, matrix in matrices.items()}
    z = forward(config.target.transform, matrices["eval"].y)
    record = raw_dir / "load.json"
    return Candidate(
        config=config,
        booster=booster,
        trend=trend,
        training=training,
        tables=load_plain(features_dir / "encoders.pkl"),
        fingerprint=read_json(record)["sha256"] if record.is_file() else sha256(raw_dir / "train.parquet"),
        matrices=matrices,
        margins=margins,
        intervals=intervals.calibrate(z, margins["eval"], config.intervals),
        raw_dir=raw_dir,
    )


def judged(candidate: Candidate) -> list[Estimates]:
    """Return what the model and its baselines say about eval and holdout.

    Eval's intervals are cross-fitted by month, since eval itself calibrates the model's own; a level without enough
    rows is left out.
    """
    config, matrices = candidate.config, candidate.matrices
    train = matrices["train"]
    linear = baselines.Linear.stronger(train.X, train.y, config.target.transform)
    history = _history(candidate)
    found = []
    for split in JUDGED:
        matrix = matrices[split]
        beside = {"median": baselines.median_of(train.y, len(matrix.y)), "linear": linear.predict(matrix.X)}
        last = baselines.last_known(matrix.meta, history, config) if history is not None else None
        if last is not None:
            beside["last_known"] = last
        bounds = _bounds(candidate, split, config.intervals)
        found.append(Estimates(split, matrix.y, candidate.estimates(split), matrix.meta, beside, bounds))
    return found


def curves(candidate: Candidate) -> list[Curve]:
    """Return observed coverage at every tenth and at the config's levels, eval cross-fitted by month."""
    levels = sorted({*CURVE_LEVELS, *candidate.config.intervals})
    found = []
    for split in JUDGED:
        y = candidate.matrices[split].y
        bounds = _bounds(candidate, split, levels)
        observed = [float(np.mean((low <= y) & (y <= high))) for low, high in bounds.values()]
        note = "(cross-fitted)" if split == "eval" else ""
        found.append(Curve(split, np.array(list(bounds)), np.array(observed), note))
    return found


def _margin(booster: xgboost.Booster, trend: Trend, matrix: Matrix) -> Array:
    trees = np.asarray(booster.inplace_predict(matrix.X, predict_type="margin"), dtype=np.float64)
    return trees + trend(matrix.X)


def _bounds(candidate: Candidate, split: str, levels: Sequence[float]) -> Bounds:
    config = candidate.config
    transform, z_pred = config.target.transform, candidate.margins[split]
    n = len(candidate.margins["eval"])
    truth = forward(transform, candidate.matrices["eval"].y)
    if split == "eval":
        months = candidate.matrices["eval"].meta[config.split.column].dt.truncate("1mo").to_numpy()
        offsets = intervals.cross_fitted(truth, z_pred, months, levels) or {}
        return {
            v: (inverse(transform, z_pred + lo), inverse(transform, z_pred + hi)) for v, (lo, hi) in offsets.items()
        }
    kept = [level for level in levels if intervals.enough_rows(n, level)]
    found = intervals.calibrate(truth, candidate.margins["eval"], kept)
    return {level: intervals.bounds(transform, z_pred, ends) for level, ends in found.items()}


def _history(candidate: Candidate) -> pl.DataFrame | None:
    config = candidate.config
    if config.place is None:
        return None
    columns = [config.place, config.split.column, config.target.column]
    return pl.concat([pl.scan_parquet(candidate.raw_dir / f"{s}.parquet").select(columns) for s in SPLITS]).collect()


def _check_training(training: dict[str, Any], features_dir: Path, config: DatasetConfig) -> None:
    features = features_dir / "train.parquet"
    if training.get("features_sha256") and features.is_file() and training["features_sha256"] != sha256(features):
        raise DataError(f"the model was trained on other features than those in {features_dir}: train again")
    if training.get("config_sha256") not in (None, config.digest):
        logger.warning("the config has changed since training: train again unless only the gate or the report changed")


def _check_target(split: str, y: Array, config: DatasetConfig) -> None:
    if len(y) == 0:
        raise DataError(f"{split} has no rows: check the dates under split, and the rules under rows")
    bad = ~np.isfinite(y) | ((y <= 0) if config.target.transform == "log" else False)
    if bad.any():
        rule = "above 0" if config.target.transform == "log" else "a number"
        raise DataError(
            f"{split}: {config.target.column} must be {rule} in every row, and is not in {int(bad.sum()):,}"
        )
