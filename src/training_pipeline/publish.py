"""From a candidate to a version in the store: assemble the bundle, prove that it serves what was evaluated, publish."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from src.core import bundle, metrics
from src.core.cli import user_name
from src.core.config import PROJECT, DatasetConfig, Settings, parse_config
from src.core.errors import ConfigError, GateError, HousecastError, StoreError
from src.core.files import read_json, write_json
from src.core.manifest import RECENT
from src.core.plain_pickle import dump_plain
from src.core.store import Store
from src.core.workspace import SPLITS
from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.predictor import Predictor, answer
from src.inference_pipeline.recent import newest
from src.training_pipeline import intervals, model_card
from src.training_pipeline.candidate import Candidate
from src.training_pipeline.gate import Current, Verdict
from src.training_pipeline.scorecard import Scorecard

logger = logging.getLogger(__name__)

REFERENCE_ROWS = 5_000
GOLDEN_ROWS = 12
# Serving and training share their feature code, so only float32 rounding may differ.
SKEW = 1e-6


def training_section(candidate: Candidate, run_id: str | None) -> dict[str, Any]:
    """Say how the model came about, for the store's lineage: what loading and training recorded, and MLflow's run."""
    loaded = candidate.raw_dir / "load.json"
    # The model's numbers are in encoders.pkl, and the features are in the config.
    said = {name: value for name, value in candidate.training.items() if name not in ("model", "features")}
    if said.get("config_sha256") not in (None, candidate.config.digest):
        said["trained_config_sha256"] = said["config_sha256"]
    return {
        **said,
        "config_sha256": candidate.config.digest,
        "run_id": run_id or said.get("run_id"),
        "data": read_json(loaded) if loaded.is_file() else None,
    }


def assemble(
    candidate: Candidate, cards: Mapping[str, Scorecard], scores: dict[str, Any], folder: Path, settings: Settings
) -> str:
    """Write a sealed bundle into an empty folder and return its version."""
    config, created = candidate.config, datetime.now(UTC)
    version = bundle.new_version(created, candidate.fingerprint, config.digest)
    commit = bundle.git_commit(PROJECT)
    candidate.model.save(folder / candidate.model.file)
    fitted = {"tables": candidate.tables, "intervals": intervals.as_plain(candidate.intervals)}
    dump_plain({**fitted, **candidate.model.plain()}, folder / "encoders.pkl")
    (folder / "config.yaml").write_text(as_yaml(config), encoding="utf-8")
    _reference(candidate).write_parquet(folder / "reference.parquet")
    # Most are of the holdout, and that is no leak: no model learns from the bundle, and the targets stay behind.
    recent = newest([candidate.scan(split) for split in SPLITS], config)
    if recent is not None:
        recent.write_parquet(folder / RECENT)
    write_json(folder / "golden.json", golden(candidate))
    write_json(folder / "metrics.json", scores)
    card = model_card.text(candidate, cards, version, created, commit)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    bundle.seal(
        folder,
        dataset=config.name,
        version=version,
        created=created,
        git_commit=commit,
        data_fingerprint=candidate.fingerprint,
        private_key=settings.bundle_private_key,
    )
    return version


def as_yaml(config: DatasetConfig) -> str:
    """Write a config as YAML that reads back to the same config (ConfigError when it would not)."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    if parse_config(text, "the bundle's config.yaml").digest != config.digest:
        raise ConfigError(f"the config of {config.name} does not survive being written as YAML; look for odd values")
    return text


def golden(candidate: Candidate) -> dict[str, Any]:
    """Choose a few different raw rows of eval, and the estimates that they must give.

    They are spread over the estimates (of classes over the first one's probability), and the row with the most missing
    values is among them. Of trees, `margins` is what XGBoost says of the rows to the last bit.
    """
    raw = candidate.raw("eval").select(candidate.config.raw_inputs)
    estimate = candidate.estimates("eval")
    spread = np.linspace(0, len(estimate) - 1, min(GOLDEN_ROWS, len(estimate))).round().astype(int)
    chosen = dict.fromkeys(np.argsort(estimate.reshape(len(estimate), -1)[:, 0], kind="stable")[spread].tolist())
    missing = raw.select(pl.sum_horizontal(pl.all().is_null())).to_series()
    chosen[int(missing.arg_max() or 0)] = None
    rows = raw[list(chosen)].with_columns(pl.selectors.float().fill_nan(None), pl.selectors.temporal().cast(pl.String))
    made = {"rows": rows.to_dicts(), "predictions": estimate[list(chosen)].tolist()}
    if isinstance(candidate.model, BoostedTrees):
        made["margins"] = candidate.model.by_xgboost(candidate.matrices["eval"].X[list(chosen)]).tolist()
    return made


def _reference(candidate: Candidate) -> pl.DataFrame:
    config, train = candidate.config, candidate.matrices["train"]
    kept = np.arange(len(train.y))
    if len(kept) > REFERENCE_ROWS:
        kept = np.sort(np.random.default_rng(config.model.seed).choice(len(kept), REFERENCE_ROWS, replace=False))
    features = pl.DataFrame(train.X[kept], schema=list(config.feature_names)).with_columns(pl.all().fill_nan(None))
    said = answer(config, candidate.estimates("train")[kept], [""] * len(kept)).frame(config.target.column)
    return pl.concat([train.meta[kept], features, said.drop("flags")], how="horizontal")


def check_serving(candidate: Candidate, folder: Path, settings: Settings) -> Predictor:
    """Load the bundle as a server would and hold its answers on raw eval rows against those that were evaluated.

    Raises:
        BundleError: it does not load, or misses a golden answer.
        GateError: training and serving disagree; says by how much and in which row.
    """
    predictor = Predictor.load(folder, settings.bundle_public_key)
    wanted = candidate.estimates("eval")
    served = predictor.predict(candidate.raw("eval"), threads=settings.threads or 1).estimate
    if served.shape != wanted.shape:
        raise GateError(f"serving gave {len(served):,} answers for {len(wanted):,} eval rows: a filter runs in serving")
    # Of prices the relative gap, of probabilities (and beside an estimate of 0) the plain one.
    gap = np.abs(served - wanted)
    gap = gap.max(axis=1) if wanted.ndim == 2 else np.divide(gap, np.abs(wanted), out=gap, where=wanted != 0)
    if not np.all(gap <= SKEW):
        row = int(np.nanargmax(gap))
        said, asked = (np.array2string(values[row], precision=4) for values in (served, wanted))
        raise GateError(
            f"training and serving disagree on {int(np.sum(~(gap <= SKEW))):,} of {len(gap):,} eval rows, at worst in"
            f" row {row}: {said} served, {asked} evaluated. Make features again, then train"
        )
    return predictor


def compare_current(candidate: Candidate, store: Store, settings: Settings) -> tuple[Current | None, str, str | None]:
    """Let the store's current model price the eval rows.

    Returns:
        Its error beside the candidate's, or None with the reason; and the version that is current.

    Raises:
        StoreError: the store has the current model and does not give it.
    """
    config = candidate.config
    pointer = store.current(config.name)
    if pointer is None:
        return None, "the store has no current model to compare with", None
    try:
        with tempfile.TemporaryDirectory() as folder:
            fetched = store.fetch(config.name, pointer.version, Path(folder) / pointer.version)
            predictor = Predictor.load(fetched, settings.bundle_public_key)
        said = predictor.predict(candidate.raw("eval"), threads=settings.threads or 1).estimate
        y = candidate.matrices["eval"].y
        deciding = metrics.DECIDING[config.task]
        mine, theirs = (metrics.scores_of(config.task, y, one)[deciding] for one in (candidate.estimates("eval"), said))
    except HousecastError as error:
        if isinstance(error, StoreError) and pointer.version in store.versions(config.name):
            # The store fails for the moment: that must not let a model pass uncompared.
            raise
        reason = str(error).splitlines()[0]
        logger.warning("the current model %s cannot price these rows: %s", pointer.version, reason)
        return (
            None,
            f"the current {pointer.version} cannot price these rows, so it is not compared: {reason}",
            (pointer.version),
        )
    return Current(pointer.version, theirs, mine), "", pointer.version


def promote(store: Store, config: DatasetConfig, version: str, verdict: Verdict, expected: str | None) -> bool:
    """Make a published version current if the gate passed; tells whether it is.

    Raises:
        StoreError: somebody promoted another version since `expected` was compared.
    """
    if verdict.passed:
        why = f"gate passed: {len(verdict.lines)} lines"
        store.promote(config.name, version, by=user_name(), why=why, expected=expected)
    return verdict.passed


def gate_tags(failed: Sequence[str]) -> dict[str, str]:
    """Return the tags by which MLflow tells the models that the gate stopped from the others."""
    # Written when nothing failed as well: a run that is judged again must not keep its old verdict.
    return {"gate": "failed" if failed else "passed", "gate_failed": "; ".join(failed) or "nothing"}
