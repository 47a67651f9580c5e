"""Run the benchmarks that the README's figures come from, each in a process of its own."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.measure import machine
from src.core.cli import EXIT_CODES, run_command
from src.core.config import PROJECT
from src.core.errors import GateError
from src.core.files import replacing

NAMES = ("features", "trees", "training", "predictor", "bulk", "serving", "soak", "summary", "dashboard", "accuracy")
RESULTS = PROJECT / "benchmarks" / "results"
COLUMNS = 120


def run(name: str, flags: Sequence[str]) -> tuple[str, int]:
    """Run one benchmark, show what it prints as it comes, and return that with the exit code."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *flags]
    environment = {"LOG_LEVEL": "WARNING", **os.environ, "COLUMNS": str(COLUMNS)}
    printed = []
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            printed.append(line)
    return "".join(printed), process.returncode


def main(argv: Sequence[str] | None = None) -> None:
    """Run all benchmarks, or those that are named, whatever becomes of the others.

    Raises:
        GateError: a benchmark failed or missed a promise; names it.
    """
    args = _arguments(argv)
    console = Console(width=COLUMNS)
    console.print(machine())
    failed = []
    for name in args.only:
        console.rule(name, align="left")
        printed, code = run(name, ["--smoke"] if args.smoke else [])
        if code:
            failed.append(name)
        if args.save and printed:
            with replacing(args.results / f"{name}.txt") as path:
                path.write_text(printed, encoding="utf-8")
    if failed:
        raise GateError(f"failed, or missed what is promised: {', '.join(failed)}; see above")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=EXIT_CODES)
    made.add_argument("--smoke", action="store_true", help="a minute on small data: proves only that they run")
    made.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    made.add_argument("--save", action="store_true", help="write what each prints to benchmarks/results/NAME.txt")
    made.add_argument("--results", type=Path, default=RESULTS, help="another folder for --save")
    return made.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
