"""Training time beside bare `xgboost.train` on the same matrix: same parameters, same rounds, same threads.

    python benchmarks/training.py [--features data/features] [--rounds 500] [--repeats 5]

Ours: checks, the linear trend, binning and fitting of the whole of train. Bare: `DMatrix` and `xgboost.train`, given
the same label. They take turns, and the medians are compared. Early stopping, which finds the rounds and which bare
training does not do, is timed apart. Peak memory is that of a process which reads the matrix and fits. Exits with 1
above `--limit`. On busy cores use `--threads 1`: several threads wait for each other there, in both.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import xgboost as xgb

from src.core import scale
from src.core.cli import read_settings
from src.core.config import DatasetConfig, load_config
from src.core.workspace import Workspace
from src.feature_pipeline.feature_engineering import Matrix, read_matrix
from src.training_pipeline import train
from src.training_pipeline import xgb as family
from src.training_pipeline.folds import last_months, month_numbers


def ours(data: Matrix, config: DatasetConfig, params: family.Params, rounds: int) -> float:
    start = time.perf_counter()
    family.check_params(params)
    family.check_rows(data.X, data.y, config)
    train.fit_all(data, config, params, family.trend(data.X, data.y, config, params), rounds)
    return time.perf_counter() - start


def bare(data: Matrix, config: DatasetConfig, params: family.Params, rounds: int) -> float:
    trend = family.trend(data.X, data.y, config, params)
    label = scale.forward(config.target.transform, data.y) - trend(data.X)
    plain = {name: value for name, value in params.items() if name != family.TREND_SHARE}
    start = time.perf_counter()
    xgb.train(plain, xgb.DMatrix(data.X, label=label), rounds)
    return time.perf_counter() - start


def stopping(data: Matrix, config: DatasetConfig, params: family.Params) -> tuple[float, int]:
    start = time.perf_counter()
    split = last_months(month_numbers(data.meta[config.split.column]), config.model.early_stopping.months)
    trend = family.trend(data.X[split.fit], data.y[split.fit], config, params)
    fit_on = family.matrix(data.X[split.fit], data.y[split.fit], config, params, trend)
    judge_on = family.matrix(data.X[split.judge], data.y[split.judge], config, params, trend, ref=fit_on)
    rounds = family.fit_until_worse(params, fit_on, judge_on, config).rounds
    return time.perf_counter() - start, rounds


FITS = {"ours": ours, "bare": bare}


def peak_mb(which: str, args: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--only", which, "--features", str(args.features), "--dataset", args.dataset]
    done = subprocess.run(
        [*command, "--rounds", "20", "--threads", str(args.threads)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def only(which: str, data: Matrix, config: DatasetConfig, params: family.Params, rounds: int) -> None:
    FITS[which](data, config, params, rounds)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--dataset", default="housets")
    flags.add_argument("--features", type=Path, help="folder of the features (the workspace's if not given)")
    flags.add_argument("--rounds", type=int, default=500)
    flags.add_argument("--repeats", type=int, default=5)
    flags.add_argument("--threads", type=int, default=0, help="0: all cores")
    flags.add_argument("--limit", type=float, default=1.15)
    flags.add_argument("--only", choices=sorted(FITS), help=argparse.SUPPRESS)
    args = flags.parse_args()
    config = load_config(args.dataset)
    args.features = args.features or Workspace.of(config.name, read_settings()).features
    data = read_matrix(args.features / "train.parquet", config)
    params = family.booster_params(config, {}, args.threads)
    if args.only:
        only(args.only, data, config, params, args.rounds)
        return 0
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    bare(data, config, params, 5)
    for _ in range(args.repeats):
        for name, fit in FITS.items():
            seconds[name].append(fit(data, config, params, args.rounds))
    stop_seconds, stop_rounds = stopping(data, config, params)
    ours_s, bare_s = (statistics.median(seconds[name]) for name in ("ours", "bare"))
    result = {
        "rows": len(data.y),
        "features": len(config.feature_names),
        "rounds": args.rounds,
        "threads": args.threads,
        "ours_s": round(ours_s, 2),
        "bare_s": round(bare_s, 2),
        "ratio": round(ours_s / bare_s, 3),
        "limit": args.limit,
        "early_stopping_s": round(stop_seconds, 2),
        "early_stopping_rounds": stop_rounds,
        "ours_peak_mb": round(peak_mb("ours", args)),
        "bare_peak_mb": round(peak_mb("bare", args)),
    }
    print(json.dumps(result, indent=2))
    return int(result["ratio"] > args.limit)


if __name__ == "__main__":
    raise SystemExit(main())
