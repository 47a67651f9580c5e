"""The prediction log's writer: a bounded queue, and a process of its own that writes what waits in it.

Whoever answers requests only puts what came and went into the queue, as it is. To write it takes a fifth of the time
of a price: a thread would take that from the requests, and a process takes it from another core. The queue is memory
that both share; requests come some dozens at a time, while their bytes are in the processor's cache. A database that
is slow, down or full is tried again and again while the queue fills; what finds it full is dropped, counted and said.
What the process has not acknowledged stays here, and a new one gets it where one has died.
"""

import itertools
import logging
import marshal
import os
import secrets
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from src.core.config import Settings
from src.monitoring.ring import Ring

logger = logging.getLogger(__name__)

# So many bytes of requests and answers wait at most.
MOST_WAITING = 64_000_000
# Of these so many, where the process keeps up; they stay in the processor's cache.
USUALLY_WAITING = 8_000_000
LOOK_SECONDS = 0.1
# Where requests lie in the queue: the first byte and how many.
PLACE = struct.Struct("<QQ")
# Before a new process where one has died.
PAUSE_SECONDS = 2.0


class Record(NamedTuple):
    """A request and its answer, as the table `requests` has them; the bytes are JSON as it came and went."""

    at: datetime
    request_id: str
    dataset: str
    version: str
    role: str
    status: int
    rows: int
    first_month: str | None
    last_month: str | None
    milliseconds: float
    inputs: bytes | None
    answer: bytes | None


@dataclass
class Counts:
    """Predictions since the process began; a request that failed is one too."""

    written: int = 0
    dropped: int = 0  # found the queue full, or were left at the end
    refused: int = 0  # the database takes the others and never these
    failures: int = 0  # attempts to write that failed


class Parcel(NamedTuple):
    """Requests that are written together: how many predictions each one is, and where they lie in the queue."""

    predictions: Sequence[int]
    start: int
    size: int


def packed(records: Iterable[Record], numbers: Iterable[int]) -> bytes:
    """Write requests for the process, each with its number; times are in seconds since 1970."""
    rows = [(number, one[0].timestamp(), *one[1:]) for one, number in zip(records, numbers, strict=False)]
    return marshal.dumps(rows)


class Writer:
    """Takes what was asked and answered and has it written. One thread calls `put`, which never waits.

    Each number that changes is changed by one thread only, so that none needs a lock.
    """

    def __init__(self, settings: Settings, most_waiting: int = MOST_WAITING) -> None:
        self.counts = Counts()
        self._settings = settings
        self._ring = Ring(most_waiting, USUALLY_WAITING)
        self._queue: deque[Parcel] = deque()
        self._sent: deque[Parcel] = deque()  # and not acknowledged
        self._taken = 0
        self._done = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        # Two processes that draw alike are less likely than a flaw of the disk.
        self._ids = itertools.count(secrets.randbits(62))
        self._given_up = False

    @property
    def waiting(self) -> int:
        """Predictions that are not written yet."""
        return self._taken - self._done

    def put(self, *records: Record) -> None:
        """Take requests together, or count their predictions as dropped where too much waits.

        One that failed is one prediction.
        """
        predictions = [one.rows or 1 for one in records]
        content = packed(records, self._ids)
        start = None if self._given_up else self._ring.put(content)
        if start is None:
            self.counts.dropped += sum(predictions)
            return
        self._taken += sum(predictions)
        self._queue.append(Parcel(predictions, start, len(content)))
        if self._thread is None:
            # Not before there is something to write: a service that prices nothing needs no database.
            self._thread = threading.Thread(target=self._run, name="prediction log", daemon=True)
            self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what waits, for so long at most, and take nothing more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)
        self._given_up = True
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
        if self._thread is not None:
            self._thread.join(1)
        self._ring.close()
        left, self._done = self.waiting, self._taken
        if left:
            self.counts.dropped += left
            logger.error("prediction log: %s predictions were not written before the end", f"{left:,}")

    def _run(self) -> None:
        while not self._given_up:
            stopping = self._stop.wait(LOOK_SECONDS)
            try:
                ended = self._work_with(*self._start(), stopping=stopping)
            except OSError as error:  # no process can be started
                ended = str(error)
            if self._given_up or (not ended and not self.waiting):
                return
            logger.error("prediction log: its process ended (%s); another one is started", ended or "too early")
            self._stop.wait(PAUSE_SECONDS)

    def _work_with(self, child: subprocess.Popen[bytes], answers: threading.Thread, *, stopping: bool) -> str:
        """Send what comes until the stop; returns how the process ended where it did so itself."""
        try:
            self._write(child, list(self._sent))  # to one that died
            self._send(child)
            while not stopping:
                stopping = self._stop.wait(LOOK_SECONDS)
                self._send(child)
        except BrokenPipeError:
            stopping = False
        with suppress(BrokenPipeError):
            child.stdin.close()  # type: ignore[union-attr]  # it is a pipe; at its end the process ends too
        child.wait()
        answers.join()
        return "" if stopping else f"exit code {child.returncode}"

    def _send(self, child: subprocess.Popen[bytes]) -> None:
        """Hand all that waits to the process; waits where it does not take it (OSError when it has ended)."""
        parcels = [self._queue.popleft() for _ in range(len(self._queue))]
        self._sent += parcels
        self._write(child, parcels)

    def _write(self, child: subprocess.Popen[bytes], parcels: Sequence[Parcel]) -> None:
        if child.poll() is not None:
            raise BrokenPipeError
        assert child.stdin is not None
        child.stdin.write(b"".join(PLACE.pack(parcel.start, parcel.size) for parcel in parcels))
        child.stdin.flush()

    def _start(self) -> tuple[subprocess.Popen[bytes], threading.Thread]:
        url = self._settings.database_url
        about = {"WORKSPACE": str(self._settings.workspace), "DATABASE_URL": url.get_secret_value() if url else ""}
        child = subprocess.Popen(  # noqa: S603  (a number of our own, and no shell)
            [sys.executable, "-m", "src.monitoring.log_process", str(self._ring.file)],
            pass_fds=[self._ring.file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **about},
            process_group=0,  # Ctrl-C is for the service, which stops it when all is written
        )
        self._child = child
        answers = threading.Thread(target=self._listen, args=(child,), name="prediction log's answers", daemon=True)
        answers.start()
        return child, answers

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        """Count what the process says of its work, a line of JSON each time."""
        has_failed = False
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                if not self._given_up:  # what it still writes then is counted as dropped
                    has_failed = self._count(from_json(line), has_failed=has_failed)

    def _count(self, said: dict[str, Any], *, has_failed: bool) -> bool:
        if "failed" in said:
            self.counts.failures += 1
            waits = f"{self.waiting:,} predictions wait: {said['failed']}"
            logger.warning("prediction log: %s; tried again in %g s", waits, said["pause"])
            return True
        if has_failed:
            logger.info("prediction log: the database takes rows again")
        self._acknowledged(said["parcels"], said["refused"])
        return False

    def _acknowledged(self, parcels: int, refused: Sequence[int]) -> None:
        """Count parcels as written; `refused` are requests among theirs, by their place."""
        ended = [self._sent.popleft() for _ in range(parcels)]
        predictions = [count for parcel in ended for count in parcel.predictions]
        left_out = sum(predictions[i] for i in refused)
        self.counts.written += sum(predictions) - left_out
        self.counts.refused += left_out
        self._done += sum(predictions)
        for parcel in ended:
            self._ring.free(parcel.start, parcel.size)
        if left_out:
            logger.error("prediction log: the database refuses %s predictions for good", f"{left_out:,}")
