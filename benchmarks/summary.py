"""Measure what is asked of the batch's output: scores by month and region, and pages of rows, beside pandas.

Months of 6,226 ZIP codes in 30 regions, as the batch writes them. Ours follows the folder; pandas reads the same files
into one frame, with names as categories. Each run of each way has a process of its own, and the ways take turns; a cell
is the median of the runs' medians.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.measure import apart, judge, machine, peak_mb, timed
from src.core import sealed_parquet
from src.core.cli import run_command
from src.core.config import load_config
from src.core.errors import GateError
from src.core.predictions_store import FolderPredictions, file_name
from src.inference_pipeline.batch_output import BatchOutput
from src.inference_pipeline.priced_rows import By, Selection

if TYPE_CHECKING:
    import pandas as pd

OURS, PANDAS = "housecast", "pandas"
GROUPS: dict[str, By] = {"overall": "none", "by month": "month", "by region": "region", "by both": "month,region"}
PAGE = "a page of one region, by price"
REGIONS, PAGE_ROWS = 30, 100
LEVELS, SIDES = ("80", "95"), (("lower", -1), ("upper", 1))
# What the project promises: all regions of all months of 150,000 rows, and what a million rows occupy.
MILLISECONDS, FRAME_MB = 100.0, 150.0
# What it answers, as rows that can be compared, and how to ask it.
Asked = dict[str, Callable[[], Any]]


class Measured(NamedTuple):
    """One run of one way: seconds until the rows are there, milliseconds a question, MB of the rows and at the peak."""

    load_seconds: float
    milliseconds: dict[str, float]
    rows_mb: float
    peak_mb: float
    answer: list[tuple[Any, ...]]


def make_months(folder: Path, months: int, zips: int) -> None:
    """Write months of predictions as the batch does."""
    draw, store = np.random.default_rng(7), FolderPredictions(folder)
    names = [f"{code:05}" for code in draw.choice(100_000, zips, replace=False)]
    regions = [f"region {number:02}" for number in draw.integers(0, REGIONS, zips)]
    for number in range(months):
        day = date(2012 + number // 12, number % 12 + 1, 28)
        actual = np.exp(draw.normal(12.8, 0.5, zips))
        estimate = actual * np.exp(draw.normal(0, 0.1, zips))
        widths = zip(LEVELS, (0.13, 0.2), strict=True)
        bounds = {f"{side}_{level}": estimate * (1 + sign * width) for level, width in widths for side, sign in SIDES}
        frame = pl.DataFrame(
            {"zipcode": names, "date": [day] * zips, "city_full": regions, "predicted_price": estimate}
        )
        rest: dict[str, Any] = {
            "flags": pl.lit(""),
            "actual_price": actual,
            "model_version": pl.lit("20261120T231500Z-1a2b3c4d"),
        }
        content = sealed_parquet.to_bytes(frame.with_columns(**bounds, **rest))
        store.put(file_name(f"{day:%Y-%m}"), content)


def housecast(folder: Path) -> tuple[Asked, float]:
    rows = BatchOutput(load_config("housets"), FolderPredictions(folder)).now()
    selection = Selection(regions=("region 03",))
    asked: Asked = {name: partial(rows.summary, by) for name, by in GROUPS.items()}
    asked[PAGE] = lambda: rows.page(selection, sort="predicted_price", limit=PAGE_ROWS).frame
    return asked, float(rows.frame.estimated_size())


def pandas(folder: Path) -> tuple[Asked, float]:
    import pandas as pd

    frame = pd.concat([pd.read_parquet(path) for path in sorted(folder.iterdir())], ignore_index=True)
    frame["month"] = pd.to_datetime(frame["date"]).dt.strftime("%Y-%m")
    texts = ["zipcode", "city_full", "flags", "model_version", "month"]
    frame = frame.astype(dict.fromkeys(texts, "category")).rename(columns={"city_full": "region"})
    frame["date"] = pd.to_datetime(frame["date"])
    asked: Asked = {name: partial(_summed, frame, by) for name, by in GROUPS.items()}
    asked[PAGE] = lambda: frame[frame["region"] == "region 03"].sort_values("predicted_price").head(PAGE_ROWS)
    return asked, float(frame.memory_usage(deep=True).sum())


def _summed(frame: "pd.DataFrame", by: By) -> "pd.DataFrame":
    actual, predicted = frame["actual_price"], frame["predicted_price"]
    error = predicted - actual
    rows = frame[["month", "region"]].assign(
        n=1,
        actual=actual,
        predicted=predicted,
        mae=error.abs(),
        squared=error**2,
        mape=error.abs() / actual,
        bias=error,
    )
    for level in LEVELS:
        lower, upper = frame[f"lower_{level}"], frame[f"upper_{level}"]
        rows[f"coverage_{level}"] = (lower <= actual) & (actual <= upper)
        rows[f"width_{level}"] = upper - lower
        rows[f"relative_{level}"] = (upper - lower) / predicted
    measured = [name for name in rows.columns if name not in ("month", "region", "n")]
    kinds = {"n": ("n", "size"), "mdape": ("mape", "median"), **{name: (name, "mean") for name in measured}}
    keys = [] if by == "none" else by.split(",")
    groups = rows.groupby(keys, observed=True) if keys else rows.groupby(np.zeros(len(rows)))
    found = groups.agg(**kinds)
    return found.assign(rmse=found["squared"] ** 0.5)


WAYS: dict[str, Callable[[Path], tuple[Asked, float]]] = {OURS: housecast, PANDAS: pandas}


def measure(way: str, folder: Path, calls: int) -> Measured:
    """Load the months and ask each question `calls` times; runs in a process of its own."""
    for package in ("pandas", "pyarrow.parquet") if way == PANDAS else ():
        import_module(package)  # not a part of reading the files
    seconds, (asked, rows_bytes) = timed(lambda: WAYS[way](folder))
    found = {}
    for name, ask in asked.items():
        ask()
        found[name] = statistics.median(timed(ask)[0] * 1000 for _ in range(calls))
    return Measured(seconds, found, rows_bytes / 1e6, peak_mb(), _comparable(asked["by both"]()))


def _comparable(summed: Any) -> list[tuple[Any, ...]]:
    """Return month, region and a few of the scores, whoever made them."""
    columns = ["month", "region", "n", "mae", "rmse", "mape", "mdape", "bias", "coverage_80"]
    frame = summed if isinstance(summed, pl.DataFrame) else pl.DataFrame(summed.reset_index().to_dict("list"))
    return frame.select(columns).sort("month", "region").rows()


def check_agreement(found: dict[str, list[Measured]]) -> None:
    """Hold that both ways said the same (GateError)."""
    ours, theirs = (found[way][0].answer for way in (OURS, PANDAS))
    same = [row[:3] for row in ours] == [row[:3] for row in theirs] and np.allclose(
        [row[3:] for row in ours], [row[3:] for row in theirs], rtol=1e-9
    )
    if not same:
        raise GateError("pandas has other scores than housecast: the comparison would mean nothing")


def print_table(rows: int, found: dict[str, list[Measured]], args: argparse.Namespace) -> None:
    table = Table(title=f"{rows:,} rows in memory, median of {args.runs} x {args.calls}", caption=machine())
    table.title_justify = table.caption_justify = "left"
    for heading in ("question", "way", "median, ms", "times ours"):
        table.add_column(heading, justify="left" if heading in ("question", "way") else "right", no_wrap=True)
    for name in (*GROUPS, PAGE):
        for way in WAYS:
            times = _middle(found, way, name) / _middle(found, OURS, name)
            table.add_row(name, way, f"{_middle(found, way, name):,.1f}", f"{times:.1f}x")
    for way, runs in found.items():
        load, size, peak = (
            statistics.median(values) for values in zip(*((r[0], r[2], r[3]) for r in runs), strict=True)
        )
        table.add_row("(reading the files)", way, f"{1000 * load:,.0f}", f"{size:,.0f} MB of rows, peak {peak:,.0f} MB")
    Console(width=max(Console().width, 120)).print(table)


def _middle(found: dict[str, list[Measured]], way: str, question: str) -> float:
    return statistics.median(run.milliseconds[question] for run in found[way])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = _arguments(argv)
    checks = []
    for months in args.months:
        with tempfile.TemporaryDirectory(prefix="housecast-") as name:
            folder = Path(name)
            make_months(folder, months, args.zips)
            found: dict[str, list[Measured]] = {way: [] for way in WAYS}
            for _ in range(args.runs):
                for way in WAYS:
                    found[way].append(apart(smoke=args.smoke)(measure, way, folder, args.calls))
        check_agreement(found)
        print_table(months * args.zips, found, args)
        both, size = _middle(found, OURS, "by both"), found[OURS][0].rows_mb
        if months == args.months[0]:
            checks.append((f"all regions of all months within {MILLISECONDS:.0f} ms: {both:.0f}", both <= MILLISECONDS))
        checks.append((f"{months * args.zips:,} rows in {FRAME_MB:.0f} MB: {size:.0f}", size <= FRAME_MB))
    judge(checks, smoke=args.smoke)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--months", type=int, nargs="+", default=[24, 161], help="months of each size (default 24 161)")
    made.add_argument("--zips", type=int, default=6226, help="ZIP codes (default 6226)")
    made.add_argument("--runs", type=int, default=3, help="processes of each way (default 3)")
    made.add_argument("--calls", type=int, default=7, help="calls of each question in a process (default 7)")
    made.add_argument("--smoke", action="store_true", help="seconds on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.months, args.zips, args.runs, args.calls = [3], 60, 1, 2
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
