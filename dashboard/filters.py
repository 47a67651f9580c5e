"""The filters of Explore and Quality. Each is bound to the address, so that a link shows the same."""

from calendar import month_name
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import words
from dashboard.client import Api
from dashboard.page import api

ALL_YEARS, ALL_MONTHS = "All years", "All months"


@dataclass(frozen=True)
class Filters:
    """What is looked at; nothing chosen means all."""

    dataset: str
    year: str | None = None
    month: int | None = None
    regions: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @property
    def first(self) -> str | None:
        return self.year and f"{self.year}-{self.month or 1:02}"

    @property
    def last(self) -> str | None:
        return self.year and f"{self.year}-{self.month or 12:02}"

    @property
    def period(self) -> str:
        """The chosen time in words."""
        if self.year is None:
            return "all months"
        return words.month(self.first) if self.month else self.year

    def query(self, *, time: bool = True) -> dict[str, Any]:
        """Return the API's parameters, without the time if that is not wanted."""
        made: dict[str, Any] = {}
        if time and self.year:
            made |= {"from": self.first, "to": self.last}
        if self.regions:
            made["region"] = list(self.regions)
        if self.places:
            made["place"] = list(self.places)
        return made

    def before(self) -> "Filters | None":
        """Return the same of the month before, or the year before; None of all years."""
        if self.year is None:
            return None
        if self.month is None:
            return replace(self, year=str(int(self.year) - 1))
        year, month = (int(self.year), self.month - 1) if self.month > 1 else (int(self.year) - 1, 12)
        return replace(self, year=str(year), month=month)


def choose_dataset(api: Api) -> str:
    """Show the choice of the data set, and return it (ApiProblem)."""
    listed = api.get("/datasets")
    names = sorted({one["name"] for one in listed["datasets"]} | {listed["default"]})
    first = names.index(listed["default"])
    return str(st.sidebar.selectbox("Data set", names, first, key="dataset", bind="query-params"))


def choose(api: Api, detail: dict[str, Any], months: list[str]) -> Filters:
    """Show the filters that a data set has, and return what is chosen (ApiProblem)."""
    name = detail["name"]
    year, month = _time(months) if detail["date"] else (None, None)
    regions: list[str] = []
    places: list[str] = []
    if detail["region"]:
        known = [row["region"] for row in rows_of(api, name, {"by": "region"}) if row["region"]]
        regions = _several("Regions", "region", known, "All regions", words.region)
    if detail["place"] and (regions or not detail["region"]):
        known = [row["place"] for row in rows_of(api, name, {"by": "place", "region": regions}) if row["place"]]
        title = "ZIP codes" if detail["place"] == "zipcode" else words.column(detail["place"]).capitalize()
        places = _several(title, "place", known, "All of them", str)
    return Filters(name, year, month, tuple(regions), tuple(places))


def rows_of(api: Api, dataset: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of a summary (ApiProblem)."""
    found: list[dict[str, Any]] = api.get(f"/datasets/{dataset}/summary", query)["rows"]
    return found


def summary(filters: Filters, by: str, *, time: bool = True) -> pd.DataFrame:
    """Return the scores of what is chosen, a row a group (ApiProblem)."""
    return pd.DataFrame(rows_of(api(), filters.dataset, {"by": by, **filters.query(time=time)}))


def _time(months: list[str]) -> tuple[str | None, int | None]:
    years = [ALL_YEARS, *sorted({one[:4] for one in months}, reverse=True)]
    year = st.sidebar.selectbox("Year", years, key="year", bind="query-params")
    named = [ALL_MONTHS, *month_name[1:]]
    hint = "Choose a year first." if year == ALL_YEARS else None
    month = st.sidebar.selectbox("Month", named, key="month", bind="query-params", disabled=bool(hint), help=hint)
    return (None, None) if year == ALL_YEARS else (year, named.index(month) or None)


def _several(title: str, key: str, options: list[str], placeholder: str, named: Any) -> list[str]:
    chosen: list[str] = st.sidebar.multiselect(
        title, options, key=key, bind="query-params", placeholder=placeholder, format_func=named
    )
    return chosen
