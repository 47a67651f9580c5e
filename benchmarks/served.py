"""One run of `benchmarks.serving`: all servers are started, held to our answers, loaded in turn, and stopped.

All stand at once and idle while another is loaded, so that turns follow each other within seconds: whatever slows the
machine slows every server.
"""

import io
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.load import Caller, Load, Target, has_wrk, loop, wrk
from benchmarks.measure import timed
from benchmarks.processes import Running, free_port, running
from benchmarks.servers import OURS, UNRECORDED, Asked, Server
from src.core.errors import GateError
from src.inference_pipeline.predictor import Predictor

CONNECTIONS = (1, 8, 32)
CALLS = 3
ARROW = "application/vnd.apache.arrow.stream"


class Measured(NamedTuple):
    """One run of one server: its load for each number of connections, and what it took to answer."""

    loads: Mapping[int, Load]
    cpu_microseconds: float
    resident_mb: float
    ready_seconds: float
    bulk_rows_per_second: float


class Scored(NamedTuple):
    """A file through `POST .../score` and the same frame through the Predictor of this process, rows a second."""

    served: float
    bare: float


class Run(NamedTuple):
    """Every server in turn, ours with a file, and which part of its throughput it has while it records requests."""

    servers: Mapping[Server, Measured]
    scored: Scored
    recording: Sequence[float]


def measure(
    servers: Sequence[Server], folder: Path, few: Asked, many: Asked, seconds: int, warm: int, turns: int
) -> Run:
    """Take a run; a load lasts so many seconds, after at most `warm` of another.

    `few` are asked one by one, `many` at once.
    """
    with ExitStack() as stack:
        up = {server: stack.enter_context(started(server, folder)) for server in servers}
        targets = {server: target for server, (_, target) in up.items()}
        for server, target in targets.items():
            check_answers(server, target, few)
        loads: dict[Server, dict[int, Load]] = {server: {} for server in servers}
        cpu: dict[Server, float] = {}
        for connections in CONNECTIONS:
            for server, (process, target) in up.items():
                loads[server][connections], cpu[server] = load(server, process, target, connections, seconds, warm)
        resident = {server: process.resident_mb() for server, (process, _) in up.items()}
        rates = bulk(targets, many)
        scored = score(targets[OURS], folder)
        recording = shares(targets[OURS], targets[UNRECORDED], turns)
    found = {
        server: Measured(loads[server], cpu[server], resident[server], process.ready_seconds, rates[server])
        for server, (process, _) in up.items()
    }
    return Run(found, scored, recording)


@contextmanager
def started(server: Server, folder: Path) -> Iterator[tuple[Running, Target]]:
    port = free_port()
    root, log = f"http://127.0.0.1:{port}", folder / f"{server.name}.log"
    command, settings = server.command(folder, port), server.settings(folder, port)
    headers = {"Content-Type": "application/json", **server.headers}
    with running([str(part) for part in command], settings, root + server.ready, log) as process:
        yield process, Target(root + server.path, headers, folder / f"{server.name}.jsonl")


def check_answers(server: Server, target: Target, few: Asked) -> None:
    """Hold that a server answers as our predictor does, one by one and together (GateError)."""
    with Caller(target.url, target.headers) as caller:
        for asked in (*few.each()[:50], few):
            if not server.is_right(caller.post(server.body(asked)), asked):
                raise GateError(f"{server.name} gives other prices than housecast: the comparison would mean nothing")


def load(
    server: Server, process: Running, target: Target, connections: int, seconds: int, warm: int
) -> tuple[Load, float]:
    """Return a load after a warm one, and the CPU time of a request in microseconds."""
    make = wrk if has_wrk() else loop
    if warm:
        make(target, connections, min(server.learns_in, warm))
    with Caller(target.url, target.headers) as caller:
        caller.post(target.bodies.read_bytes().splitlines()[0])  # waits for what that left behind
    before = process.cpu_seconds()
    found = make(target, connections, seconds)
    return found, (process.cpu_seconds() - before) / found.requests * 1e6


def shares(ours: Target, other: Target, turns: int) -> list[float]:
    """Load two servers in turn, a second each, and return the first one's throughput as shares of the other's.

    Machines change their speed by a third within seconds: only what is measured side by side can be told apart.
    """
    make = wrk if has_wrk() else loop
    found = []
    for turn in range(turns):
        first, second = (ours, other) if turn % 2 else (other, ours)
        ratio = make(first, max(CONNECTIONS), 1).per_second / make(second, max(CONNECTIONS), 1).per_second
        found.append(ratio if first is ours else 1 / ratio)
    return found


def bulk(targets: Mapping[Server, Target], many: Asked) -> dict[Server, float]:
    """Ask each server for all rows at once, in turn, and return its rows a second."""
    bodies = {server: server.body(many) for server in targets}
    seconds: dict[Server, list[float]] = {server: [] for server in targets}
    for _ in range(CALLS):
        for server, target in targets.items():
            with Caller(target.url, target.headers) as caller:
                seconds[server].append(timed(partial(caller.post, bodies[server]))[0])
    return {server: len(many.rows) / statistics.median(found) for server, found in seconds.items()}


def score(target: Target, folder: Path) -> Scored:
    """Have ours price the folder's rows as an Arrow file, and the Predictor the same frame with the same threads."""
    rows, predictor = pl.read_parquet(folder / "rows.parquet"), Predictor.load(folder / "bundle")
    body = io.BytesIO()
    rows.write_ipc_stream(body)
    url = target.url.removesuffix(OURS.path) + "/datasets/housets/score"
    served, bare = [], []
    with Caller(url, {**target.headers, "Content-Type": ARROW}) as caller:
        for _ in range(CALLS):
            seconds, answer = timed(lambda: caller.post(body.getvalue()))
            served.append(seconds)
            seconds, said = timed(lambda: predictor.predict(rows, os.cpu_count() or 1))
            bare.append(seconds)
    prices = pl.read_ipc_stream(io.BytesIO(answer))["predicted_price"].to_numpy()
    if not np.array_equal(prices, said.estimate):
        raise GateError(f"{url} gives other prices than the Predictor: the comparison would mean nothing")
    return Scored(len(rows) / statistics.median(served), len(rows) / statistics.median(bare))
