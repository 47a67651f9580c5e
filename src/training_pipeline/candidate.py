"""The trained model that asks to be published: what it is, and what it says about eval and holdout."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.errors import BundleError, DataError
from src.core.files import read_json, sha256
from src.core.plain_pickle import load_plain
from src.core.scale import forward, in_unit
from src.core.sections import JUDGED
from src.core.workspace import SPLITS
from src.feature_pipeline.feature_engineering import Matrix, read_matrix
from src.inference_pipeline.models import Model, load_model, model_file
from src.training_pipeline import baselines, intervals
from src.training_pipeline.charts import Curve
from src.training_pipeline.folds import row_parts
from src.training_pipeline.scorecard import Bounds, Estimates

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
# Of eval, to cross-fit its intervals where the split is random; by time, months are the parts.
CROSS_FITTED_PARTS = 10
CURVE_LEVELS = tuple(round(0.1 * step, 1) for step in range(1, 10))


@dataclass(frozen=True)
class Candidate:
    """A trained model with the rows it was fitted on and those that judge it.

    `answers`: split -> what the model says on its scale, (n,), or probabilities of classes, (n, k).
    `intervals`: level -> (lo, hi) on that scale; none for classes.
    """

    config: DatasetConfig
    model: Model
    training: dict[str, Any]
    tables: Any
    fingerprint: str
    matrices: dict[str, Matrix]
    answers: dict[str, Array]
    intervals: dict[float, intervals.Interval]
    raw_dir: Path

    def estimates(self, split: str) -> Array:
        """Return the estimates of one split in the target's unit, (n,), or probabilities of classes, (n, k)."""
        return in_unit(self.answers[split], self.config)

    def raw(self, split: str) -> pl.DataFrame:
        """Read one split as it was loaded, before cleaning."""
        return pl.read_parquet(self.raw_dir / f"{split}.parquet")

    def scan(self, split: str) -> pl.LazyFrame:
        """Return one split as it was loaded, read when it is collected."""
        return pl.scan_parquet(self.raw_dir / f"{split}.parquet", glob=False)


def load(config: DatasetConfig, model_dir: Path, features_dir: Path, raw_dir: Path) -> Candidate:
    """Read what training left and calibrate its intervals on eval; its config is of the family that was trained.

    Raises:
        DataError: a file is missing or of another config, a split is empty, or a target cannot be judged.
    """
    for path in (model_dir / "train.json", *(raw_dir / f"{s}.parquet" for s in SPLITS)):
        if not path.is_file():
            raise DataError(f"{path} does not exist: run the stage that makes it (load, then train) first")
    training = read_json(model_dir / "train.json")
    config = config.variant(training.get("variant"))
    model = _model(config, model_dir, training)
    _check_training(training, features_dir, config)
    matrices = {split: read_matrix(features_dir / f"{split}.parquet", config) for split in SPLITS}
    for split, matrix in matrices.items():
        _check_target(split, matrix.y, config)
    answers = {split: model(matrix.X) for split, matrix in matrices.items()}
    z = forward(config.target.transform, matrices["eval"].y)
    record = raw_dir / "load.json"
    return Candidate(
        config=config,
        model=model,
        training=training,
        tables=load_plain(features_dir / "encoders.pkl"),
        fingerprint=read_json(record)["sha256"] if record.is_file() else sha256(raw_dir / "train.parquet"),
        matrices=matrices,
        answers=answers,
        intervals=intervals.calibrate(z, answers["eval"], config.levels) if config.levels else {},
        raw_dir=raw_dir,
    )


def judged(candidate: Candidate) -> list[Estimates]:
    """Return what the model and its baselines say about eval and holdout.

    Eval's intervals are cross-fitted, since eval itself calibrates the model's own; a level without enough
    rows is left out.
    """
    config, matrices = candidate.config, candidate.matrices
    train = matrices["train"]
    if config.task == "classification":
        return _classified(candidate)
    linear = baselines.Linear.stronger(train.X, train.y, config.target.transform)
    history = _history(candidate)
    found = []
    for split in JUDGED:
        matrix = matrices[split]
        beside = {"median": baselines.median_of(train.y, len(matrix.y)), "linear": linear.predict(matrix.X)}
        last = baselines.last_known(matrix.meta, history, config) if history is not None else None
        if last is not None:
            beside["last_known"] = last
        local = baselines.place_median(matrix.meta, train.meta, config)
        if local is not None:
            beside["place_median"] = local
        bounds = _bounds(candidate, split, config.levels)
        found.append(Estimates(split, matrix.y, candidate.estimates(split), matrix.meta, beside, bounds))
    return found


def _classified(candidate: Candidate) -> list[Estimates]:
    train, rows = candidate.matrices["train"], {split: candidate.matrices[split] for split in JUDGED}
    beside = baselines.of_classes(train.X, train.y, [m.X for m in rows.values()], len(candidate.config.target.classes))
    return [
        Estimates(split, matrix.y, candidate.estimates(split), matrix.meta, one)
        for (split, matrix), one in zip(rows.items(), beside, strict=True)
    ]


def curves(candidate: Candidate) -> list[Curve]:
    """Return observed coverage at every tenth and at the config's levels, eval cross-fitted."""
    if not candidate.config.levels:
        return []
    levels = sorted({*CURVE_LEVELS, *candidate.config.levels})
    found = []
    for split in JUDGED:
        y = candidate.matrices[split].y
        bounds = _bounds(candidate, split, levels)
        observed = [float(np.mean((low <= y) & (y <= high))) for low, high in bounds.values()]
        note = "(cross-fitted)" if split == "eval" else ""
        found.append(Curve(split, np.array(list(bounds)), np.array(observed), note))
    return found


def _model(config: DatasetConfig, folder: Path, training: dict[str, Any]) -> Model:
    try:
        path = model_file(folder)
        # Before it is parsed: a damaged file can crash or hang XGBoost's parser.
        if training.get("model_sha256") not in (None, sha256(path)):
            raise DataError(f"{path} is not the model that train.json beside it describes: train again")
        return load_model(folder, config, training["model"])
    except BundleError as error:
        raise DataError(str(error)) from error


def _bounds(candidate: Candidate, split: str, levels: Sequence[float]) -> Bounds:
    config = candidate.config
    z_pred, n = candidate.answers[split], len(candidate.answers["eval"])
    truth = forward(config.target.transform, candidate.matrices["eval"].y)
    offsets: Mapping[float, tuple[float | Array, float | Array]]
    if split == "eval":
        parts = row_parts(candidate.matrices["eval"], config, CROSS_FITTED_PARTS)
        offsets = intervals.cross_fitted(truth, z_pred, parts, levels) or {}
    else:
        kept = [level for level in levels if intervals.enough_rows(n, level)]
        offsets = intervals.calibrate(truth, candidate.answers["eval"], kept)
    return {v: (in_unit(z_pred + lo, config), in_unit(z_pred + hi, config)) for v, (lo, hi) in offsets.items()}


def _history(candidate: Candidate) -> pl.DataFrame | None:
    config = candidate.config
    if config.place is None or config.date is None:
        return None
    columns = [config.place, config.date, config.target.column]
    return pl.concat([pl.scan_parquet(candidate.raw_dir / f"{s}.parquet").select(columns) for s in SPLITS]).collect()


def _check_training(training: dict[str, Any], features_dir: Path, config: DatasetConfig) -> None:
    features = features_dir / "train.parquet"
    if training.get("features_sha256") and features.is_file() and training["features_sha256"] != sha256(features):
        raise DataError(f"the model was trained on other features than those in {features_dir}: train again")
    if training.get("config_sha256") not in (None, config.digest):
        logger.warning("the config has changed since training: train again unless only the gate or the report changed")


def _check_target(split: str, y: Array, config: DatasetConfig) -> None:
    if len(y) == 0:
        raise DataError(f"{split} has no rows: check split, and the rules under rows")
    bad = ~np.isfinite(y) | ((y <= 0) if config.target.transform == "log" else False)
    if bad.any():
        rule = "above 0" if config.target.transform == "log" else "a number"
        rule = rule if config.task == "regression" else "one of target.classes"
        raise DataError(
            f"{split}: {config.target.column} must be {rule} in every row, and is not in {int(bad.sum()):,}"
        )
