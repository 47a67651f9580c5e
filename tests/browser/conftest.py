"""A real browser before a real dashboard before a real API."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from src.core.config import PROJECT
from tests.market import make_market, market_served
from tests.serving import Server, Small, free_port, until
from tests.system_parts import require_program


@dataclass
class Market:
    """Where the API and the dashboard listen, and what they show."""

    folder: Path
    small: Small
    api: Server
    url: str


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    small = make_market(folder)
    with market_served(folder, small) as api:
        port = free_port()
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        with (folder / "dashboard.log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=PROJECT, env={**os.environ, "API_URL": api.url}, stdout=log, stderr=log
            )
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _is_up(url), "the dashboard")
            yield Market(folder, small, api, url)
        finally:
            process.terminate()
            process.wait(30)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_stcore/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = require_program("chromium", "Chromium")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
