"""A server as a process: started, waited for, looked at from outside, and stopped."""

import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Caller
from benchmarks.measure import resident_mb
from src.core.config import PROJECT
from src.core.errors import GateError

READY_SECONDS, STOP_SECONDS = 120, 10


@dataclass(frozen=True)
class Running:
    """A server that is ready, `ready_seconds` after its command was started."""

    pid: int
    ready_seconds: float

    def resident_mb(self) -> float:
        """Return what the process that serves occupies; a command that only watches over it does not count."""
        return max(resident_mb(pid) for pid in (self.pid, *descendants(self.pid)))

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used since it was started; NaN where /proc does not say it."""
        return sum(_cpu_seconds(pid) for pid in (self.pid, *descendants(self.pid)))


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], ready: str, log: Path) -> Iterator[Running]:
    """Run a server until the block ends; it is ready once GET `ready` answers 200.

    Raises:
        GateError: it ended or was not ready in time; tells the end of its log.
    """
    start = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, **environment}, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        while not _is_ready(ready):
            if process.poll() is not None or time.perf_counter() - start > READY_SECONDS:
                said = log.read_text(errors="replace")[-2000:]
                raise GateError(f"{' '.join(command)} did not become ready:\n{said}")
            time.sleep(0.02)
        yield Running(process.pid, time.perf_counter() - start)
    finally:
        _stop(process)


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and that these started; none where /proc does not say it."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def _is_ready(url: str) -> bool:
    try:
        with Caller(url, {}, timeout=5) as caller:
            return caller.get() == 200
    except OSError:
        return False


def _cpu_seconds(pid: int) -> float:
    # User and system time are the 14th and 15th field of the whole line.
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else math.nan


def _stat(pid: int) -> list[str]:
    """Return what /proc says of a process after its name, nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server as an operator would, and what outlives it by force."""
    # With when each was started: a number may be another process's by the time it is used.
    family = {pid: _stat(pid)[19:20] for pid in descendants(process.pid)}
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid, started in family.items():
        if started and _stat(pid)[19:20] == started:
            os.kill(pid, signal.SIGKILL)
