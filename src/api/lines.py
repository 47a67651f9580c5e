"""Lines of the log, written by a thread of their own: a log that nobody reads must not hold up the service."""

import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime

from pydantic_core import to_json

FLUSH_SECONDS = 0.2
# Lines that wait for a slow reader of the log; more are counted and dropped, since a full memory helps nobody.
MOST_LINES = 20_000
STDERR = 2


class Lines:
    """Takes lines from any thread and never waits; `dropped` counts those that it had no room for."""

    def __init__(self, descriptor: int = STDERR) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._waiting: deque[bytes] = deque()
        self._told = False
        self._busy = False
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> None:
        """Have a line written within a fraction of a second."""
        if len(self._waiting) >= MOST_LINES:
            self.dropped += 1
            return
        self._waiting.append(line)
        if not self._told:
            self._told = True
            self._start()
            self._wake.set()

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until what was put is written, no longer than so many seconds."""
        deadline = time.monotonic() + seconds
        self._hurry.set()
        while (self._waiting or self._busy) and time.monotonic() < deadline:
            time.sleep(0.005)
        self._hurry.clear()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # The process ends without it, be it in the middle of a write that nobody takes.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(FLUSH_SECONDS)
            self._wake.clear()
            self._busy, self._told = True, False
            with suppress(OSError):
                self._write()
            self._busy = False

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        left = memoryview(b"".join(line + b"\n" for line in lines))
        # Past Python's own stream, whose lock would be missed at the end of the process.
        while left:
            left = left[os.write(self._descriptor, left) :]


LINES = Lines()


class JsonLines(logging.Formatter):
    """Every log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return to_json(content).decode()


class LinesHandler(logging.Handler):
    """Hands log records over to the thread that writes."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            LINES.put(self.format(record).encode())
        except Exception:  # noqa: BLE001  (as logging's own handlers do)
            self.handleError(record)
