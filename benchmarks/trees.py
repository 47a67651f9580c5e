"""Compare the compiled trees with XGBoost: rows/s in bulk, microseconds for one row, peak memory.

Each run of each way has a process of its own, and the ways take turns; a cell is the median of the runs.
`--smoke` takes seconds and proves only that it runs.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost as xgb
from rich.console import Console
from rich.table import Table

from benchmarks.measure import apart, machine, peak_mb, timed
from src.core.cli import run_command
from src.core.errors import GateError
from src.inference_pipeline.trees import Floats, Trees

# How one way makes its matrix, and how it evaluates one.
Way = tuple[Callable[[Floats], Any], Callable[[Any], Floats]]


class Measured(NamedTuple):
    """What one run of one way found; the margins' bytes are compared between the ways."""

    prepare_seconds: float
    rows_per_second: float
    one_row_microseconds: float
    peak_mb: float
    margins: bytes


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = read_arguments(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_in = apart(smoke=args.smoke)
        run_in(make_model, folder, args)
        found: dict[str, list[Measured]] = {way: [] for way in WAYS}
        for _ in range(args.runs):
            for way in WAYS:
                found[way].append(run_in(measure, way, folder, args.threads, args.calls))
    if len({run.margins for runs in found.values() for run in runs}) > 1:
        raise GateError("the compiled trees do not agree with XGBoost to the last bit")
    print_table(found, args)


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=45)
    parser.add_argument("--missing", type=float, default=0.05, help="share of the values that are missing")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1000, help="one-row calls in a run")
    parser.add_argument("--smoke", action="store_true", help="a small model, one run")
    args = parser.parse_args(argv)
    if args.smoke:
        args.rows, args.rounds, args.depth, args.runs, args.calls = 2_000, 10, 4, 1, 20
    return args


def make_model(folder: Path, args: argparse.Namespace) -> None:
    random = np.random.default_rng(7)
    X = random.normal(size=(args.rows, args.features)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]) + 0.1 * X.sum(axis=1) + 0.3 * random.normal(size=args.rows) + 12
    X[random.random(X.shape) < args.missing] = np.nan
    parameters = {"max_depth": args.depth, "learning_rate": 0.05, "tree_method": "hist"}
    booster = xgb.train(parameters, xgb.DMatrix(X, y), args.rounds)
    booster.save_model(folder / "model.ubj")
    np.save(folder / "X.npy", X)


def measure(way: str, folder: Path, threads: int, calls: int) -> Measured:
    """Load the model and time one way: all rows at once, their matrix ready, then rows one by one."""
    X = np.load(folder / "X.npy")
    booster = xgb.Booster({"nthread": threads}, model_file=folder / "model.ubj")
    prepare_seconds, (ready, predict) = timed(lambda: WAYS[way](booster, threads))
    predict(ready(X[: len(X) // 10]))
    matrix = ready(X)  # a new one: XGBoost remembers what it answered for a matrix
    bulk_seconds, margins = timed(lambda: predict(matrix))

    def answer(row: Floats) -> Floats:
        return predict(ready(row))

    rows = [X[i : i + 1].copy() for i in range(min(calls, len(X)))]
    one_row = statistics.median([timed(partial(answer, row))[0] for row in rows])
    return Measured(prepare_seconds, len(X) / bulk_seconds, one_row * 1e6, peak_mb(), margins.tobytes())


def xgboost_predict(booster: xgb.Booster, threads: int) -> Way:
    return lambda X: xgb.DMatrix(X, nthread=threads), lambda matrix: booster.predict(matrix, output_margin=True)


def xgboost_inplace(booster: xgb.Booster, _: int) -> Way:
    return lambda X: X, lambda X: booster.inplace_predict(X, predict_type="margin")


def compiled(booster: xgb.Booster, threads: int) -> Way:
    trees = Trees.from_booster(booster)
    return lambda X: X, lambda X: trees.margin(X, threads)


WAYS: dict[str, Callable[[xgb.Booster, int], Way]] = {
    "XGBoost predict": xgboost_predict,
    "XGBoost inplace_predict": xgboost_inplace,
    "compiled trees": compiled,
}


def print_table(found: dict[str, list[Measured]], args: argparse.Namespace) -> None:
    table = Table(
        "",
        *("rows/s", "ratio", "one row, µs", "ratio", "prepare, s", "peak, MB"),
        title=f"{args.rounds} trees of depth {args.depth}, {args.rows:,} rows x {args.features} features, "
        f"{args.missing:.0%} missing, {args.threads} thread(s), XGBoost {xgb.__version__}, median of {args.runs}",
        caption="Equal to the last bit. Bulk: the matrix is made before the clock starts; one row: in its time. "
        f"Peak memory: the process with libraries, model and rows. {machine()}",
    )
    middle = {
        way: [statistics.median(values) for values in zip(*(run[:4] for run in runs), strict=True)]
        for way, runs in found.items()
    }
    _, base_rate, base_one, _ = middle["XGBoost predict"]
    for way, (prepare, rate, one, peak) in middle.items():
        bulk = (f"{rate:,.0f}", f"{rate / base_rate:.2f}")
        table.add_row(way, *bulk, f"{one:,.1f}", f"{base_one / one:.1f}", f"{prepare:.2f}", f"{peak:,.0f}")
    Console(width=max(Console().width, 120)).print(table)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
