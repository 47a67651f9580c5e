import math

import pytest

from dashboard import words
from dashboard.filters import Filters


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (412_345.6, "USD", "$412,346"),
        (-1_500.0, "EUR", "−€1,500"),
        (12.345, "INR", "₹12.3"),
        (0.0, "USD", "$0"),
        (1_234.0, "points", "1,234 points"),
        (None, "USD", "–"),
        (math.nan, "USD", "–"),
        (math.inf, "USD", "–"),
    ],
)
def test_money(value: float | None, unit: str, said: str) -> None:
    assert words.money(value, unit) == said


def test_other_numbers_months_and_names() -> None:
    assert words.money(5_000.0, "USD", signed=True) == "+$5,000"
    assert words.percent(0.0815) == "8.2 %"
    assert (words.percent(None), words.count(None), words.count(12_345)) == ("–", "–", "12,345")
    assert (words.month("2022-03"), words.month("all"), words.month(None)) == ("March 2022", "all months", "all months")
    assert words.region("san antonio-new braunfels") == "San Antonio-New Braunfels"


def test_filters_are_the_apis_parameters() -> None:
    assert Filters("housets").query() == {}
    assert Filters("housets").period == "all months"
    march = Filters("housets", "2022", 3, ("a",), ("02101",))
    assert march.query() == {"from": "2022-03", "to": "2022-03", "region": ["a"], "place": ["02101"]}
    assert march.query(time=False) == {"region": ["a"], "place": ["02101"]}
    assert Filters("housets", "2022").query() == {"from": "2022-01", "to": "2022-12"}


def test_the_time_before() -> None:
    assert Filters("housets").before() is None
    assert Filters("housets", "2022").before() == Filters("housets", "2021")
    assert Filters("housets", "2022", 3, ("a",)).before() == Filters("housets", "2022", 2, ("a",))
    assert Filters("housets", "2022", 1).before() == Filters("housets", "2021", 12)
