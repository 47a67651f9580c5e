"""The logic of the dashboard's pages, run without a browser before a real API."""

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import page, words
from dashboard.client import Api
from tests.market import market_served
from tests.serving import Server, Small

SECONDS = 120


@pytest.fixture(scope="module")
def api(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with market_served(tmp_path_factory.mktemp("pages"), small) as server:
        yield server


@pytest.fixture
def estimate(api: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The page Estimate, not yet run."""
    monkeypatch.setenv("API_URL", api.url)
    page.settings.clear()
    page.api.clear()

    def script() -> None:
        from dashboard import estimate, page

        page.run(estimate.page)

    yield AppTest.from_function(script, default_timeout=SECONDS)
    page.api().close()
    page.settings.clear()
    page.api.clear()


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
