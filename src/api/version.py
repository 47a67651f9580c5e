"""One version in memory, and the folder that versions are fetched to."""

import json
import logging
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from src.api.contract import Row, RowContract, examples
from src.core.config import DatasetConfig, Settings
from src.core.errors import BundleError
from src.core.manifest import RECENT, Manifest, parse_manifest
from src.core.store import Store
from src.inference_pipeline.predictor import Predictor
from src.inference_pipeline.recent import RecentRows

logger = logging.getLogger(__name__)

# What a process that was killed left of a download.
STALE_SECONDS = 3600.0


@dataclass(frozen=True, eq=False)
class Served:
    """One version in memory, which needs nothing of the folder that it was loaded from; immutable."""

    predictor: Predictor
    contract: RowContract
    manifest: Manifest
    folder: Path
    loaded_at: datetime
    examples: list[Row]  # rows that the contract takes: the golden ones
    metrics: dict[str, Any]
    recent: RecentRows | None  # none of a data set without places, or of an old version

    @property
    def config(self) -> DatasetConfig:
        return self.predictor.config

    @property
    def dataset(self) -> str:
        return self.predictor.config.name

    @property
    def version(self) -> str:
        return self.predictor.version

    @property
    def example(self) -> Row:
        """A row that the contract takes."""
        return self.examples[0]

    @cached_property
    def row_schema(self) -> dict[str, Any]:
        """The JSON schema of a row."""
        return self.contract.schema()

    @cached_property
    def produced(self) -> pl.Schema:
        """The columns of an answer as a frame, with their types."""
        return self.predictor.predict([]).frame(self.config.target.column).schema

    @cached_property
    def about(self) -> dict[str, str]:
        """What every answer says of the model that gave it."""
        target = self.config.target
        return {
            "dataset": self.dataset,
            "version": self.version,
            "target": target.column,
            "unit": target.unit,
            "created": self.manifest.created.isoformat(),
        }


def load(folder: Path, dataset: str, settings: Settings) -> Served:
    """Load a version that was fetched (BundleError when it is not whole, or not this data set's)."""
    predictor = Predictor.load(folder, settings.bundle_public_key)
    config = predictor.config
    if config.name != dataset:
        raise BundleError(
            f"{folder} was made for {config.name} and not for {dataset}", brief="the version is another data set's"
        )
    recent = folder / RECENT
    golden, metrics = (json.loads((folder / name).read_text("utf-8")) for name in ("golden.json", "metrics.json"))
    return Served(
        predictor,
        RowContract(config, settings.max_rows),
        parse_manifest((folder / "manifest.json").read_bytes(), str(folder)),
        folder,
        datetime.now(UTC),
        examples(golden["rows"], config),
        metrics,
        RecentRows(recent.read_bytes(), config) if recent.is_file() else None,
    )


class Cache:
    """The folder that versions are fetched to; without one it makes its own and removes it in the end."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / "bundles" if folder else None
        self._own: Path | None = None
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = self._own = Path(tempfile.mkdtemp(prefix="housecast-bundles-"))
            return self._folder

    def fetch(self, store: Store, dataset: str, version: str) -> Path:
        """Fetch a version; a copy that is there already is kept if it is whole, else fetched again."""
        into = self.folder / dataset / version
        was_there = into.exists()
        try:
            return store.fetch(dataset, version, into)
        except BundleError as error:
            if not was_there:
                raise
            logger.warning("the copy in the cache is not the version's, it is fetched again: %s", error)
            shutil.rmtree(into)
            return store.fetch(dataset, version, into)

    def prune(self, dataset: str, kept: set[str]) -> None:
        """Remove a data set's other versions, and what killed downloads left."""
        with suppress(OSError):
            for path in (self.folder / dataset).iterdir():
                left = path.name.startswith(".") and time.time() - path.stat().st_mtime > STALE_SECONDS
                if left or not (path.name.startswith(".") or path.name in kept):
                    shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder if it is its own."""
        if self._own:
            shutil.rmtree(self._own, ignore_errors=True)
