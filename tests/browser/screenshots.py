"""Take pictures of the dashboard into docs/images: `make screenshots`, or of one that runs: `make screenshots URL=...`.

Needs Chromium.
"""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from src.core.config import PROJECT
from tests.market import dashboard_of, make_market, market_served

IMAGES = PROJECT / "docs" / "images"
# Picture, address, heading that is there when the page is whole, and the picture's height.
PAGES = (
    ("explore", "", "How far off", 1250),
    ("places", "?view=Places", "Error by region", 1450),
    ("estimate", "estimate", "Known homes most like it", 1300),
    ("models", "models", "Two versions side by side", 1100),
    ("quality", "quality", "Ratio study", 1100),
)
DRAWN = """() => [...document.querySelectorAll('[data-testid="stPlotlyChart"]')]
  .every(one => one.querySelector(".main-svg"))"""
LOOKS = {"light": (1400, "light"), "dark": (1400, "dark"), "phone": (390, "light")}


def take(browser: Browser, url: str) -> None:
    for look, (width, scheme) in LOOKS.items():
        for name, path, heading, height in PAGES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(f"{url}/{path}")
            expect(page.get_by_role("heading", name=heading)).to_be_visible(timeout=60_000)
            expect(page.locator('[data-test-script-state="notRunning"]')).to_be_visible(timeout=60_000)
            expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=60_000)
            page.wait_for_function(DRAWN, timeout=60_000)
            page.wait_for_timeout(500)  # charts fade in
            page.screenshot(path=IMAGES / f"{name}-{look}.png")
            context.close()


def main() -> int:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("error: Chromium is needed: `apt-get update && apt-get install chromium`\n")
        return 2
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="housecast-") as name, sync_playwright() as play, ExitStack() as servers:
        if len(sys.argv) > 1:
            url = sys.argv[1]
        else:
            small = make_market(Path(name))
            api = servers.enter_context(market_served(Path(name), small))
            url = servers.enter_context(dashboard_of(Path(name), api.url))
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take(browser, url.rstrip("/"))
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
