"""A market with a small model, its monthly predictions and an API that serves both, for the dashboard's tests.

Its rows are the real ones of HouseTS where they are at hand, and simulated ones elsewhere.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import polars as pl

from src.core.config import PROJECT
from tests.conftest import SHARED
from tests.serving import LEAN, Server, Small, free_port, make_small, serving, until

REAL = SHARED / "housets" / "HouseTS_sample.csv"


def make_market(folder: Path) -> Small:
    """Publish a model and run the monthly batch over the rows that it was made with."""
    small = make_small(folder, rows=3_000, file=REAL if REAL.is_file() else None)
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


@contextmanager
def dashboard_of(folder: Path, api: str) -> Iterator[str]:
    """Run the dashboard before an API; yields its address. Its log is in `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with (folder / "dashboard.log").open("w") as log:
        process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "API_URL": api}, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_up(url), "the dashboard")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_stcore/health").status_code == 200
    except httpx.TransportError:
        return False
