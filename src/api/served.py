"""What serves now: the current version of each data set, followed in the store and swapped when it changes.

A version is fetched beside the one that serves, verified, loaded, made to reproduce its golden answers, and put in its
place in one assignment. One that fails stays out and is reported; a store that is down changes nothing for callers.
"""

import asyncio
import ctypes
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from src.api.challengers import Challengers
from src.api.looks import Look, Looks
from src.api.problems import Problem
from src.api.sync import Failure, Sync, Tally, in_words, log_error, with_look
from src.api.version import Cache, Served, load
from src.core.config import Settings
from src.core.pointer import Pointer
from src.core.store import Store

__all__ = ["Models", "Served"]

logger = logging.getLogger(__name__)

# How often in one look a version is put aside because another one was promoted while it was loaded.
MOST_CHANGES = 3
# A load under way is waited for when the server stops: a thread in the middle of it must not meet Python's end.
STOP_SECONDS = 5.0


class Models:
    """The versions that serve, by data set; threads follow the store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self._cache = Cache(settings.cache)
        self._served: Mapping[str, Served] = {}
        self._syncs: dict[str, Sync] = {}
        self._tally: dict[str, Tally] = {}
        self._failures: dict[str, Failure] = {}
        self._store_sync = Sync.now("not yet", "no look at the store has ended yet")
        self._began = self._store_sync.at
        self._list = Looks("the store", self._look_at_list)
        self._looks: dict[str, Looks] = {}
        self._swapping = threading.Lock()
        self._loading = threading.Lock()
        self.challengers = Challengers(store, settings, self._cache, self._loading)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

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
        if dataset != self.settings.default_dataset and dataset not in self._looks:
            known = ", ".join(sorted(self._served)) or "none yet"
            return Problem(404, "no-dataset", f"No data set {dataset[:64]!r} is served. Served: {known}.")
        return Problem(
            503, "no-model", f"No model of {dataset} serves yet: {self.reason(dataset)}.", headers={"Retry-After": "5"}
        )

    def reason(self, dataset: str) -> str:
        """Say why a data set is not served, in words without a path."""
        sync = self.sync_of(dataset) or self.store_sync
        return "the store has no current version of it" if sync.outcome == "ok" else sync.detail

    @property
    def store_sync(self) -> Sync:
        """How listing the store's data sets goes."""
        return with_look(self._store_sync, self._list.now)

    def sync_of(self, dataset: str) -> Sync | None:
        """Return how following a data set goes, None for one that is not known."""
        looks = self._looks.get(dataset)
        if looks is None:
            return None
        last = self._syncs.get(dataset) or Sync.now("not yet", "no look at it has ended yet")
        return with_look(last, looks.now)

    def tally_of(self, dataset: str) -> Tally:
        """Return how many looks at a data set have failed, and when one was last in order."""
        return self._tally.get(dataset) or Tally(self._began)

    def start(self) -> None:
        """Follow the store from now on."""
        self._follow_also([self.settings.default_dataset])  # it need not wait for the list
        self._thread = threading.Thread(target=self._follow, name="model sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; a look that hangs in the network is left to end with the process."""
        self._stop.set()
        if self._loading.acquire(timeout=STOP_SECONDS):  # nothing is being loaded, and nothing will be
            self._cache.close()

    def _follow(self) -> None:
        while not self._stop.is_set():
            for looks in (self._list, *list(self._looks.values())):
                try:
                    looks.ask()
                except RuntimeError:  # the machine has no thread left; perhaps later
                    logger.exception("no look at the store could be begun")
            self._stop.wait(self.settings.sync_seconds)

    async def look(self, seconds: float) -> bool:
        """Look now, also for what failed and was to wait; tells whether all looks ended within so many seconds."""
        ended = await _ended([self._list.ask(again=True)], seconds / 2)
        asked = [looks.ask(again=True) for looks in list(self._looks.values())]
        return await _ended(asked, seconds / 2) and ended

    def _look_at_list(self, look: Look) -> None:
        look.doing = "listing the data sets"
        try:
            names = self.store.datasets()
        except Exception as error:  # noqa: BLE001  (whatever it was, it is said, and asked again)
            log_error(error, "the store cannot be read")
            if not look.given_up:
                self._store_sync = Sync.now("failed", in_words(error))
            return
        if not look.given_up:
            self._store_sync = Sync.now()
            self._follow_also(names)

    def _follow_also(self, names: Iterable[str]) -> None:
        with self._swapping:
            new = [name for name in names if name not in self._looks]
            self._looks |= {name: Looks(name, partial(self._look_at, name)) for name in new}
        for name in new:
            self._looks[name].ask()

    def _look_at(self, dataset: str, look: Look) -> None:
        if self._stop.is_set():
            return
        sync = self._followed(dataset, look)
        if not look.given_up:
            self._syncs[dataset] = sync
            self._tally[dataset] = self.tally_of(dataset).after(sync)
            look.doing = "looking for a challenger"
            self.challengers.look(dataset)

    def _followed(self, dataset: str, look: Look) -> Sync:
        """Bring what serves to what the store says, and return how that went."""
        look.doing = "asking which version is current"
        pointer: Pointer | None = None
        try:
            pointer = self.store.current(dataset)
            now, failure = self._served.get(dataset), self._failures.get(dataset)
            if pointer is None:
                lost = "the store does not say any more which version is current"
                return Sync.now("failed", lost) if now else Sync.now()
            if now is None or now.version != pointer.version:
                if failure and failure.waits(pointer) and not look.again:
                    return Sync.now("failed", failure.detail, pointer.version)
                pointer = self._swap(dataset, pointer, look)
            self._failures.pop(dataset, None)
            return Sync.now(version=pointer.version)
        except Exception as error:  # noqa: BLE001  (a version can be wrong in ways that nobody thought of)
            unknown = f"{dataset}: which version is current cannot be asked"
            log_error(error, f"{dataset}: {pointer.version} stays out" if pointer else unknown)
            if pointer:
                self._failures[dataset] = Failure.of(error, pointer, self._failures.get(dataset))
            return Sync.now("failed", in_words(error), pointer.version if pointer else None)

    def _swap(self, dataset: str, pointer: Pointer, look: Look) -> Pointer:
        """Load the version and put it in its place, or the one that was promoted meanwhile; returns which."""
        for _ in range(MOST_CHANGES):
            started, version = time.perf_counter(), pointer.version
            look.doing = f"fetching {version}"
            folder = self._cache.fetch(self.store, dataset, version)
            look.doing = f"loading {version}"
            # One at a time: they share the processors with the requests.
            with self._loading:
                made = load(folder, dataset, self.settings)
            latest = self._latest(dataset, look) or pointer
            if latest.version == version:
                break
            # It may have been taken back because it is bad.
            logger.info("%s: %s was loaded and is not current any more: %s is", dataset, version, latest.version)
            pointer = latest
        with self._swapping:
            if look.given_up or self._stop.is_set():
                return pointer
            before = self._served.get(dataset)
            self._served = {**self._served, dataset: made}
        logger.info("%s: %s serves, loaded in %.1f s", dataset, made.version, time.perf_counter() - started)
        # The version before stays: requests may still be working with its folder.
        self._cache.prune(dataset, {made.version, before.version if before else made.version})
        _give_memory_back()
        return pointer

    def _latest(self, dataset: str, look: Look) -> Pointer | None:
        look.doing = "asking whether it still is current"
        try:
            return self.store.current(dataset)
        except Exception as error:  # noqa: BLE001  (it was current when it was asked for)
            log_error(error, f"{dataset}: whether the version that was loaded still is current cannot be asked")
            return None

    def summary(self) -> dict[str, Any]:
        """Return what `/health` says of each data set."""
        return {name: self._summary(name) for name in sorted({*self._served, *self._looks})}

    def _summary(self, dataset: str) -> dict[str, Any]:
        served, sync = self._served.get(dataset), self.sync_of(dataset)
        return {
            "version": served.version if served else None,
            "loaded_at": served.loaded_at if served else None,
            "evaluator": served.predictor.evaluator if served else None,
            "last_sync": sync and {**vars(sync), "detail": sync.detail or None},
        }


async def _ended(asked: Iterable["Future[None]"], seconds: float) -> bool:
    waiting = [asyncio.wrap_future(one) for one in asked]
    return not waiting or not (await asyncio.wait(waiting, timeout=seconds))[1]


def _give_memory_back() -> None:
    """Return what loading has freed to the system.

    Each look has a thread, and glibc gives each thread a heap, in which what was freed stays: thirty swaps took 65 MB.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
