"""Numbers, months and names as people read them."""

import math
from calendar import month_name

UNITS = {"USD": "$", "EUR": "€", "INR": "₹"}
NOTHING = "–"
ALL = "all"


def money(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Write an amount with its unit, rounded to what can be told apart: $412,000; 1.5 EUR."""
    if value is None or not math.isfinite(value):
        return NOTHING
    sign = "−" if value < 0 else "+" if signed else ""
    size = abs(value)
    text = f"{size:,.0f}" if size >= 100 else f"{size:,.3g}"
    symbol = UNITS.get(unit)
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{text} {unit}".rstrip()


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share in per cent: 0.081 is 8.1 %."""
    return NOTHING if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def count(number: float | None) -> str:
    return NOTHING if number is None else f"{number:,.0f}"


def month(value: str | None) -> str:
    """Write a month, `2022-03`, as March 2022."""
    if not value or value == ALL:
        return "all months"
    year, number = value.split("-")
    return f"{month_name[int(number)]} {year}"


def region(name: str) -> str:
    """Write a cleaned name as it is spelled on a map: san antonio-new braunfels is San Antonio-New Braunfels."""
    return "-".join(" ".join(word.capitalize() for word in part.split(" ")) for part in name.split("-"))


def column(name: str) -> str:
    """Write a column's name as words: median_price is median price."""
    return name.replace("_", " ")
