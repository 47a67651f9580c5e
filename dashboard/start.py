"""Where the form of Estimate starts: from the newest row of a chosen place, or from an example where there are none."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import words
from dashboard.client import ApiProblem
from dashboard.page import api

Row = dict[str, Any]
ALL_REGIONS = "All regions"


@dataclass(frozen=True)
class Start:
    """A real row, and what tells it from others: fields that are named by it are filled anew with another one."""

    row: Row
    name: str


def choose(about: dict[str, Any]) -> Start:
    """Show the choice of the row to start from, and return it (ApiProblem)."""
    regions = _regions(about)
    return _recent(about, regions) if regions else _example(about)


def is_date(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 10 and value[4] == value[7] == "-"


def _regions(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the places by region; none of a data set without places, and none that an older API knows of."""
    if not about["place"]:
        return []
    try:
        found: list[dict[str, Any]] = api().get(f"/datasets/{about['name']}/places")["regions"]
    except ApiProblem as problem:
        if problem.problem.get("status") == 404:
            return []
        raise
    return found


def _recent(about: dict[str, Any], regions: list[dict[str, Any]]) -> Start:
    columns = st.columns(2)
    region = ALL_REGIONS
    known = [one["region"] for one in regions if one["region"]]
    if known:
        # Keys of its own: Explore binds several regions and places to theirs.
        region = columns[0].selectbox(
            "Region", [ALL_REGIONS, *known], format_func=_region, key="in_region", bind="query-params"
        )
    places = _places(regions, region)
    title = "ZIP code" if about["place"] == "zipcode" else words.column(about["place"]).capitalize()
    label = columns[1 if known else 0].selectbox(title, list(places), key="in_place", bind="query-params")
    place, within = places[label]
    query = {"place": place} | ({"region": within} if within else {})
    said = api().get(f"/datasets/{about['name']}/recent", query)
    where = ", ".join([place, *([words.region(within)] if within else [])])
    when = f"of {words.month(said['month'])}, the newest" if said["month"] else "the last"
    st.caption(f"Filled in is a real row: {when} that is known of {where}. Change what you like.")
    return Start(said["row"], f"{place}-{within}-{said['month']}")


def _places(regions: list[dict[str, Any]], region: str) -> dict[str, tuple[str, str | None]]:
    """Return label -> place and its region, sorted; a name that several regions have is told apart by them."""
    pairs = [(place, one["region"]) for one in regions for place in one["places"]]
    times = Counter(place for place, _ in pairs)
    named = {
        f"{place}, {words.region(within)}" if times[place] > 1 and within else place: (place, within)
        for place, within in pairs
        if region in (ALL_REGIONS, within)
    }
    return dict(sorted(named.items()))


def _region(name: str) -> str:
    return name if name == ALL_REGIONS else words.region(name)


def _example(about: dict[str, Any]) -> Start:
    examples = api().get(f"/datasets/{about['name']}/examples")["rows"]
    labels = [_named(row, about) for row in examples]
    chosen = st.selectbox("Start from a real row", range(len(examples)), format_func=lambda i: labels[i], key="example")
    return Start(examples[chosen], str(chosen))


def _named(row: Row, about: dict[str, Any]) -> str:
    parts = [row.get(about[one]) for one in ("place", "region", "date") if about[one]]
    said = ", ".join(words.month(part[:7]) if is_date(part) else str(part) for part in parts if part)
    return said or ", ".join(f"{name} {value}" for name, value in list(row.items())[:4])
