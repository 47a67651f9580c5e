"""Measure files that are priced whole beside the Predictor on a frame: rows/s, and memory above an idle process.

The model is that of `benchmarks.predictor`. Each run of each way has a process of its own, in which the way and the
Predictor take turns on the same rows with the same threads; the ways take turns too, and a cell is the median of the
runs. What is answered is taken and dropped. `--smoke` takes seconds and proves only that it runs.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import xgboost as xgb
from rich.console import Console
from rich.table import Table

from benchmarks.market import MONTHS
from benchmarks.measure import apart, judge, machine, peak_mb, polars_threads, timed
from benchmarks.pricing import make_bundle
from src.core.cli import run_command
from src.inference_pipeline.bulk import Format, score
from src.inference_pipeline.predictor import Predictor

# Promised: of the bare Predictor's throughput, and MB above an idle process for ten times the rows.
OF_PREDICTOR, MOST_MB = 0.7, 300
WAYS = {
    "Arrow to Arrow": (Format.ARROW, Format.ARROW),
    "Parquet to Parquet": (Format.PARQUET, Format.PARQUET),
    "CSV to CSV": (Format.CSV, Format.CSV),
    "NDJSON to NDJSON": (Format.NDJSON, Format.NDJSON),
    "NDJSON to Arrow": (Format.NDJSON, Format.ARROW),
}
ARROW, CSV = "Arrow to Arrow", "CSV to CSV"
# A way, the copies of the rows in its body, and the threads.
Case = tuple[str, int, int]


class Measured(NamedTuple):
    """One run of one case: seconds for the body, its rows/s over the bare Predictor's, MB above idle at the most."""

    seconds: float
    of_predictor: float
    added_mb: float


Found = dict[Case, list[Measured]]


def make_bodies(folder: Path, copies: Sequence[int]) -> None:
    """Write the rows in every format, so many times over."""
    rows = pl.read_parquet(folder / "rows.parquet")
    for count in copies:
        frame = pl.concat([rows] * count)
        frame.write_csv(folder / f"{count}.csv")
        frame.write_parquet(folder / f"{count}.parquet")
        # In batches, as whoever has more rows than memory writes them.
        frame.lazy().sink_ipc(folder / f"{count}.arrow", record_batch_size=50_000)
        if count == 1:
            frame.write_ndjson(folder / f"{count}.ndjson")


def measure(case: Case, folder: Path, calls: int) -> Measured:
    """Price a body and a frame in turns."""
    way, copies, threads = case
    kind, answer = WAYS[way]
    predictor, rows = Predictor.load(folder / "bundle"), pl.read_parquet(folder / "rows.parquet")
    predictor.predict(rows.head(1_000), threads)
    idle = _idle_mb()

    def work() -> None:
        for _ in score(folder / f"{copies}.{kind}", kind, predictor, answer, threads=threads, folder=folder):
            pass

    first, _ = timed(work)
    added = peak_mb() - idle
    ours, bare = [first], [timed(lambda: predictor.predict(rows, threads))[0]]
    for _ in range(calls - 1):
        ours.append(timed(work)[0])
        bare.append(timed(lambda: predictor.predict(rows, threads))[0])
    seconds = statistics.median(ours)
    return Measured(seconds, statistics.median(bare) * copies / seconds, added)


def _idle_mb() -> float:
    """Forget the peak of loading, and return what is resident now; NaN where the system cannot."""
    refs = Path("/proc/self/clear_refs")
    if refs.is_file():
        refs.write_text("5")
        return peak_mb()
    return math.nan


def middle(runs: Sequence[Measured]) -> Measured:
    return Measured(*(statistics.median(values) for values in zip(*runs, strict=True)))


def print_cases(found: Found, args: argparse.Namespace) -> None:
    table = Table(
        title=f"a body to an answer; {args.rounds} trees, depth {args.depth}, XGBoost {xgb.__version__}, "
        f"median of {args.runs}",
        caption=machine(),
        title_justify="left",
        caption_justify="left",
        min_width=80,
    )
    for heading in ("way", "rows", "threads", "rows/s", "of Predictor", "MB above idle"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for (way, copies, threads), runs in found.items():
        one, rows = middle(runs), args.rows * copies
        rate = f"{rows / one.seconds:,.0f}"
        table.add_row(way, f"{rows:,}", str(threads), rate, f"{one.of_predictor:.2f}x", f"{one.added_mb:,.0f}")
    Console(width=max(Console().width, 120)).print(table)


def verdicts(found: Found, rows: int) -> list[tuple[str, bool]]:
    """Say of each promise whether this run kept it."""
    checks = []
    for (way, copies, threads), runs in found.items():
        one = middle(runs)
        if way == ARROW and copies == 1:
            text = (
                f"{rows:,} rows of Arrow, {threads} thread(s): at least {OF_PREDICTOR:g} of the Predictor's throughput"
            )
            checks.append((f"{text}: {one.of_predictor:.2f}", one.of_predictor >= OF_PREDICTOR))
        if way == CSV and copies > 1:
            text = f"{rows * copies:,} rows of CSV: at most {MOST_MB} MB above an idle process: {one.added_mb:,.0f}"
            checks.append((text, one.added_mb <= MOST_MB))
    return checks


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = _arguments(argv)
    cases: list[Case] = [(way, 1, threads) for threads in (1, 2) for way in WAYS]
    cases += [(way, args.copies, 2) for way in (ARROW, "Parquet to Parquet", CSV)]
    found: Found = {case: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="housecast-") as name:
        folder, log, run_in = Path(name), Console(stderr=True), apart(smoke=args.smoke)
        run_in(make_bundle, folder, args.zips, args.rows, args.rounds, args.depth)
        run_in(make_bodies, folder, (1, args.copies))
        for run in range(args.runs):
            for case, runs in found.items():
                calls = args.calls if case[1] == 1 else 1
                with polars_threads(case[2]):
                    runs.append(run_in(measure, case, folder, calls))
            log.print(f"run {run + 1} of {args.runs} done", style="dim")
    print_cases(found, args)
    judge(verdicts(found, args.rows), smoke=args.smoke)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--zips", type=int, default=705, help="ZIP codes of the simulated market")
    made.add_argument("--rows", type=int, default=100_000, help=f"rows of a body, at most zips x {MONTHS}")
    made.add_argument("--copies", type=int, default=10, help="times the rows, of the large bodies")
    made.add_argument("--rounds", type=int, default=500)
    made.add_argument("--depth", type=int, default=8)
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--calls", type=int, default=5, help="calls of each in a run")
    made.add_argument("--smoke", action="store_true", help="seconds on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.zips, args.rows, args.rounds, args.depth, args.runs, args.calls, args.copies = 30, 2_000, 10, 4, 1, 1, 2
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
