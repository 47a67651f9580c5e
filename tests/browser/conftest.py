"""A real browser before a real dashboard before a real API."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.market import dashboard_of, make_market, market_served
from tests.serving import Server, Small
from tests.system_parts import require_program


@dataclass
class Market:
    """Where the API and the dashboard listen, and what they show."""

    folder: Path
    small: Small
    api: Server
    url: str


@pytest.fixture(scope="module")
def market(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    small = make_market(folder)
    with market_served(folder, small) as api, dashboard_of(folder, api.url) as url:
        yield Market(folder, small, api, url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Of a module, as Playwright keeps an event loop running, beside which no other test could start its own.
    path = require_program("chromium", "Chromium")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
