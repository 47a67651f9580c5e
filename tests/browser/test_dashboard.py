"""What people see: numbers that are those of the rows, links that reproduce, an API that goes and comes back."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from dashboard import words
from src.core.config import load_config
from src.core.spelling import spelled
from tests.browser.conftest import Market
from tests.market import market_served

pytestmark = pytest.mark.slow
SECONDS = 60_000  # ms; the machine may be busy


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1600})
    made = context.new_page()
    made.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    # Streamlit looks for itself below a page's own address first.
    problems: list[str] = []
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on("requestfailed", lambda request: problems.append(request.url) if "127.0.0.1" not in request.url else None)
    made.on("console", lambda said: problems.append(said.text) if said.type == "error" and _is_ours(said) else None)
    yield made
    context.close()
    assert problems == []


def _is_ours(said: ConsoleMessage) -> bool:
    return "/_stcore/" not in said.location["url"]


def settled(page: Page) -> None:
    """Wait until the script has run to its end."""
    expect(page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def scores(page: Page) -> dict[str, str]:
    tiles = page.get_by_test_id("stMetric").all()
    pairs = [(one.get_by_test_id("stMetricLabel"), one.get_by_test_id("stMetricValue")) for one in tiles]
    return {label.inner_text().strip(): value.inner_text().strip() for label, value in pairs}


def expect_scores(page: Page, wanted: dict[str, str]) -> None:
    """Wait until the page shows these, and is at rest."""
    for value in wanted.values():
        expect(page.get_by_test_id("stMetricValue").filter(has_text=value).first).to_be_visible()
    settled(page)
    found: dict[str, str] = {}
    # A choice that is written to the address may run the script once more, and tiles are replaced one by one.
    for _ in range(50):
        found = {name: value for name, value in scores(page).items() if name in wanted}
        if found == wanted:
            break
        page.wait_for_timeout(100)
        settled(page)
    assert found == wanted


def written(market: Market, chosen: pl.Expr | None = None) -> pl.DataFrame:
    """Return the rows of the batch's files, without the API."""
    rows = pl.concat([pl.read_parquet(path) for path in sorted((market.folder / "predictions").rglob("*.parquet"))])
    return rows if chosen is None else rows.filter(chosen)


def by_hand(rows: pl.DataFrame) -> dict[str, str]:
    y, yhat = rows["actual_price"].to_numpy(), rows["predicted_price"].to_numpy()
    off = np.abs(yhat - y)
    return {
        "MAE": f"${off.mean():,.0f}",
        "RMSE": f"${np.sqrt((off**2).mean()):,.0f}",
        "MAPE": f"{100 * (off / y).mean():.1f} %",
        "MdAPE": f"{100 * np.median(off / y):.1f} %",
    }


def months_of(market: Market) -> list[str]:
    return sorted(written(market)["date"].str.head(7).unique().to_list())


def test_the_first_view_has_the_scores_of_all_rows(page: Page, market: Market) -> None:
    page.goto(market.url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("US home values")
    expect_scores(page, by_hand(written(market)))
    for tab, charts in {
        "Errors": ("Over time", "Predicted against actual", "How far off"),
        "Places": ("Over time", "Error by region"),
    }.items():
        page.get_by_role("tab", name=tab).click()
        for chart in charts:
            expect(page.get_by_role("heading", name=chart)).to_be_visible()
        expect(page.get_by_test_id("stPlotlyChart").filter(visible=True)).to_have_count(3)
    page.get_by_role("tab", name="Rows").click()
    expect(page.get_by_role("button", name=re.compile("Download these"))).to_be_visible()


def test_a_link_shows_what_it_was_made_for(page: Page, market: Market) -> None:
    month = months_of(market)[3]
    chosen = pl.col("date").str.head(4) == month[:4]
    page.goto(f"{market.url}/?year={month[:4]}")
    expect_scores(page, by_hand(written(market, chosen)))
    page.goto(f"{market.url}/?year={month[:4]}&month=June")
    june = written(market, pl.col("date").str.head(7) == f"{month[:4]}-06")
    expect_scores(page, by_hand(june))
    expect(page.get_by_text(f"June {month[:4]}").first).to_be_visible()


def test_choosing_a_region_changes_the_page_and_the_address(page: Page, market: Market) -> None:
    page.goto(market.url)
    settled(page)
    page.get_by_label("Regions").first.click()
    option = page.get_by_role("option").nth(1)  # the first one is all of them
    name = option.inner_text().strip()
    option.click()
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("region="))
    page.get_by_role("tab", name="Places").click()
    expect(page.get_by_role("heading", name="Error by ZIP code")).to_be_visible()
    rows = written(market)
    column = load_config("housets").columns["city_full"]
    here = rows.filter(pl.Series([spelled(one, column) == name.lower() for one in rows["city_full"]]))
    assert here.height > 0
    expect_scores(page, by_hand(here))
    again = page.context.new_page()
    again.goto(page.url)
    expect_scores(again, by_hand(here))
    expect(again.get_by_role("heading", name="Error by ZIP code")).to_be_visible()


def test_the_filters_work_from_the_keyboard(page: Page, market: Market) -> None:
    year = months_of(market)[3][:4]
    page.goto(market.url)
    settled(page)
    box = page.get_by_role("combobox", name="Year")
    box.focus()
    page.keyboard.type(year)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"year={year}"))
    expect_scores(page, by_hand(written(market, pl.col("date").str.head(4) == year)))


def test_an_empty_month_offers_the_nearest_one(page: Page, market: Market) -> None:
    months = months_of(market)
    first = months[0]
    assert first.endswith("-03"), "the market begins in March"
    page.goto(f"{market.url}/?year={first[:4]}&month=January")
    expect(page.get_by_text(f"No data for January {first[:4]}")).to_be_visible()
    page.get_by_role("button", name=f"Show March {first[:4]}").click()
    expect(page.get_by_role("heading", name="Over time")).to_be_visible()
    expect_scores(page, by_hand(written(market, pl.col("date").str.head(7) == first)))


def test_the_download_is_what_is_shown(page: Page, market: Market, tmp_path: Path) -> None:
    month = months_of(market)[3]
    page.goto(f"{market.url}/?year={month[:4]}&month=June&view=Rows")
    settled(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("Download these")).click()
    waiting.value.save_as(tmp_path / "rows.csv")
    found = pl.read_csv(tmp_path / "rows.csv", schema_overrides={"zipcode": pl.String})
    wanted = written(market, pl.col("date").str.head(7) == f"{month[:4]}-06")
    assert sorted(found["predicted_price"].to_list()) == pytest.approx(sorted(wanted["predicted_price"].to_list()))


def places_of(market: Market) -> list[str]:
    regions = market.api.get("/datasets/housets/places").json()["regions"]
    return sorted(place for one in regions for place in one["places"])


def recent(market: Market, place: str) -> Any:
    return market.api.get("/datasets/housets/recent", params={"place": place}).json()


def priced(market: Market, row: dict[str, Any]) -> dict[str, str]:
    """Return what the page should show of the API's own answer to a row."""
    said = httpx.post(f"{market.api.url}/datasets/housets/predict", json=row).json()
    low, high = said["intervals"]["80"][0]
    return {"Estimate": f"${said['predictions'][0]:,.0f}", "80 % interval": f"${low:,.0f} – ${high:,.0f}"}


def test_an_estimate_is_the_apis(page: Page, market: Market) -> None:
    page.goto(f"{market.url}/estimate")
    expect(page.get_by_role("heading", name="Known homes most like it")).to_be_visible()
    expect_scores(page, priced(market, recent(market, places_of(market)[0])["row"]))
    expect(page.get_by_text("An estimate, not an appraisal")).to_be_visible()
    page.get_by_test_id("stForm").get_by_label("median ppsf", exact=True).first.fill("-5")
    page.get_by_role("button", name="Estimate", exact=True).click()
    settled(page)


def test_another_place_fills_the_form_anew_and_is_priced_at_once(page: Page, market: Market) -> None:
    places = places_of(market)
    page.goto(f"{market.url}/estimate")
    expect_scores(page, priced(market, recent(market, places[0])["row"]))
    box = page.get_by_role("combobox", name=re.compile("ZIP code"))
    box.click()
    box.fill(places[-1])  # a list of thousands is searched
    page.get_by_role("option", name=places[-1]).click()
    page.wait_for_url(re.compile(f"in_place={places[-1]}"))
    found = recent(market, places[-1])
    # Until the script has run to its end, the form of the row before is there as well, above the new one.
    expect(page.get_by_test_id("stForm").get_by_label("zipcode", exact=True).last).to_have_value(places[-1])
    settled(page)
    for name in ("median_ppsf", "inventory", "Per Capita Income"):
        field = page.get_by_test_id("stForm").get_by_label(name.replace("_", " "), exact=True).last
        expect(field).to_have_value(re.compile(rf"^{found['row'][name]:.2f}$"))
    expect(page.get_by_text(f"a real row: of {words.month(found['month'])}")).to_be_visible()
    expect_scores(page, priced(market, found["row"]))
    # A link opens with the place, and the filters of another page are not disturbed by it.
    again = page.context.new_page()
    again.goto(page.url)
    expect_scores(again, priced(market, found["row"]))
    page.get_by_role("link", name="Explore").click()
    expect(page.get_by_role("heading", name="Over time")).to_be_visible()
    expect_scores(page, by_hand(written(market)))
    assert "in_place" not in page.url


def test_a_file_is_priced_and_bad_rows_are_listed(page: Page, market: Market, tmp_path: Path) -> None:
    rows = pl.DataFrame(market.small.rows[:30]).with_columns(pl.col("inventory").cast(pl.String))
    rows[4, "inventory"] = "many"
    rows.write_csv(tmp_path / "homes.csv")
    page.goto(f"{market.url}/estimate")
    page.get_by_role("tab", name="A file").click()
    page.locator('input[type="file"]').set_input_files(tmp_path / "homes.csv")
    expect(page.get_by_text("29 of 30 rows are priced.")).to_be_visible()
    expect(page.get_by_text("1 rows have no price")).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the priced rows").click()
    waiting.value.save_as(tmp_path / "priced.csv")
    found = pl.read_csv(tmp_path / "priced.csv", infer_schema=False)
    assert found["predicted_price"].null_count() == 1
    assert "inventory" in str(found[4, "error"])


@pytest.mark.parametrize(("path", "heading"), [("models", "Two versions side by side"), ("quality", "Ratio study")])
def test_the_other_pages_are_shown_whole(page: Page, market: Market, path: str, heading: str) -> None:
    page.goto(f"{market.url}/{path}")
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    settled(page)
    expect(page.get_by_text("cannot be shown")).to_have_count(0)


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, market: Market) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = context.new_page()
    expect.set_options(timeout=SECONDS)
    for path in ("", "estimate", "models", "quality"):
        page.goto(f"{market.url}/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


@pytest.mark.parametrize("width", [1280, 1024, 390])
def test_no_number_is_cut(browser: Browser, market: Market, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    for path in ("", "estimate"):
        page.goto(f"{market.url}/{path}")
        shown = page.get_by_test_id("stMetricValue")
        expect(shown).to_have_count(4, timeout=SECONDS)
        settled(page)
        wider = "one => [one, ...one.querySelectorAll('*')].some(box => box.scrollWidth > box.clientWidth)"
        for text in shown.all():
            assert not text.evaluate(wider), f"{text.inner_text()} at {width} px"
    page.close()


def test_the_page_comes_back_with_the_api_and_keeps_its_filters(page: Page, market: Market) -> None:
    month = months_of(market)[3]
    page.goto(f"{market.url}/?year={month[:4]}&view=Rows")
    before = by_hand(written(market, pl.col("date").str.head(4) == month[:4]))
    expect_scores(page, before)
    market.api.stop()
    page.get_by_text("Largest first").click()
    expect(page.get_by_text("The API does not answer").first).to_be_visible()
    expect(page.get_by_text("Traceback")).to_have_count(0)
    with market_served(market.folder, market.small, market.api.port):
        expect(page.get_by_text("The API does not answer")).to_have_count(0)
        expect(page.get_by_role("heading", name="Over time")).to_be_visible()
        expect_scores(page, before)
        assert f"year={month[:4]}" in page.url
