"""Measure training beside bare `xgboost.train` on the same matrix: same parameters, same rounds, same threads.

Ours: checks, the linear trend, binning and fitting of the whole of train. Bare: `DMatrix` and `xgboost.train`, given
the same label. They take turns in one process. Early stopping, which finds the rounds and which bare training does not
do, is timed apart. Peak memory is that of a process which reads the matrix and fits a few rounds. On busy cores use
`--threads 1`: several threads wait for each other there, in both.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import xgboost as xgb
from rich.console import Console
from rich.table import Table

from benchmarks.market import MONTHS, settings_in, to_features
from benchmarks.measure import apart, judge, machine, peak_mb, timed
from src.core import scale
from src.core.cli import run_command
from src.core.config import DatasetConfig, load_config
from src.feature_pipeline.feature_engineering import Matrix, read_matrix
from src.training_pipeline import train
from src.training_pipeline import xgb as family
from src.training_pipeline.families import Rows, check_rows
from src.training_pipeline.folds import last_months, month_numbers

# What the project promises: wall time in that of bare training.
LIMIT = 1.15
OURS, BARE = "housecast", "bare xgboost.train"
PEAK_ROUNDS = 20


def ours(data: Matrix, config: DatasetConfig, params: family.Params, rounds: int) -> float:
    def fit() -> xgb.Booster:
        family.check_params(params, config)
        check_rows(Rows(data.X, data.y), config)
        return train.fit_all(Rows(data.X, data.y), config, params, rounds)

    return timed(fit)[0]


def bare(data: Matrix, config: DatasetConfig, params: family.Params, rounds: int) -> float:
    trend = family.trend(data.X, data.y, config, params)
    label = scale.forward(config.target.transform, data.y) - trend(data.X)
    plain = {name: value for name, value in params.items() if name != family.TREND_SHARE}
    return timed(lambda: xgb.train(plain, xgb.DMatrix(data.X, label=label), rounds))[0]


FITS = {OURS: ours, BARE: bare}


def stopping(data: Matrix, config: DatasetConfig, params: family.Params) -> int:
    """Find the rounds as training does."""
    split = last_months(month_numbers(data.meta[config.split.column]), config.model.early_stopping.months)
    rows = Rows(data.X, data.y)
    return family.contest(rows[split.fit], rows[split.judge], config)(params).rounds


def peak_of(way: str, path: Path, config: DatasetConfig, params: family.Params) -> float:
    """Fit a few rounds and return the process's peak memory in MB; runs in a process of its own."""
    FITS[way](read_matrix(path, config), config, params, PEAK_ROUNDS)
    return peak_mb()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = _arguments(argv)
    config = load_config("housets")
    with tempfile.TemporaryDirectory(prefix="housecast-") as name:
        path = args.features and args.features / "train.parquet"
        if path is None:
            source = f"simulate:zips={args.zips},months={MONTHS},seed=7"
            path = to_features(config, settings_in(Path(name)), source).features / "train.parquet"
        data = read_matrix(path, config)
        params = family.params_of(config, {}, args.threads)
        peaks = {way: apart(smoke=args.smoke)(peak_of, way, path, config, params) for way in FITS}
    bare(data, config, params, 5)
    seconds: dict[str, list[float]] = {way: [] for way in FITS}
    for _ in range(args.runs):
        for way, fit in FITS.items():
            seconds[way].append(fit(data, config, params, args.rounds))
    stop_seconds, stop_rounds = timed(lambda: stopping(data, config, params))
    Console(width=max(Console().width, 120)).print(
        _table(seconds, peaks, len(data.y), params.get("num_parallel_tree", 1), args)
    )
    print(f"early stopping, apart: {stop_rounds} rounds in {stop_seconds:.1f} s")
    ratio = slower(seconds)
    judge([(f"at most {LIMIT:g} times the wall time of bare XGBoost: {ratio:.2f}", ratio <= LIMIT)], smoke=args.smoke)


def slower(seconds: dict[str, list[float]]) -> float:
    """Return our time in that of bare training: the median of the ratios run by run."""
    return statistics.median(mine / theirs for mine, theirs in zip(seconds[OURS], seconds[BARE], strict=True))


def _table(
    seconds: dict[str, list[float]], peaks: dict[str, float], rows: int, trees: int, args: argparse.Namespace
) -> Table:
    threads = args.threads or "all"
    made = Table(
        title=f"training on {rows:,} rows, {args.rounds} rounds x {trees} trees, {threads} threads, "
        f"XGBoost {xgb.__version__}, median of {args.runs}",
        caption=machine(),
        title_justify="left",
        caption_justify="left",
    )
    made.add_column("way")
    for heading in ("wall, s", "of bare", "peak, MB"):
        made.add_column(heading, justify="right")
    for way, runs in seconds.items():
        ratio = slower(seconds) if way == OURS else 1.0
        spread = f"{statistics.median(runs):.2f} ({min(runs):.2f} to {max(runs):.2f})"
        made.add_row(way, spread, f"{ratio:.2f}x", f"{peaks[way]:,.0f}")
    return made


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--features", type=Path, help="folder of features; those of a simulated market if not given")
    made.add_argument("--zips", type=int, default=705, help="ZIP codes of the simulated market")
    made.add_argument("--rounds", type=int, default=200)
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--threads", type=int, default=0, help="0: all cores")
    made.add_argument("--smoke", action="store_true", help="seconds on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.zips, args.rounds, args.runs, args.threads = 30, 20, 1, 1
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
