"""Measure prices from raw rows beside bare XGBoost: one row, many rows, reasons, and how soon a process can answer.

500 trees of depth 8 on the linear trend, fitted on a simulated market and published as a bundle. Each run of each way
has a process of its own, and the ways take turns; a cell is the median of the runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import xgboost as xgb
from rich.console import Console
from rich.table import Table

from benchmarks.market import MONTHS
from benchmarks.measure import apart, judge, machine, peak_mb, polars_threads, resident_mb, timed
from benchmarks.pricing import WAYS, check_agreement, make_bundle
from src.core.cli import run_command
from src.core.config import PROJECT

# What the project promises: microseconds for one row, and the throughput of bare XGBoost for many.
ONE_ROW, BULK = 300.0, 1.0
OURS, PANDAS, BARE_ROW = "housecast", "pandas frame", "bare inplace_predict"
FRAME, BARE_BULK = "housecast, frame", "bare predict"
WHY = "housecast, explained"
# A way, rows in a call, threads, and how many calls a run makes for one of the default.
Case = tuple[str, int, int, float]
ANSWER = """
import json, sys
from pathlib import Path
for name in sys.argv[3:]:
    sys.modules[name] = None
from src.inference_pipeline.predictor import Predictor
predictor = Predictor.load(Path(sys.argv[1]))
print(predictor.predict([json.loads(sys.argv[2])]).estimate[0], flush=True)
sys.stdin.read()
"""


# XGBoost imports these where they are installed; a serving image, without the training group, has none of them.
TRAINING = ("sklearn", "pandas", "pyarrow")


class Measured(NamedTuple):
    """One run: median and 99th percentile of its calls in microseconds, peak memory of its process."""

    median: float
    p99: float
    peak_mb: float


class Start(NamedTuple):
    """A fresh process with a bundle: seconds until its first price, and what it occupies then."""

    seconds: float
    resident_mb: float


Found = dict[Case, list[Measured]]


def measure(case: Case, folder: Path, calls: int) -> Measured:
    """Time one way, call by call; runs in a process of its own."""
    way, rows, threads, share = case
    make, answer = WAYS[way](folder, rows, threads)
    calls = max(3, round(calls * share))
    for call in range(max(1, calls // 10)):
        answer(make(call))
    seconds = []
    for call in range(calls):
        asked = make(call)
        seconds.append(timed(lambda asked=asked: answer(asked))[0] * 1e6)  # type: ignore[misc]
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    return Measured(statistics.median(seconds), p99, peak_mb())


def start(folder: Path, without: Sequence[str] = ()) -> Start:
    """Load the bundle in a fresh process, price one row, and see how long it took and what is in memory."""
    row = json.dumps(pl.read_parquet(folder / "rows.parquet", n_rows=1).to_dicts()[0])
    command = [sys.executable, "-c", ANSWER, str(folder / "bundle"), row, *without]

    def launch() -> subprocess.Popen[str]:
        made = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert made.stdout
        made.stdout.readline()
        return made

    seconds, process = timed(launch)
    with process:  # it ends when its input does
        return Start(seconds, resident_mb(process.pid))


def one_row_cases() -> list[Case]:
    return [(OURS, 1, 1, 1), (BARE_ROW, 1, 1, 1), (PANDAS, 1, 1, 0.1), (WHY, 1, 1, 0.1)]


def bulk_cases(rows: int, threads: int) -> list[Case]:
    return [(FRAME, rows, threads, 0.003), (BARE_BULK, rows, threads, 0.003), (OURS, rows // 10, threads, 0.01)]


def middle(runs: Sequence[Measured]) -> Measured:
    return Measured(*(statistics.median(values) for values in zip(*runs, strict=True)))


def rate(case: Case, found: Found) -> float:
    """Return rows per second at the median."""
    return case[1] / middle(found[case]).median * 1e6


def print_one_row(found: Found, cases: Sequence[Case], args: argparse.Namespace) -> None:
    table = _table("one raw row to a price, an interval and flags; bare: to a margin, features ready, one thread", args)
    for heading in ("way", "median, µs", "p99, µs", "times ours", "peak, MB"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    base = middle(found[cases[0]]).median
    for case in cases:
        one = middle(found[case])
        table.add_row(case[0], f"{one.median:,.1f}", f"{one.p99:,.1f}", f"{one.median / base:.2f}x", _mb(one.peak_mb))
    _print(table)


def print_bulk(found: Found, cases: Sequence[Case], args: argparse.Namespace) -> None:
    table = _table("raw rows to prices, features included; bare: to margins, its matrix ready", args)
    for heading in ("way", "rows", "threads", "rows/s", "of bare", "peak, MB"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for case in cases:
        way, rows, threads, _ = case
        bare = rate(next(other for other in cases if other[0] == BARE_BULK and other[2] == threads), found)
        peak, speed = middle(found[case]).peak_mb, rate(case, found)
        name = "housecast, list of dicts" if way == OURS else way
        table.add_row(name, f"{rows:,}", str(threads), f"{speed:,.0f}", f"{speed / bare:.2f}x", _mb(peak))
    _print(table)


def print_starts(starts: Sequence[tuple[Start, Start]]) -> None:
    for packages, runs in zip(("serving's packages", "all packages"), zip(*starts, strict=True), strict=True):
        seconds, resident = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{packages}: first price {seconds:.2f} s after starting Python, {resident:,.0f} MB resident then")


def verdicts(found: Found, one_row: Case, bulk: Sequence[Case]) -> list[tuple[str, bool]]:
    """Say of each promise whether this run kept it."""
    median = middle(found[one_row]).median
    checks = [(f"one raw row in at most {ONE_ROW:.0f} µs at the median: {median:.0f}", median <= ONE_ROW)]
    for case in (case for case in bulk if case[0] == FRAME):
        bare = next(other for other in bulk if other[0] == BARE_BULK and other[2] == case[2])
        times = rate(case, found) / rate(bare, found)
        text = f"{case[1]:,} raw rows, {case[2]} thread(s): at least {BULK:g} of bare XGBoost's throughput: {times:.2f}"
        checks.append((text, times >= BULK))
    return checks


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = _arguments(argv)
    one_row = one_row_cases()
    bulk = [case for threads in (1, 2) for case in bulk_cases(args.rows, threads)]
    found: Found = {case: [] for case in (*one_row, *bulk)}
    starts = []
    with tempfile.TemporaryDirectory(prefix="housecast-") as name:
        folder, log, run_in = Path(name), Console(stderr=True), apart(smoke=args.smoke)
        run_in(make_bundle, folder, args.zips, args.rows, args.rounds, args.depth)
        check_agreement(folder)
        for run in range(args.runs):
            for case, runs in found.items():
                with polars_threads(case[2]):
                    runs.append(run_in(measure, case, folder, args.calls))
            starts.append((start(folder, TRAINING), start(folder)))
            log.print(f"run {run + 1} of {args.runs} done", style="dim")
    print_one_row(found, one_row, args)
    print_bulk(found, bulk, args)
    print_starts(starts)
    judge(verdicts(found, one_row[0], bulk), smoke=args.smoke)


def _table(title: str, args: argparse.Namespace) -> Table:
    model = f"{args.rounds} trees, depth {args.depth}, XGBoost {xgb.__version__}, median of {args.runs}"
    return Table(
        title=f"{title}; {model}", caption=machine(), title_justify="left", caption_justify="left", min_width=80
    )


def _mb(value: float) -> str:
    return f"{value:,.0f}"


def _print(table: Table) -> None:
    Console(width=max(Console().width, 120)).print(table)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--zips", type=int, default=705, help="ZIP codes of the simulated market")
    made.add_argument("--rows", type=int, default=100_000, help=f"rows in bulk, at most zips x {MONTHS}")
    made.add_argument("--rounds", type=int, default=500)
    made.add_argument("--depth", type=int, default=8)
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--calls", type=int, default=2000, help="one-row calls in a run")
    made.add_argument("--smoke", action="store_true", help="seconds on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.zips, args.rows, args.rounds, args.depth, args.runs, args.calls = 30, 4_000, 20, 4, 1, 100
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
