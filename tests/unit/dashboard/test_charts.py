"""Figures hold the numbers that they were given, also where some are missing."""

from typing import Any

import pandas as pd
import pytest

from dashboard import charts
from dashboard.coordinates import points_of

MONTHS = pd.DataFrame(
    {
        "month": ["2022-01", "2022-02"],
        "n": [3, 4],
        "mean_actual": [100.0, None],
        "mean_predicted": [101.0, 111.0],
        "mean_lower_80": [90.0, 100.0],
        "mean_width_80": [20.0, 22.0],
        "coverage_80": [0.75, None],
    }
)


def traces(figure: Any) -> dict[str, Any]:
    return {one.name: one for one in figure.data if one.name}


def test_the_trend_has_a_band_and_the_chosen_months() -> None:
    figure = charts.trend(MONTHS, "USD", "price", "80", ("2022-02", "2022-02"))
    named = traces(figure)
    assert list(named["predicted"].y) == [101, 111]
    assert list(named["80 % interval"].y) == [90, 100]
    assert list(figure.data[0].y) == [110, 122]
    assert figure.layout.shapes[0].x0 == "2022-02-01"
    assert "80 % interval" not in traces(charts.trend(MONTHS, "USD", "price", "95", None))


def test_points_without_an_actual_value_are_not_drawn() -> None:
    rows = pd.DataFrame({"a": [1.25, None, 3.0], "p": [1.5, 2.0, 3.5], "zip": ["x", "y", "z"]})
    figure = charts.scatter(rows, "a", "p", "USD", "price", ["zip"])
    assert list(figure.data[0].x) == [1.25, 3.0]
    assert list(figure.data[0].text) == ["x", "z"]
    assert len(charts.scatter(rows.iloc[1:2], "a", "p", "USD", "price", []).data) == 1


def test_bars_are_the_largest_or_in_their_order() -> None:
    groups = pd.DataFrame({"name": [f"g{i}" for i in range(40)], "mdape": [i / 100 for i in range(40)], "n": [1] * 40})
    figure = charts.bars(groups, "name", "mdape", "error")
    assert len(figure.data[0].x) == charts.MOST_BARS
    assert figure.data[0].x[-1] == 39
    assert list(charts.bars(groups[:3], "name", "mdape", "error", in_order=True).data[0].y) == ["g2", "g1", "g0"]


def test_errors_coverage_and_reasons() -> None:
    bins = pd.DataFrame({"low": [None, 0.0, 0.025], "high": [0.0, 0.025, None], "n": [1, 5, 2]})
    figure = charts.errors(bins)
    assert list(figure.data[0].y) == [1, 5, 2]
    assert list(figure.data[0].customdata) == ["below 0.0 %", "0.0 % to 2.5 %", "2.5 % and more"]
    assert charts.coverage(MONTHS, ["80"]).data[0].y[0] == 75
    why = charts.waterfall(100.0, [("rooms", 20.0), ("age", -5.0)], 115.0, "USD")
    assert list(why.data[0].text) == ["$100", "+$20", "−$5", "$115"]


@pytest.mark.parametrize(("by", "known"), [("region", ["boston"]), ("place", ["02108"])])
def test_only_what_is_known_of_is_on_the_map(by: str, known: list[str]) -> None:
    groups = pd.DataFrame({by: [*known, "nowhere", None], "n": [1, 2, 3], "mdape": [0.1, 0.2, 0.3], "name": "x"})
    points = points_of(groups, by, {"coordinates": {"boston": [42.4, -71.1]}, "place": "zipcode"})
    assert points[by].tolist() == known
    assert points["lat"].iloc[0] == pytest.approx(42.36, abs=0.1)
    assert len(charts.places(points, "mdape", "error").data[0].x) == 1
    assert points_of(groups, by, {"coordinates": {}, "place": "street"}).empty
    charts.places(points_of(groups, by, {"coordinates": {}, "place": "street"}), "mdape", "error")
