"""What serves now: the current version of each data set, followed in the store and swapped when it changes.

A version is fetched beside the one that serves, verified, loaded, made to reproduce its golden answers, and put in its
place in one assignment. One that fails stays out and is reported; a store that is down changes nothing for callers.
"""

import errno
import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from src.api.contract import Row, RowContract, example
from src.api.problems import Problem
from src.core.config import DatasetConfig, Settings
from src.core.errors import BundleError, ConfigError, HousecastError, StoreError
from src.core.manifest import Manifest, parse_manifest
from src.core.store import Store
from src.inference_pipeline.predictor import Predictor

logger = logging.getLogger(__name__)

# A version that failed is tried again after this long, then twice as long, up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0


@dataclass(frozen=True)
class Served:
    """One version in memory, with the folder it was loaded from; immutable."""

    predictor: Predictor
    contract: RowContract
    manifest: Manifest
    folder: Path
    loaded_at: datetime

    @property
    def config(self) -> DatasetConfig:
        return self.predictor.config

    @property
    def dataset(self) -> str:
        return self.predictor.config.name

    @property
    def version(self) -> str:
        return self.predictor.version

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

    @cached_property
    def produced(self) -> pl.Schema:
        """The columns of an answer as a frame, with their types."""
        return self.predictor.predict([]).frame(self.config.target.column).schema

    @cached_property
    def example(self) -> Row:
        """A row that the contract takes, from the golden ones."""
        golden = json.loads((self.folder / "golden.json").read_text(encoding="utf-8"))
        return example(golden["rows"], self.config)


@dataclass
class Sync:
    """How following one data set went: the last look, its outcome in words that hold no path, and when to try again."""

    at: datetime
    outcome: str = "ok"
    detail: str = ""
    version: str | None = None
    failures: int = field(default=0, repr=False)
    next_try: float = field(default=0.0, repr=False)


class Models:
    """The versions that serve, by data set; a thread follows the store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self._served: Mapping[str, Served] = {}
        self.syncs: dict[str, Sync] = {}
        self.store_sync = Sync(datetime.now(UTC), "not yet", "no look at the store has ended yet")
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._own_cache: Path | None = None

    @property
    def served(self) -> Mapping[str, Served]:
        """Data set -> what serves it."""
        return self._served

    def get(self, dataset: str) -> Served:
        """Return what serves a data set (Problem 404 or 503 when nothing does)."""
        found = self._served.get(dataset)
        if found is None:
            raise self._absent(dataset)
        return found

    def _absent(self, dataset: str) -> Problem:
        if dataset != self.settings.default_dataset and dataset not in self.syncs:
            known = ", ".join(sorted(self._served)) or "none yet"
            return Problem(404, "no-dataset", f"No data set {dataset[:64]!r} is served. Served: {known}.")
        return Problem(
            503, "no-model", f"No model of {dataset} serves yet: {self.reason(dataset)}.", headers={"Retry-After": "5"}
        )

    def reason(self, dataset: str) -> str:
        """Say why a data set is not served, in words without a path."""
        sync = self.syncs.get(dataset) or self.store_sync
        if sync.outcome == "ok":
            return "the store has no current version of it"
        return sync.detail

    def start(self) -> None:
        """Follow the store from now on, in a thread."""
        self._thread = threading.Thread(target=self._follow, name="model sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; a download that hangs in the network is left to end with the process."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=2)
        if self._own_cache:
            shutil.rmtree(self._own_cache, ignore_errors=True)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:  # the thread must outlive whatever a store can do
                logger.exception("looking at the store failed")
                self.store_sync = Sync(datetime.now(UTC), "failed", "looking at the store failed")
            self._stop.wait(self.settings.sync_seconds)

    def look(self, *, again: bool = False) -> None:
        """Look at the pointer of every data set and load what changed; `again`: what failed as well, at once."""
        with self._looking:
            try:
                names = self.store.datasets()
            except HousecastError as error:
                logger.warning("the store cannot be read: %s", error)
                self.store_sync = Sync(datetime.now(UTC), "failed", in_words(error))
                return
            self.store_sync = Sync(datetime.now(UTC))
            first = self.settings.default_dataset
            for name in sorted(names, key=lambda one: (one != first, one)):
                if self._stop.is_set():
                    return
                self._follow_one(name, again=again)

    def _follow_one(self, dataset: str, *, again: bool) -> None:
        last = self.syncs.get(dataset)
        wanted = None
        try:
            pointer = self.store.current(dataset)
            wanted = pointer.version if pointer else None
            waiting = last is not None and last.version == wanted and time.monotonic() < last.next_try and not again
            if waiting:
                return
            now = self._served.get(dataset)
            if wanted and (now is None or now.version != wanted):
                self._swap(dataset, wanted)
            self.syncs[dataset] = Sync(datetime.now(UTC), version=wanted)
        except (HousecastError, OSError) as error:
            logger.warning("%s %s stays out: %s", dataset, wanted or "", error)
            failures = last.failures + 1 if last and last.version == wanted else 1
            pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE) if wanted else 0.0
            self.syncs[dataset] = Sync(
                datetime.now(UTC), "failed", in_words(error), wanted, failures, time.monotonic() + pause
            )

    def _swap(self, dataset: str, version: str) -> None:
        started = time.perf_counter()
        folder = self.store.fetch(dataset, version, self._cache / dataset / version)
        try:
            made = self._load(folder, dataset)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        before = self._served.get(dataset)
        self._served = {**self._served, dataset: made}
        logger.info("%s: %s serves, loaded in %.1f s", dataset, version, time.perf_counter() - started)
        self._prune(dataset, {version, before.version if before else version})

    def _load(self, folder: Path, dataset: str) -> Served:
        predictor = Predictor.load(folder, self.settings.bundle_public_key)
        if predictor.config.name != dataset:
            raise BundleError(f"{folder} was made for {predictor.config.name} and not for {dataset}")
        contract = RowContract(predictor.config, self.settings.max_rows)
        manifest = parse_manifest((folder / "manifest.json").read_bytes(), str(folder))
        return Served(predictor, contract, manifest, folder, datetime.now(UTC))

    def _prune(self, dataset: str, kept: set[str]) -> None:
        # The version before stays: requests may still be working with its folder.
        for path in (self._cache / dataset).iterdir():
            if path.name not in kept and not path.name.startswith("."):
                with suppress(OSError):
                    shutil.rmtree(path)

    @property
    def _cache(self) -> Path:
        if self.settings.cache:
            return self.settings.cache / "bundles"
        if self._own_cache is None:
            self._own_cache = Path(tempfile.mkdtemp(prefix="housecast-bundles-"))
        return self._own_cache

    def summary(self) -> dict[str, Any]:
        """Return what `/health` says of each data set."""
        return {name: self._summary(name) for name in sorted({*self._served, *self.syncs})}

    def _summary(self, dataset: str) -> dict[str, Any]:
        served, sync = self._served.get(dataset), self.syncs.get(dataset)
        return {
            "version": served.version if served else None,
            "loaded_at": served.loaded_at if served else None,
            "evaluator": served.predictor.evaluator if served else None,
            "last_sync": {
                "at": sync.at,
                "outcome": sync.outcome,
                "version": sync.version,
                "detail": sync.detail or None,
            }
            if sync
            else None,
        }


def in_words(error: Exception) -> str:
    """Say what kind of thing went wrong without the error's own text, which may hold paths."""
    cause = error.__cause__ if isinstance(error, HousecastError) else error
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    if isinstance(error, BundleError):
        return "the version is damaged, not signed as asked, or made for other software"
    if isinstance(error, StoreError):
        return "the store does not answer or is damaged"
    if isinstance(error, ConfigError):
        return "its configuration is wrong"
    return "it could not be loaded"
