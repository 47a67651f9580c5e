"""The process that writes the prediction log: it is told where requests lie, and tells what became of them.

It ends where its input does, when all is written. While the database does not take what it has, it reads no more.
"""

import contextlib
import json
import marshal
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from src.core.config import Settings
from src.core.database import said_of
from src.core.errors import HousecastError
from src.monitoring import database
from src.monitoring.inserts import insert
from src.monitoring.ring import shared
from src.monitoring.writer import PLACE, Record

COLUMNS = ("id", *Record._fields)
# What comes within this time is one transaction, as each waits for the disk, or a little more than so many bytes.
BATCH_SECONDS, BATCH_BYTES = 0.2, 8_000_000
READ_BYTES = 2**16
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
# After its service has been killed a database that is down is tried for so long.
ORPHAN_SECONDS = 60.0


class Batch(NamedTuple):
    """The rows of so many parcels; after one that is full there may be more at once."""

    parcels: int
    rows: list[tuple[Any, ...]]
    is_full: bool


def batches(pipe: int, memory: memoryview) -> Iterator[Batch]:
    """Read parcels until a pipe ends that says where they lie."""
    told = bytearray()
    while part := os.read(pipe, READ_BYTES):
        told += part
        whole = len(told) - len(told) % PLACE.size
        parcels, taken, rows = 0, 0, list[tuple[Any, ...]]()
        for start, size in PLACE.iter_unpack(bytes(told[:whole])):
            found = marshal.loads(memory[start : start + size])  # noqa: S302  (the service's own)
            rows += [(number, datetime.fromtimestamp(at, UTC), *rest) for number, at, *rest in found]
            parcels, taken = parcels + 1, taken + size
            if taken > BATCH_BYTES:
                yield Batch(parcels, rows, is_full=True)
                parcels, taken, rows = 0, 0, []
        if parcels:
            yield Batch(parcels, rows, is_full=False)
        del told[:whole]
        time.sleep(BATCH_SECONDS)


class Process:
    """Writes what comes."""

    def __init__(self, settings: Settings) -> None:
        self._engine = database.engine(settings)
        self._is_ready = False  # its tables are there
        self._parent = os.getppid()

    def run(self) -> None:
        """Write until the input ends.

        One thread works only when a core is free, so that no request waits for it. This one, which has its share, makes
        the tables with the first rows, and goes on where a core is free so seldom that the other falls behind.
        """
        source = batches(sys.stdin.fileno(), shared(int(sys.argv[1])))
        with ThreadPoolExecutor(1, "idle", _wait_for_a_free_core) as idle:
            done = self._write_next(source)
            while done:
                done = self._write_next(source) if done.is_full else idle.submit(self._write_next, source).result()
        self._engine.dispose()

    def _write_next(self, source: Iterator[Batch]) -> Batch | None:
        batch = next(source, None)
        if batch:
            self._write(batch)
        return batch

    def _write(self, batch: Batch) -> None:
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            try:
                if not self._is_ready:
                    database.upgrade(self._engine)
                    self._is_ready = True
                _tell(parcels=batch.parcels, refused=insert(self._engine, COLUMNS, batch.rows))
            except (sa.exc.SQLAlchemyError, HousecastError, OSError) as error:
                _tell(failed=said_of(error, self._engine.url), pause=pause)
                if os.getppid() != self._parent and time.monotonic() - since > ORPHAN_SECONDS:
                    raise SystemExit(1) from None
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return


def _wait_for_a_free_core() -> None:
    # Not where that is unknown, outside Linux, or a container's rules forbid it.
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _tell(**said: Any) -> None:
    # Nobody listens any more where the service was killed; the work goes on.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    # Whoever stops all processes at once, a service manager, means this one too; what still comes has to be written.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    Process(Settings()).run()
