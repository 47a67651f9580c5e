"""The logic of the dashboard's pages, run without a browser before a real API."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import explore as explore_page
from dashboard import page, words
from dashboard.client import Api
from dashboard.filters import Filters
from tests.market import market_served
from tests.predictions import REGIONS, month_frame, put_months
from tests.serving import Server, Small

SECONDS = 120
MONTHS = ("2021-12", "2022-01", "2022-03")


@pytest.fixture(scope="module")
def api(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pages")
    put_months(folder / "predictions", *MONTHS)
    with market_served(folder, small) as server:
        yield server


@pytest.fixture
def asking(api: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The dashboard asks this API."""
    monkeypatch.setenv("API_URL", api.url)
    page.settings.clear()
    page.api.clear()
    yield
    page.api().close()
    page.settings.clear()
    page.api.clear()


@pytest.fixture
def estimate(asking: None) -> AppTest:
    """The page Estimate, not yet run."""

    def script() -> None:
        from dashboard import estimate, page

        page.run(estimate.page)

    return AppTest.from_function(script, default_timeout=SECONDS)


@pytest.fixture
def explore(asking: None) -> AppTest:
    """The page Explore, not yet run."""

    def script() -> None:
        from dashboard import explore, page

        page.run(explore.page)

    return AppTest.from_function(script, default_timeout=SECONDS)


def places_of(api: Server) -> list[tuple[str, str]]:
    regions = api.get("/datasets/housets/places").json()["regions"]
    return sorted((place, one["region"]) for one in regions for place in one["places"])


def recent(api: Server, place: str) -> Any:
    return api.get("/datasets/housets/recent", params={"place": place}).json()


def said(at: AppTest) -> str:
    assert not at.exception
    assert not at.error
    return next(str(one.value) for one in at.metric if one.label == "Estimate")


def filled(at: AppTest) -> dict[str, Any]:
    fields = [*at.number_input, *at.text_input, *at.date_input]
    return {one.label: str(one.value) if "date" in one.label else one.value for one in fields}


def expect_place(at: AppTest, api: Server, small: Small, place: str) -> None:
    """Hold that the form, the words above it and the estimate are those of a place's newest row."""
    found = recent(api, place)
    assert at.selectbox(key="in_place").value == place
    assert filled(at) == {name.replace("_", " "): value for name, value in found["row"].items()}
    assert any(words.month(found["month"]) in one.value and place in one.value for one in at.caption)
    assert said(at) == words.money(float(small.predictor.predict([found["row"]]).estimate[0]), "USD")


def test_the_form_is_filled_with_the_newest_row_of_the_chosen_place(
    estimate: AppTest, api: Server, small: Small
) -> None:
    known = places_of(api)
    at = estimate.run()
    assert at.selectbox(key="in_place").options == [place for place, _ in known]
    expect_place(at, api, small, known[0][0])
    at.selectbox(key="in_place").set_value(known[-1][0]).run()
    expect_place(at, api, small, known[-1][0])
    at.selectbox(key="in_place").set_value(known[0][0]).run()
    expect_place(at, api, small, known[0][0])
    assert not [one for one in at.selectbox if one.label == "Start from a real row"]


def test_a_region_leaves_its_places_and_all_of_them_come_first(estimate: AppTest, api: Server, small: Small) -> None:
    known = places_of(api)
    at = estimate.run()
    assert at.selectbox(key="in_region").value == "All regions"
    _, region = known[-1]
    at.selectbox(key="in_region").set_value(region).run()
    here = [place for place, within in known if within == region]
    assert at.selectbox(key="in_place").options == here
    expect_place(at, api, small, here[0])


def test_a_link_opens_with_its_place(estimate: AppTest, api: Server, small: Small) -> None:
    place, region = places_of(api)[-1]
    estimate.query_params["in_region"] = words.region(region)
    estimate.query_params["in_place"] = place
    expect_place(estimate.run(), api, small, place)


def test_what_is_changed_is_priced_and_another_place_fills_the_form_anew(
    estimate: AppTest, api: Server, small: Small
) -> None:
    known = places_of(api)
    at = estimate.run()
    field = next(one for one in at.number_input if one.label == "median ppsf")
    field.set_value(field.value * 3)
    at.button[0].click().run()
    row = {**recent(api, known[0][0])["row"], "median_ppsf": field.value}
    assert said(at) == words.money(float(small.predictor.predict([row]).estimate[0]), "USD")
    at.selectbox(key="in_place").set_value(known[1][0]).run()
    expect_place(at, api, small, known[1][0])


def test_before_an_older_api_it_starts_from_the_examples(
    estimate: AppTest, api: Server, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Api.get

    def older(self: Api, path: str, query: Any = None) -> Any:
        return ask(self, path.replace("/places", "/no-such-route"), query)

    monkeypatch.setattr(Api, "get", older)
    at = estimate.run()
    rows = api.get("/datasets/housets/examples").json()["rows"]
    start = next(one for one in at.selectbox if one.label == "Start from a real row")
    assert len(start.options) == len(rows)
    assert said(at) == words.money(float(small.predictor.predict(rows[:1]).estimate[0]), "USD")
    start.set_value(1).run()
    assert said(at) == words.money(float(small.predictor.predict(rows[1:2]).estimate[0]), "USD")


def scores(*months: str, region: str | None = None) -> dict[str, float]:
    """Return the scores of the rows in the batch's files, by hand."""
    rows = pl.concat([month_frame(month) for month in months]).drop_nulls("actual_price")
    if region:
        rows = rows.filter(pl.col("city_full") == region)
    y, yhat = rows["actual_price"].to_numpy(), rows["predicted_price"].to_numpy()
    off = np.abs(yhat - y)
    named = (off.mean(), np.sqrt((off**2).mean()), (off / y).mean(), np.median(off / y))
    return dict(zip(("MAE", "RMSE", "MAPE", "MdAPE"), named, strict=True))


def expect_scores(at: AppTest, now: dict[str, float], before: dict[str, float] | None, when: str) -> None:
    assert not at.exception
    assert not at.error
    for one in at.metric:
        value = now[one.label]
        assert one.value == (f"{100 * value:.1f} %" if one.label.endswith("APE") else f"${value:,.0f}")
        changed = f"{100 * (value / before[one.label] - 1):+.1f} % on {when}" if before else ""
        assert one.delta == changed, one.label
    assert [one.label for one in at.metric] == list(now)


def test_scores_stand_beside_those_of_the_month_before(explore: AppTest) -> None:
    at = explore.run()
    expect_scores(at, scores(*MONTHS), None, "")
    at.selectbox(key="year").set_value("2022").run()
    expect_scores(at, scores("2022-01", "2022-03"), scores("2021-12"), "2021")
    at.selectbox(key="month").set_value("January").run()
    expect_scores(at, scores("2022-01"), scores("2021-12"), "December 2021")
    # Nothing is known of February.
    at.selectbox(key="month").set_value("March").run()
    expect_scores(at, scores("2022-03"), None, "")


def test_a_region_is_compared_with_itself(explore: AppTest) -> None:
    name, spelled = next(iter(REGIONS.items()))
    explore.query_params.update({"year": "2022", "month": "January"})
    at = explore.run()
    at.multiselect(key="region").set_value([name]).run()
    expect_scores(at, scores("2022-01", region=spelled), scores("2021-12", region=spelled), "December 2021")


def test_the_baseline_beside_is_the_best_of_those_that_answer_every_row() -> None:
    scored = {"linear": (0.2, 30), "last_known": (0.1, 29), "median": (0.4, 30)}
    baselines = {name: {"n": n, "scores": {"mape": mape}} for name, (mape, n) in scored.items()}
    about = {"metrics": {"holdout": {"n": 30, "baselines": baselines}}}
    assert explore_page._baseline(about) == ("linear", {"mape": 0.2})
    assert explore_page._baseline({"metrics": {}}) is None


def test_an_empty_month_offers_the_nearest_with_rows(explore: AppTest) -> None:
    explore.query_params.update({"year": "2022", "month": "February"})
    at = explore.run()
    assert not at.metric
    assert [one.value for one in at.info] == ["No data for February 2022."]
    at.button[0].click().run()
    assert at.selectbox(key="month").value in ("January", "March")
    assert at.metric


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"date": "date", "region": "city_full"}, "**All months**, all regions: n = 12, 2 without an actual value"),
        ({"date": None, "region": "ocean_proximity"}, "**All rows**, all regions: n = 12, 2 without an actual value"),
        ({"date": None, "region": None}, "**All rows**: n = 12, 2 without an actual value"),
    ],
)
def test_a_data_set_is_told_of_in_what_it_has(about: dict[str, Any], said: str) -> None:
    now = pd.Series({"n": 12, "n_without_actual": 2})
    assert explore_page._what(Filters("any"), now, about) == said


def test_a_what_if_tells_a_difference_once_something_is_moved(estimate: AppTest) -> None:
    at = estimate.run()
    then = next(one for one in at.metric if one.label == "Then the estimate would be")
    assert (then.value, then.delta) == (said(at), "")
    slider = at.slider[0]
    slider.set_value(slider.max).run()
    then = next(one for one in at.metric if one.label == "Then the estimate would be")
    assert then.delta.startswith(("+$", "−$"))
