"""A small market with a model, its monthly predictions and an API that serves both, for the dashboard's tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from src.core.config import PROJECT
from tests.serving import LEAN, Server, Small, make_small, serving


def make_market(folder: Path) -> Small:
    """Publish a model and run the monthly batch over the rows that it was made with."""
    small = make_small(folder, rows=3_000)
    pl.DataFrame(small.rows).write_csv(folder / "rows.csv")
    told = {**os.environ, **environment(folder, small)}
    command = [sys.executable, "src/batch/run_monthly.py", "--input", str(folder / "rows.csv")]
    subprocess.run(command, cwd=PROJECT, env=told, check=True, capture_output=True)
    return small


def environment(folder: Path, small: Small) -> dict[str, str]:
    return {"WORKSPACE": str(folder), "MODEL_STORE": str(small.store.root), "RATE_LIMIT": "0"}


@contextmanager
def market_served(folder: Path, small: Small, port: int | None = None) -> Iterator[Server]:
    with serving(folder, port=port, **LEAN, **environment(folder, small)) as server:
        yield server
