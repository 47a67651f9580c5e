"""Measure the API beside other ways to serve the same trees: requests a second, latency, memory, and many rows at once.

500 trees of depth 8, fitted on a simulated market. Each server has one process that works on requests, and XGBoost one
thread. Load comes from wrk, a row a request, over connections that stay open. Before anything is timed each server must
answer as ours does. In each run all servers are started anew, and they take turns; a cell is the median of the runs.

wrk is Debian's package: `apt-get update && apt-get install wrk`. The environments of BentoML and MLServer are built on
first use, outside the project (`benchmarks/peers/environments.py`).
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import xgboost as xgb
from rich.console import Console
from rich.table import Table

from benchmarks.load import INSTALL, Load, has_wrk
from benchmarks.market import MONTHS
from benchmarks.measure import apart, judge, machine
from benchmarks.peers import environments
from benchmarks.pricing import make_bundle
from benchmarks.served import CONNECTIONS, Measured, Run, measure
from benchmarks.servers import OURS, PEERS, PLAIN, UNRECORDED, Asked, Server
from src.core.cli import run_command
from src.core.errors import ConfigError

Found = Mapping[Server, Sequence[Measured]]

# What the project promises: throughput in that of others at 32 connections, and of the Predictor; ms, MB and seconds.
TIMES_PEER, TIMES_PLAIN, OF_PREDICTOR = 4.0, 20.0, 0.5
RECORDING = 0.95  # of the throughput without
P50_OF_1, P99_OF_8, RESIDENT, READY = 0.6, 10.0, 250.0, 3.0


def ready_to_run(*, smoke: bool) -> list[Server]:
    """Return the servers that can run here, after building what is missing; small runs leave out what that would be.

    Raises:
        ConfigError: wrk or uv is missing.
    """
    if not has_wrk():
        if not smoke:
            raise ConfigError(INSTALL)
        print("skipped: wrk, which is not installed: a loop in Python makes the load")
    servers: list[Server] = [OURS, UNRECORDED, PLAIN]
    for peer in PEERS:
        if peer.environment and smoke and not environments.built(peer.environment):
            print(f"skipped: {peer.name}, whose environment is not built; a run without --smoke builds it")
            continue
        if peer.environment:
            environments.build(peer.environment)
        servers.append(peer)
    return servers


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = _arguments(argv)
    servers = ready_to_run(smoke=args.smoke)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="housecast-") as name:
        folder, log = Path(name), Console(stderr=True)
        apart(smoke=args.smoke)(make_bundle, folder, args.zips, args.file, args.rounds, args.depth)
        few = Asked.of(folder, args.bodies)
        many = Asked.of(folder, args.bulk)
        for server in servers:
            server.prepare(folder)
            bodies = b"\n".join(map(server.body, few.each()))
            (folder / f"{server.name}.jsonl").write_bytes(bodies + b"\n")
        for number in range(args.runs):
            runs.append(measure(servers, folder, few, many, args.seconds, args.warm, args.turns))
            for server, measured in runs[-1].servers.items():
                rate = measured.loads[max(CONNECTIONS)].per_second
                log.print(f"run {number + 1} of {args.runs}: {server.name}: {rate:,.0f} requests/s", style="dim")
    found = {server: [run.servers[server] for run in runs] for server in servers}
    print_loads(found, args)
    print_costs(found, args)
    print_scored(runs, args)
    judge(verdicts(found, runs) if not args.smoke else [], smoke=args.smoke)


def middle(runs: Sequence[Measured], connections: int) -> Load:
    return Load(*(statistics.median(values) for values in zip(*(run.loads[connections] for run in runs), strict=True)))


def times(found: Found, server: Server, connections: int) -> float:
    """Return in how many times a server's throughput ours is: the median of the ratios run by run."""
    pairs = zip(found[OURS], found[server], strict=True)
    return statistics.median(
        ours.loads[connections].per_second / theirs.loads[connections].per_second for ours, theirs in pairs
    )


def bulk_times(found: Found, server: Server) -> float:
    pairs = zip(found[OURS], found[server], strict=True)
    return statistics.median(ours.bulk_rows_per_second / theirs.bulk_rows_per_second for ours, theirs in pairs)


def of_predictor(runs: Sequence[Run]) -> float:
    """Return which part of the Predictor's throughput in process a file has through the API."""
    return statistics.median(run.scored.served / run.scored.bare for run in runs)


def print_loads(found: Found, args: argparse.Namespace) -> None:
    tool = "wrk" if has_wrk() else "a loop in Python"
    table = _table(f"one row a request, {tool} for {args.seconds} s", args)
    for heading in ("server", "is sent a", "connections", "requests/s", "ours", "p50, ms", "p99, ms"):
        table.add_column(heading, justify="left" if heading in ("server", "is sent a") else "right")
    for server, runs in found.items():
        for connections in CONNECTIONS:
            load, ratio = middle(runs, connections), f"{times(found, server, connections):.1f}x"
            latency = (f"{load.p50_ms:,.2f}", f"{load.p99_ms:,.2f}")
            table.add_row(server.name, server.takes, str(connections), f"{load.per_second:,.0f}", ratio, *latency)
    _print(table)


def print_costs(found: Found, args: argparse.Namespace) -> None:
    table = _table(f"what it takes; {args.bulk:,} rows in a request, as JSON", args)
    for heading in ("server", "CPU, µs a request", "resident, MB", "ready, s", "rows/s in bulk", "ours"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for server, runs in found.items():
        cpu, resident, ready, bulk = (
            statistics.median(values) for values in zip(*(run[1:] for run in runs), strict=True)
        )
        ratio = f"{bulk_times(found, server):.2f}x"
        table.add_row(server.name, f"{cpu:,.0f}", f"{resident:,.0f}", f"{ready:.1f}", f"{bulk:,.0f}", ratio)
    _print(table)


def print_scored(runs: Sequence[Run], args: argparse.Namespace) -> None:
    served, bare = (statistics.median(values) for values in zip(*(run.scored for run in runs), strict=True))
    text = f"{args.file:,} rows as Arrow: {served:,.0f} rows/s through the API, {bare:,.0f} rows/s in process"
    print(f"{text}, {of_predictor(runs):.2f} of it")
    low, middle, high = recording(runs)
    turns = len(runs) * len(runs[0].recording)
    print(
        f"recorded requests: {middle:.3f} of the throughput of others (quartiles {low:.3f}, {high:.3f}; {turns} turns)"
    )


def recording(runs: Sequence[Run]) -> tuple[float, float, float]:
    """Return which part of its throughput ours has while it records requests: the median between its quartiles."""
    found = [share for run in runs for share in run.recording]
    low, median, high = statistics.quantiles(found, n=4) if len(found) > 1 else found * 3
    return low, median, high


def verdicts(found: Found, runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """Say of each promise whether the runs kept it."""
    most = max(CONNECTIONS)
    best = min(PEERS, key=lambda peer: times(found, peer, most))
    bulk = min((PLAIN, *PEERS), key=lambda peer: bulk_times(found, peer))
    of_best, of_plain, of_bulk = times(found, best, most), times(found, PLAIN, most), bulk_times(found, bulk)
    p50, p99 = middle(found[OURS], 1).p50_ms, middle(found[OURS], 8).p99_ms
    resident = statistics.median(run.resident_mb for run in found[OURS])
    ready, of_file = statistics.median(run.ready_seconds for run in found[OURS]), of_predictor(runs)
    at = f"requests/s at {most} connections"
    return [
        (
            f"at least {TIMES_PEER:g} times the {at} of the best peer ({best.name}): {of_best:.1f}",
            of_best >= TIMES_PEER,
        ),
        (f"at least {TIMES_PLAIN:g} times the {at} of {PLAIN.name}: {of_plain:.1f}", of_plain >= TIMES_PLAIN),
        (f"p99 under {P99_OF_8:g} ms at 8 connections: {p99:.2f}", p99 < P99_OF_8),
        (f"p50 under {P50_OF_1:g} ms at 1 connection: {p50:.2f}", p50 < P50_OF_1),
        (f"at most {RESIDENT:g} MB resident: {resident:.0f}", resident <= RESIDENT),
        (f"ready within {READY:g} s: {ready:.1f}", ready <= READY),
        (f"many rows as JSON at least as fast as the best peer ({bulk.name}): {of_bulk:.2f} times", of_bulk >= 1),
        (
            f"recording leaves at least {RECORDING:g} of the throughput: {recording(runs)[1]:.3f}",
            recording(runs)[1] >= RECORDING,
        ),
        (f"a file at no less than {OF_PREDICTOR:g} of the Predictor: {of_file:.2f}", of_file >= OF_PREDICTOR),
    ]


def _table(title: str, args: argparse.Namespace) -> Table:
    model = f"{args.rounds} trees, depth {args.depth}, XGBoost {xgb.__version__}, median of {args.runs}"
    return Table(
        title=f"{title}; {model}", caption=machine(), title_justify="left", caption_justify="left", min_width=80
    )


def _print(table: Table) -> None:
    Console(width=max(Console().width, 120)).print(table)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--zips", type=int, default=705, help="ZIP codes of the simulated market")
    made.add_argument("--file", type=int, default=100_000, help=f"rows of a file, at most zips x {MONTHS}")
    made.add_argument("--bulk", type=int, default=10_000, help="rows of a large request, at most those of a file")
    made.add_argument("--rounds", type=int, default=500)
    made.add_argument("--depth", type=int, default=8)
    made.add_argument("--runs", type=int, default=5)
    made.add_argument("--seconds", type=int, default=3, help="of each load")
    made.add_argument("--warm", type=int, default=6, help="seconds of another load before it, at most")
    made.add_argument("--turns", type=int, default=12, help="pairs of loads with and without recording, in each run")
    made.add_argument("--bodies", type=int, default=500, help="requests that go round, so that none repeats the last")
    made.add_argument("--smoke", action="store_true", help="a minute on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.zips, args.file, args.bulk = 30, 4_000, 1_000
        args.rounds, args.depth, args.runs, args.seconds = 20, 4, 1, 1
        args.warm, args.bodies, args.turns = 0, 20, 1
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
