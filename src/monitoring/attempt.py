"""One retraining under way: train the challenger, compare, promote."""

import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from src.core import lineage
from src.core.cli import user_name
from src.core.config import DatasetConfig, Settings
from src.core.errors import DataError
from src.core.files import read_json
from src.core.sections import TimeSplit
from src.core.store import Store
from src.core.workspace import Workspace
from src.feature_pipeline import load
from src.inference_pipeline.predictor import Array, Predictor
from src.monitoring import decisions, duel
from src.monitoring.decisions import Champion
from src.monitoring.duel import Duel
from src.training_pipeline import challenger, lifecycle, tracking
from src.training_pipeline.eval import Evaluation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Newest:
    """The newest data, and the recipe with its split moved forward to them."""

    recipe: DatasetConfig
    rows: pl.DataFrame
    loaded: load.Loaded
    month: str


@dataclass
class Attempt:
    """One retraining under way; `found` is what its row in the table is to say so far."""

    settings: Settings
    store: Store
    engine: sa.Engine
    data: Newest
    champion: Champion | None
    number: int
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> DatasetConfig:
        return self.data.recipe

    @property
    def reports(self) -> Path:
        """Where the challenger's quality and evaluation are shown: the only part of the workspace that changes."""
        return Workspace.of(self.recipe.name, self.settings).reports / "retraining"

    def decide(self, space: Workspace) -> tuple[str, str, Duel | None]:
        """Train and compare; returns outcome, reason and the comparison, if there is one."""
        judged = self._judged() if self.champion else None
        # Before the training, which a champion that cannot be compared with would make useless.
        theirs = self._estimates(self.champion.version, judged) if self.champion and judged is not None else None
        made = challenger.make(
            self.recipe, self.settings, self.data.rows, self.data.loaded, space, self.reports, self.store, self._tuned()
        )
        assert made.version is not None
        self.found["challenger"] = made.version
        fought = None
        if judged is not None and theirs is not None:
            fought = self._fought(judged, theirs, self._estimates(made.version, judged))
        won, reason = _verdict(made, fought, self.recipe.target.unit)
        self.found["reason"] = reason
        if won:
            self._promote(made.version, reason)
        self._tag(space, "promoted" if won else "refused", fought)
        return "promoted" if won else "refused", reason, fought

    def _judged(self) -> pl.DataFrame:
        """Return the newest rows, unseen by both, as they were loaded."""
        config, champion = self.recipe, self.champion
        assert champion is not None
        assert isinstance(config.split, TimeSplit)
        start = max(config.split.holdout_from, champion.unseen_from)
        rows = self.data.rows.filter(pl.col(config.split.column) >= start)
        places = rows[config.place].n_unique() if config.place else rows.height
        if places < duel.MIN_PLACES:
            raise DataError(
                f"{champion.version} was trained on data to {champion.trained_to}, and from {start} on there are"
                f" {rows.height:,} rows of {places:,} places; at least {duel.MIN_PLACES} places are needed to judge it:"
                " wait for newer data, or name them with --data"
            )
        return rows

    def _estimates(self, version: str, rows: pl.DataFrame) -> Array:
        with tempfile.TemporaryDirectory(prefix="housecast-", dir=self.settings.cache) as folder:
            fetched = self.store.fetch(self.recipe.name, version, Path(folder) / version)
            predictor = Predictor.load(fetched, self.settings.bundle_public_key)
        return predictor.predict(rows, threads=self.settings.threads or 1).estimate

    def _tuned(self) -> dict[str, Any] | None:
        if self.champion is None:
            return None
        known = lineage.metrics_of(self.store, self.recipe.name, self.champion.version).get("training")
        return challenger.tuned_of(known if isinstance(known, dict) else {}, self.recipe)

    def _fought(self, rows: pl.DataFrame, theirs: Array, ours: Array) -> Duel:
        config = self.recipe
        known = rows.select(
            month=pl.col(config.split.column or "").dt.strftime("%Y-%m"),
            place=pl.col(config.place) if config.place else pl.int_range(pl.len()),
            actual=pl.col(config.target.column),
        )
        fought = duel.judge(known, theirs, ours, config.retraining.confidence, config.model.seed)
        self.found |= {
            "champion_error": fought.champion,
            "challenger_error": fought.challenger,
            "difference": fought.difference,
            "lower": fought.lower,
            "upper": fought.upper,
        }
        return fought

    def _promote(self, version: str, reason: str) -> None:
        # Filed first: where that fails, nothing is promoted that no record explains.
        decisions.file(self.engine, self.number, self.found)
        expected = self.champion.version if self.champion else None
        self.store.promote(self.recipe.name, version, by=user_name(), why=f"retraining: {reason}", expected=expected)
        lifecycle.mirror(self.recipe, self.settings, self.store)

    def _tag(self, space: Workspace, outcome: str, fought: Duel | None) -> None:
        run_id = read_json(space.model / "train.json").get("run_id")
        with tracking.start(self.recipe, self.settings, "retrain", run_id=run_id) as record:
            champion = self.champion.version if self.champion else "none"
            record.set_tags({"role": "challenger", "champion": champion, "retraining": outcome})
            if fought:
                record.log_metrics({f"duel_{name}": self.found[name] for name in ("difference", "lower", "upper")})


def _verdict(made: Evaluation, fought: Duel | None, unit: str) -> tuple[bool, str]:
    parts = [fought.words(unit)] if fought else []
    failed = [line.text for line in made.verdict.failed]
    parts.append(f"the gate failed: {'; '.join(failed)}" if failed else "the gate passed")
    return (fought is None or fought.is_won) and not failed, "; ".join(parts)
