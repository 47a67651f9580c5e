"""The parts of Explore that lie behind tabs: rows against rows, places, and the rows themselves."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, words
from dashboard.client import Table
from dashboard.coordinates import points_of
from dashboard.filters import Filters, summary
from dashboard.page import api, draw, section

# A chart shows no more points, a table no more rows; the rest is a download or a filter away.
MOST_POINTS, MOST_ROWS = 250, 200

About = dict[str, Any]


def show(filters: Filters, about: About) -> None:
    """Show the view whose tab is open; the others are not even made, as each chart makes every choice slower."""
    made: dict[str, Callable[[Filters, About], None]] = {"Rows": _rows}
    if about["task"] == "regression":
        made = {"Errors": _errors, **({"Places": _places} if about["place"] or about["region"] else {}), **made}
    for tab, view in zip(
        st.tabs(list(made), key="view", on_change="rerun", bind="query-params"), made.values(), strict=True
    ):
        if tab.open:
            with tab, section():
                view(filters, about)


def _errors(filters: Filters, about: About) -> None:
    left, right = st.columns(2)
    with left, section():
        _scatter(filters, about)
    with right, section():
        st.subheader("How far off")
        bins = pd.DataFrame(api().get(f"/datasets/{filters.dataset}/errors", filters.query())["rows"])
        draw(charts.errors(bins), "errors", "How many rows are how far off, in per cent")


def _scatter(filters: Filters, about: About) -> None:
    st.subheader("Predicted against actual")
    found = _page(filters, limit=MOST_POINTS, spread=True)
    names = [one for one in (about["place"], about["date"]) if one in found.frame]
    actual, predicted = f"actual_{about['target']}", f"predicted_{about['target']}"
    figure = charts.scatter(found.frame, actual, predicted, about["unit"], words.column(about["target"]), names)
    draw(figure, "scatter", "Predicted against actual values, a point a row")
    if found.total > MOST_POINTS:
        st.caption(f"{MOST_POINTS:,} of {found.total:,} rows, evenly chosen")


def _places(filters: Filters, about: About) -> None:
    by = "region" if about["region"] and not (filters.regions and about["place"]) else "place"
    groups = summary(filters, by)
    groups["name"] = groups[by].fillna("unknown").map(words.region if by == "region" else str)
    what = "ZIP code" if about["place"] == "zipcode" and by == "place" else by
    st.subheader(f"Error by {what}")
    left, right = st.columns(2)
    with left:
        draw(
            charts.bars(groups, "name", "mdape", "median error"), "bars", "The median error of each, the largest first"
        )
        if len(groups) > charts.MOST_BARS:
            st.caption(f"The {charts.MOST_BARS} largest of {len(groups):,}")
    with right:
        points = points_of(groups, by, about)
        if points.empty:
            st.info("Nothing is known of where these places are.")
            return
        alt = "Where the places are; darker ones have the larger median errors"
        draw(charts.places(points, "mdape", "median error"), "map", alt)
        if len(points) < len(groups):
            missing = f"{len(groups) - len(points):,} of {len(groups):,} are not drawn"
            st.caption(f"{missing}: where they are is not known")


def _rows(filters: Filters, about: About) -> None:
    predicted = f"predicted_{about['target']}"
    columns = [one for one in (about["date"], about["region"], about["place"], predicted) if one]
    left, right = st.columns([3, 1])
    sort = left.selectbox("Sorted by", columns, key="sort", bind="query-params")
    down = right.toggle("Largest first", key="down", bind="query-params")
    found = _page(filters, limit=MOST_ROWS, sort=sort, order="desc" if down else "asc")
    st.dataframe(found.frame, hide_index=True, column_config=_columns(found.frame, about), key="rows")
    shown = f"{len(found.frame):,} of " if found.total > len(found.frame) else ""
    st.download_button(
        f"Download these {shown}{found.total:,} rows as CSV",
        found.frame.to_csv(index=False).encode(),
        f"{filters.dataset}-{(filters.first or 'all')}.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )


def _columns(frame: pd.DataFrame, about: About) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in frame.columns:
        if pd.api.types.is_float_dtype(frame[name]) and name.startswith(("predicted", "actual", "lower", "upper")):
            made[name] = st.column_config.NumberColumn(f"{words.column(name)}, {about['unit']}", format="localized")
    return made


def _page(filters: Filters, **how: Any) -> Table:
    return api().table(f"/datasets/{filters.dataset}/predictions", {**filters.query(), **how})
