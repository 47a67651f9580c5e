"""One data set's batch output, followed in its store: read when it is first asked for, then what has changed."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import polars as pl

from src.core.config import DatasetConfig
from src.core.errors import DataError, StoreError
from src.core.predictions_store import PredictionsFile, PredictionsStore, file_name
from src.inference_pipeline.prediction_file import Layout, read_month
from src.inference_pipeline.priced_rows import Part, PricedRows, assembled

logger = logging.getLogger(__name__)

# Files that are read at once, each of them in memory as a whole.
READERS = 4
MOST_BYTES = 1_000_000_000


@dataclass(frozen=True)
class _Read:
    """What became of one file: its rows with the tag of their content, or what is wrong with it."""

    file: PredictionsFile
    tag: str = ""
    rows: pl.DataFrame | None = None
    problem: str = ""


class BatchOutput:
    """Keeps the rows of every month; safe in threads, of which one looks at the store while the others go on."""

    def __init__(
        self,
        config: DatasetConfig,
        store: PredictionsStore,
        check_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow `store`; it is looked at when asked and `check_seconds` have passed since the last look."""
        self._layout = Layout(config)
        self._store = store
        self._check_seconds = check_seconds
        self._clock = clock
        self._looking = threading.Lock()
        self._next_look = 0.0
        self._rows: PricedRows | None = None
        self._damaged: dict[tuple[str, str], str] = {}  # file and tag -> what is wrong
        self.failure: str | None = None

    def now(self) -> PricedRows:
        """Return what the store holds, as of at most `check_seconds` ago; a store that is down changes nothing.

        Raises:
            StoreError: the store has never answered.
        """
        due = self._rows is None or self._clock() >= self._next_look
        # The first rows are waited for; afterwards the old ones serve until the new ones are there.
        if due and self._looking.acquire(blocking=self._rows is None):
            try:
                if self._clock() >= self._next_look:
                    self._look()
            finally:
                self._looking.release()
        if self._rows is None:
            raise StoreError(self.failure or "the predictions have not been read")
        return self._rows

    def look_again(self) -> None:
        """Look at the store at the next question, however short the last look is ago."""
        self._next_look = 0.0

    def _look(self) -> None:
        # Set before as well: a call of `look_again` while this look goes on counts.
        self._next_look = planned = self._clock() + self._check_seconds
        try:
            files = self._store.files()
            self._rows = self._refreshed(files)
            self.failure = None
        except StoreError as error:
            logger.warning("predictions of %s cannot be read: %s", self._layout.config.name, error)
            self.failure = str(error)
        finally:
            if self._next_look == planned:
                self._next_look = self._clock() + self._check_seconds

    def _refreshed(self, files: Sequence[PredictionsFile]) -> PricedRows:
        before = self._rows or PricedRows(self._layout, assembled(self._layout, {}), ())
        parts = {part.name: part for part in before.parts}
        same = {file.name: parts[file.name] for file in files if file.name in parts}
        damaged = {key: self._damaged[key] for file in files if (key := (file.name, file.tag)) in self._damaged}
        known = {(part.name, part.tag) for part in same.values()} | damaged.keys()
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(self._read, [file for file in files if (file.name, file.tag) not in known]))
        problems = {name: problem for (name, _), problem in damaged.items()}
        for one in found:
            name = one.file.name
            if one.problem:
                logger.warning("predictions of %s: %s is left out: %s", self._layout.config.name, name, one.problem)
                problems[name] = one.problem
            if one.tag and one.problem:
                damaged[name, one.tag] = one.problem
        for name, _ in damaged:
            same.pop(name, None)
        self._damaged = damaged
        return _joined(before, same, [one for one in found if one.rows is not None], problems)

    def _read(self, file: PredictionsFile) -> _Read:
        if file.size > MOST_BYTES:
            return _Read(file, file.tag, problem=f"it has {file.size:,} bytes, and at most {MOST_BYTES:,} are read")
        try:
            content, tag = self._store.read(file.name)
            return _Read(file, tag, read_month(content, file.month, self._layout))
        except DataError as error:
            return _Read(file, file.tag, problem=str(error))
        except StoreError as error:
            # Tried again at the next look; until then the month is as it was.
            logger.warning("%s", error)
            return _Read(file, problem="it cannot be read now")


def _joined(before: PricedRows, same: dict[str, Part], found: Sequence[_Read], problems: dict[str, str]) -> PricedRows:
    """Put what stays and what was read together; `before` may be in use and stays as it is."""
    tags = {part.month: part.tag for part in same.values()} | {one.file.month: one.tag for one in found}
    tag = hashlib.sha256(repr((sorted(tags.items()), sorted(problems.items()))).encode()).hexdigest()[:32]
    if not found and len(same) == len(before.parts):
        return replace(before, problems=problems, tag=tag)
    columns = [pl.col(name).cast(kind) for name, kind in before.layout.kinds.items()]
    months = {part.month: before.frame.slice(part.start, part.height).select(columns) for part in same.values()}
    months |= {one.file.month: one.rows for one in found if one.rows is not None}
    parts, start = [], 0
    for month in sorted(months):
        height = months[month].height
        parts.append(Part(file_name(month), month, tags[month], start, height))
        start += height
    return PricedRows(before.layout, assembled(before.layout, months), tuple(parts), problems, tag)
