"""Load on a server from a number of connections that each ask again once they are answered: by wrk, else in Python."""

import http.client
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from src.core.errors import ConfigError, GateError

SCRIPT = Path(__file__).with_name("load.lua")
INSTALL = "wrk is not installed, which makes the load: `apt-get update && apt-get install wrk`, or `brew install wrk`"


class Load(NamedTuple):
    """What one load found; the percentiles are of the answers' times, in milliseconds."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


class Target(NamedTuple):
    """Where the requests go: bodies are the lines of a file, taken in turn."""

    url: str
    headers: Mapping[str, str]
    bodies: Path


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def wrk(target: Target, connections: int, seconds: float) -> Load:
    """Load the server from one thread of wrk.

    Raises:
        ConfigError: wrk is not installed.
        GateError: an answer was an error, or a connection broke.
    """
    if not has_wrk():
        raise ConfigError(INSTALL)
    headers = [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
    options = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency", "-s", str(SCRIPT)]
    command = ["wrk", *options, *headers, target.url, "--", str(target.bodies)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(printed.splitlines()[-1])
    if found["refused"] or found["broken"]:
        raise GateError(
            f"{target.url}: of {found['requests']} answers {found['refused']} were not 2xx, and {found['broken']} "
            f"connections broke at {connections} connections: the figures would mean nothing"
        )
    if not found["requests"]:
        return wrk(target, connections, 2 * seconds)  # so slow a server is given longer
    return Load(found["requests"], found["requests"] / found["seconds"], found["p50_ms"], found["p99_ms"])


def loop(target: Target, connections: int, seconds: float) -> Load:
    """Load the server from threads of this process: for machines without wrk, and slower than many a server."""
    bodies = target.bodies.read_bytes().splitlines()
    until = time.perf_counter() + seconds
    with ThreadPoolExecutor(connections) as pool:
        start = time.perf_counter()
        found = [pool.submit(_ask_until, target, bodies[i:] + bodies[:i], until) for i in range(connections)]
        times = [value for one in found for value in one.result()]
        spent = time.perf_counter() - start
    p99 = statistics.quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else times[0]
    return Load(len(times), len(times) / spent, statistics.median(times) * 1e3, p99 * 1e3)


def _ask_until(target: Target, bodies: Sequence[bytes], until: float) -> list[float]:
    times: list[float] = []
    with Caller(target.url, target.headers) as caller:
        while not times or time.perf_counter() < until:
            start = time.perf_counter()
            caller.post(bodies[len(times) % len(bodies)])
            times.append(time.perf_counter() - start)
    return times


class Caller:
    """One connection that stays open."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float = 120) -> None:
        address = urlsplit(url)
        assert address.hostname
        self._url, self._path, self._headers = url, address.path, dict(headers)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, body: bytes) -> bytes:
        """Return the answer's body (GateError if it is not 2xx)."""
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if not 200 <= answer.status < 300:
            raise GateError(f"{self._url} answered {answer.status}: {said[:500].decode(errors='replace')}")
        return said

    def get(self) -> int:
        """Return the status of the answer."""
        self._connection.request("GET", self._path, headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status
