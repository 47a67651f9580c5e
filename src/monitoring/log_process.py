"""The process that writes the prediction log: requests come in at its standard input, what became of them goes out.

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
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from src.core.config import Settings
from src.core.database import said_of
from src.core.errors import HousecastError
from src.monitoring import database
from src.monitoring.inserts import insert
from src.monitoring.writer import Record

COLUMNS = ("id", *Record._fields)
# Of one statement.
BATCH = 1_000
READ_BYTES = 1_000_000
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
# After its service has been killed a database that is down is tried for so long.
ORPHAN_SECONDS = 60.0


def rows_in(buffer: bytearray) -> Iterator[tuple[Any, ...]]:
    """Take the whole requests out of what has come."""
    start = 0
    while len(buffer) - start >= 4:
        end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
        if end > len(buffer):
            break
        number, at, *rest = marshal.loads(bytes(buffer[start + 4 : end]))  # noqa: S302  (the service's own)
        yield (number, datetime.fromtimestamp(at, UTC), *rest)
        start = end
    del buffer[:start]


class Process:
    """Writes what comes."""

    def __init__(self, settings: Settings) -> None:
        self._engine = database.engine(settings)
        self._is_ready = False  # its tables are there
        self._parent = os.getppid()

    def run(self) -> None:
        """Write until the input ends."""
        buffer = bytearray()
        while data := os.read(0, READ_BYTES):
            buffer += data
            rows = list(rows_in(buffer))
            for start in range(0, len(rows), BATCH):
                self._write(rows[start : start + BATCH])
        self._engine.dispose()

    def _write(self, rows: list[tuple[Any, ...]]) -> None:
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            try:
                if not self._is_ready:
                    database.upgrade(self._engine)
                    self._is_ready = True
                _tell(requests=len(rows), refused=insert(self._engine, COLUMNS, rows))
            except (sa.exc.SQLAlchemyError, HousecastError, OSError) as error:
                _tell(failed=said_of(error, self._engine.url), pause=pause)
                if os.getppid() != self._parent and time.monotonic() - since > ORPHAN_SECONDS:
                    raise SystemExit(1) from None
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return


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
