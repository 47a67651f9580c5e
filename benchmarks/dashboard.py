"""Measure the dashboard in a real browser: the first view, the time from a click to the whole page, bytes, memory.

A small model, months of 6,226 ZIP codes in 30 regions as the monthly batch writes them, Chromium on the same machine.
An interaction is one choice in a filter; it ends when the new numbers are there and the page is at rest.

Chromium is Debian's package: `apt-get update && apt-get install chromium`.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.measure import alone, judge, machine
from benchmarks.pricing import make_bundle
from benchmarks.processes import Running, free_port, running
from benchmarks.summary import make_months
from src.core.cli import run_command
from src.core.errors import ConfigError
from src.core.store import FolderStore

# What the project promises: seconds, kB over the wire, MB of the dashboard's server.
FIRST, MEDIAN, P95, KILOBYTES, SESSIONS, RESIDENT = 2.0, 0.5, 1.0, 300.0, 20, 600.0
# Text content, unlike inner text, makes the browser lay nothing out: the question costs the page next to nothing.
AT_REST = """text => {
  const app = document.querySelector('[data-testid="stApp"]')
  const captions = document.querySelectorAll('[data-testid="stCaptionContainer"]')
  const there = [...captions].some(one => one.textContent.startsWith(text))
  return app && app.dataset.testScriptState === "notRunning" && there
}"""
EVERYTHING = "All months, all regions"
PATIENCE = 60_000  # ms


class Measured(NamedTuple):
    """The dashboard before so many rows."""

    rows: int
    first: float
    interactions: list[float]
    kilobytes: list[float]
    resident: float
    resident_of_many: float


@contextmanager
def served(folder: Path, months: int, zips: int) -> Iterator[tuple[str, Running]]:
    """Serve months of predictions; yields the dashboard's address and its process."""
    make_months(folder / "predictions", months, zips)
    port, own = free_port(), free_port()
    told = {"WORKSPACE": str(folder), "MODEL_STORE": str(folder.parent / "models"), "RATE_LIMIT": "0"}
    api = [sys.executable, "-m", "src.api.main", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    dashboard = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(own)]
    here = f"http://127.0.0.1:{own}"
    with (
        running(api, told, f"{url}/health/ready", folder / "api.log"),
        running(dashboard, {"API_URL": url}, f"{here}/_stcore/health", folder / "dashboard.log") as process,
    ):
        yield here, process


def measure(browser: Browser, folder: Path, months: int, args: argparse.Namespace) -> Measured:
    with served(folder, months, args.zips) as (url, process):
        visit(browser, url)  # the server imports, and the API reads the months
        first = visit(browser, url)
        page = browser.new_page()
        taken = [0]
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: _add(taken, frame)))
        page.goto(url)
        page.wait_for_function(AT_REST, arg=EVERYTHING, polling="raf", timeout=PATIENCE)
        seconds, kilobytes = [], []
        for title, option, text in choices(args.rounds):
            taken[0] = 0
            seconds.append(choose(page, title, option, text))
            kilobytes.append(taken[0] / 1e3)
        page.close()
        alone_mb = process.resident_mb()
        pages = [browser.new_context().new_page() for _ in range(args.sessions)]
        for opened in pages:
            opened.goto(url)
            opened.wait_for_function(AT_REST, arg=EVERYTHING, polling="raf", timeout=PATIENCE)
        for opened in pages:
            choose(opened, "Year", "2013", "2013, all regions")
        return Measured(months * args.zips, first, seconds, kilobytes, alone_mb, process.resident_mb())


def _add(taken: list[int], frame: object) -> None:
    taken[0] += len(frame) if isinstance(frame, bytes | str) else 0


def visit(browser: Browser, url: str) -> float:
    """Open the page in a new session and return the seconds until it is whole."""
    context = browser.new_context()
    page = context.new_page()
    started = perf_counter()
    page.goto(url)
    page.wait_for_function(AT_REST, arg=EVERYTHING, polling="raf", timeout=PATIENCE)
    seconds = perf_counter() - started
    context.close()
    return seconds


def choices(rounds: int) -> Iterator[tuple[str, str, str]]:
    """Yield filter, option, and what the page says then."""
    for number in range(rounds):
        year = str(2012 + number % 2)
        yield "Year", year, f"{year}, all regions"
        yield "Month", "May", f"May {year}, all regions"
        yield "Month", "All months", f"{year}, all regions"
        yield "Year", "All years", EVERYTHING


def choose(page: Page, title: str, option: str, text: str) -> float:
    """Choose an option of a filter and return the seconds until the page shows it."""
    page.get_by_role("combobox", name=title).click()
    wanted = page.get_by_role("option", name=option, exact=True)
    wanted.wait_for()
    started = perf_counter()
    wanted.click()
    page.wait_for_function(AT_REST, arg=text, polling="raf", timeout=PATIENCE)
    return perf_counter() - started


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = _arguments(argv)
    chromium = shutil.which("chromium")
    if chromium is None:
        if not args.smoke:
            raise ConfigError("Chromium is needed: `apt-get update && apt-get install chromium`")
        print("skipped: Chromium, which is not installed")
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="housecast-") as name, sync_playwright() as play:
        folder = Path(name)
        alone(make_bundle, folder, 20, 500, 30, 4)
        store = FolderStore(folder / "models")
        store.promote("housets", store.publish("housets", folder / "bundle"), by="benchmark", why="the only one")
        if chromium:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            found += [measure(browser, folder / str(months), months, args) for months in args.months]
            browser.close()
    report(found)
    judge(verdicts(found) if not args.smoke else [], smoke=args.smoke)


def report(found: Sequence[Measured]) -> None:
    left = {"title_justify": "left", "caption_justify": "left"}
    table = Table(title="the dashboard in Chromium", caption=machine(), min_width=80, **left)  # type: ignore[arg-type]
    for heading in ("rows", "first view, s", "a choice, s", "p95", "kB a choice", "server, MB", "many sessions"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(
            f"{one.rows:,}",
            f"{one.first:.2f}",
            f"{statistics.median(one.interactions):.2f}",
            f"{p95(one):.2f}",
            f"{max(one.kilobytes):,.0f}",
            f"{one.resident:,.0f}",
            f"{one.resident_of_many:,.0f}",
        )
    Console(width=max(Console().width, 120)).print(table)


def p95(one: Measured) -> float:
    return sorted(one.interactions)[int(0.95 * (len(one.interactions) - 1))]


def verdicts(found: Sequence[Measured]) -> list[tuple[str, bool]]:
    """Say of each promise whether the run kept it."""
    made = []
    for one in found:
        middle, rare, most = statistics.median(one.interactions), p95(one), max(one.kilobytes)
        made += [
            (f"{one.rows:,} rows: first view under {FIRST:g} s: {one.first:.2f}", one.first < FIRST),
            (f"{one.rows:,} rows: a choice under {MEDIAN:g} s at the median: {middle:.2f}", middle < MEDIAN),
            (f"{one.rows:,} rows: and under {P95:g} s at the 95th percentile: {rare:.2f}", rare < P95),
            (f"{one.rows:,} rows: less than {KILOBYTES:g} kB a choice: {most:.0f}", most < KILOBYTES),
            (f"{SESSIONS} sessions under {RESIDENT:g} MB: {one.resident_of_many:.0f}", one.resident_of_many < RESIDENT),
        ]
    return made


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--zips", type=int, default=6_226, help="ZIP codes")
    made.add_argument("--months", type=int, nargs="+", default=[24, 161], help="months of each run")
    made.add_argument("--rounds", type=int, default=10, help="times that four choices are made")
    made.add_argument("--sessions", type=int, default=SESSIONS, help="sessions side by side")
    made.add_argument("--smoke", action="store_true", help="a minute on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.zips, args.months, args.rounds, args.sessions = 60, [24], 1, 2
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
