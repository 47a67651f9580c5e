"""Measure the feature pipeline, from the raw CSV to finished features, beside the same work in pandas.

Ours runs its three stages, which leave the raw and the clean splits and the features in Parquet, and the input's
SHA-256. pandas does the same in one process; it also runs without the fingerprint and the files between, which later
stages need, and in stages that hand CSV files to each other. Every way has a process of its own, and the ways take
turns.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import Measured, compare, judge, table, times_slower
from src.core.cli import run_command
from src.core.errors import GateError

OURS = "housecast"
ONE_PROCESS = "pandas"
FEATURES_ONLY = "pandas, features only"
STAGES = "pandas, CSV stages"
# What the project promises for the full-size file on two cores.
SECONDS, PEAK_MB = 12.0, 2500.0
SLOWER = {ONE_PROCESS: 2.5, STAGES: 8.0}


def ours(source: Path, folder: Path) -> None:
    """Run the project's stages."""
    from src.core.config import Settings, load_config
    from src.feature_pipeline import feature_engineering, load, preprocess

    config = load_config("housets")
    load.run(config, str(source), Settings(workspace=folder), folder / "raw")
    preprocess.run(config, folder / "raw", folder / "processed")
    feature_engineering.run(config, folder / "processed", folder / "features")


def pandas_in_memory(source: Path, folder: Path, *, everything: bool) -> None:
    # Imported here, so that only the processes that use pandas pay for it.
    from benchmarks import pandas_features

    pandas_features.in_memory(source, folder, everything=everything)


def pandas_through_csv(source: Path, folder: Path) -> None:
    from benchmarks import pandas_features

    pandas_features.through_csv(source, folder)


def simulate(path: Path, zips: int, months: int) -> None:
    from src.feature_pipeline.simulate import write_csv

    write_csv(path, zips=zips, months=months, seed=7)


def compare_results(folder: Path) -> None:
    """Hold that the ways that end in Parquet made the same features, to float32's precision."""
    import numpy as np
    import polars as pl

    for name in ("train", "eval", "holdout"):
        made = pl.read_parquet(folder / "ours" / "features" / f"{name}.parquet")
        for way in ("one", "only"):
            other = pl.read_parquet(folder / way / "features" / f"{name}.parquet")
            if made.columns != other.columns or made.height != other.height:
                raise GateError(f"{name}: {way} has other rows or columns than ours")
            for column, kind in made.schema.items():
                mine, theirs = made[column], other[column].cast(kind)
                same = (
                    np.allclose(mine.to_numpy(), theirs.to_numpy(), rtol=1e-6, atol=0, equal_nan=True)
                    if kind.is_float()
                    else mine.equals(theirs)
                )
                if not same:
                    raise GateError(f"{name}: {column} of {way} differs from ours")


def verdicts(found: dict[str, list[Measured]]) -> list[tuple[str, bool]]:
    """Say of each promise whether this run kept it."""
    seconds = statistics.median(run.seconds for run in found[OURS])
    peak, pandas_peak = (statistics.median(run.peak_mb for run in found[way]) for way in (OURS, ONE_PROCESS))
    checks = [
        (f"at most {SECONDS:.0f} s: {seconds:.1f}", seconds <= SECONDS),
        (f"at most {PEAK_MB:,.0f} MB: {peak:,.0f}", peak <= PEAK_MB),
        (f"no more memory than {ONE_PROCESS}: {peak:,.0f} and {pandas_peak:,.0f} MB", peak <= pandas_peak),
    ]
    for way, least in SLOWER.items():
        times = times_slower(found, way, OURS)
        checks.append((f"{way}: at least {least:g} times slower: {times:.1f}", times >= least))
    return checks


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    from rich.console import Console

    args = _arguments(argv)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="housecast-") as name:
        folder = Path(name)
        source = args.input or folder / "market.csv"
        if args.input is None:
            console.print(f"simulating {args.zips:,} ZIP codes x {args.months} months ...")
            simulate(source, args.zips, args.months)
        ways = {
            OURS: partial(ours, source, folder / "ours"),
            ONE_PROCESS: partial(pandas_in_memory, source, folder / "one", everything=True),
            FEATURES_ONLY: partial(pandas_in_memory, source, folder / "only", everything=False),
            STAGES: partial(pandas_through_csv, source, folder / "stages"),
        }
        found = compare(ways, args.runs)
        compare_results(folder)
    title = f"{args.input or f'{args.zips * args.months:,} rows'}: CSV to features, median of {args.runs}"
    console.print(table(title, found, OURS))
    judge(verdicts(found), smoke=args.smoke)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--input", type=Path, default=None, help="a CSV like HouseTS; a simulated one if not given")
    made.add_argument("--zips", type=int, default=6226, help="ZIP codes of the simulated market (default 6226)")
    made.add_argument("--months", type=int, default=142, help="months of the simulated market (default 142)")
    made.add_argument("--runs", type=int, default=3, help="runs of each way (default 3)")
    made.add_argument("--smoke", action="store_true", help="seconds on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.zips, args.runs = 30, 1
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
