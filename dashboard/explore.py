"""Explore: predictions against what was paid, by month and place."""

from calendar import month_name
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, words
from dashboard.client import Api, Table
from dashboard.coordinates import points_of
from dashboard.filters import Filters, choose, choose_dataset, rows_of
from dashboard.page import api, detail, draw, section

# A chart shows no more points, a table no more rows; the rest is a download or a filter away.
MOST_POINTS, MOST_ROWS = 400, 200
# Questions to the API side by side.
AT_ONCE = 4
SCORES = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "mdape": "MdAPE"}
MEANING = {
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error: large errors count more",
    "mape": "Mean absolute error in per cent of the actual value",
    "mdape": "Median absolute error in per cent of the actual value",
}


def page() -> None:
    """Show the page (ApiProblem where nothing can be shown)."""
    name = choose_dataset(api())
    about = detail(name)
    whole = api().get(f"/datasets/{name}/summary", {"by": "month" if about["date"] else "none"})
    months = [row["month"] for row in whole["rows"]] if about["date"] else []
    filters = choose(api(), about, months)
    st.title(about["title"])
    if not whole["rows"] or not whole["rows"][0]["n"]:
        st.info("No predictions yet: the monthly batch has not run. `python src/batch/run_monthly.py` makes them.")
        return
    _left_out(whole)
    _ask_ahead(api(), filters, about)
    if not _scores(filters, about):
        _nearest(filters, months)
        return
    if about["task"] == "classification":
        _rows(filters, about)
        return
    if about["date"]:
        _trend(filters, about)
    left, right = st.columns(2)
    with left, section():
        _scatter(filters, about)
    with right, section():
        _errors(filters)
    _by_place(filters, about)
    _rows(filters, about)


def _summary(client: Api, filters: Filters, by: str, **which: bool) -> pd.DataFrame:
    return pd.DataFrame(rows_of(client, filters.dataset, {"by": by, **filters.query(**which)}))


def _ask_ahead(client: Api, filters: Filters, about: dict[str, Any]) -> None:
    """Ask for what the page will show, all at once: the client keeps the answers for a moment."""
    if about["task"] == "classification":
        return
    asks: list[Any] = [partial(_summary, client, filters, by) for by in ("none", _grouped_by(filters, about)) if by]
    asks += [partial(_page, client, filters, limit=MOST_POINTS, spread=True), partial(_errors_of, client, filters)]
    if about["date"]:
        asks.append(partial(_summary, client, filters, "month", time=False))
    before = filters.before()
    if before:
        asks.append(partial(_summary, client, before, "none"))
    wait([_pool().submit(ask) for ask in asks])  # what fails fails again where it is shown


@st.cache_resource(show_spinner=False)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask")


def _left_out(whole: dict[str, Any]) -> None:
    for one in whole["left_out"]:
        st.warning(f"{one['file']} is left out: {one['problem']}")


def _scores(filters: Filters, about: dict[str, Any]) -> bool:
    """Show the scores beside those of the time before and the baseline; tells whether there are rows."""
    now = _summary(api(), filters, "none").iloc[0]
    if not now["n"]:
        return False
    before = filters.before()
    earlier = _summary(api(), before, "none").iloc[0] if before else None
    st.caption(_what(filters, now))
    if about["task"] == "classification":
        st.metric("Accuracy", words.percent(now["accuracy"]))
        return True
    base = _baseline(about)
    for column, (name, label) in zip(st.columns(len(SCORES)), SCORES.items(), strict=True):
        write = words.percent if name.endswith("ape") else lambda value: words.money(value, about["unit"])
        change = None
        if before and earlier is not None and pd.notna(earlier[name]) and pd.notna(now[name]) and earlier[name]:
            when = words.month(before.first) if filters.month else before.year
            change = f"{100 * (now[name] / earlier[name] - 1):+.1f} % on {when}"
        column.metric(label, write(now[name]), change, delta_color="inverse", help=MEANING[name], border=True)
        if base and base[1].get(name) is not None:
            column.caption(f"{base[0]} on holdout: {write(base[1][name])}")
    return True


def _what(filters: Filters, now: "pd.Series[Any]") -> str:
    where = ", ".join(words.region(one) for one in filters.regions[:3]) or "all regions"
    more = f" and {len(filters.regions) - 3} more" if len(filters.regions) > 3 else ""
    zips = f", {len(filters.places)} chosen places" if filters.places else ""
    unknown = f", {words.count(now['n_without_actual'])} without an actual value" if now["n_without_actual"] else ""
    return f"**{filters.period.capitalize()}**, {where}{more}{zips}: n = {words.count(now['n'])}{unknown}"


def _baseline(about: dict[str, Any]) -> tuple[str, dict[str, float]] | None:
    """Return name and scores of the holdout's best baseline that answers every row."""
    card = about["metrics"].get("holdout") or {}
    whole = {name: one for name, one in (card.get("baselines") or {}).items() if one["n"] == card["n"]}
    if not whole:
        return None
    name = min(whole, key=lambda one: whole[one]["scores"].get("mape", float("inf")))
    return name, whole[name]["scores"]


def _nearest(filters: Filters, months: list[str]) -> None:
    """Say that a period is empty, and offer the nearest month that is not."""
    where = f" in {', '.join(words.region(one) for one in filters.regions)}" if filters.regions else ""
    st.info(f"No data for {filters.period}{where}.")
    found = _summary(api(), filters, "month", time=False) if months else pd.DataFrame()
    if not found.empty and filters.first:
        wanted = pd.Period(filters.first, "M")
        nearest = min(found["month"], key=lambda one: abs((pd.Period(one, "M") - wanted).n))
        st.button(f"Show {words.month(nearest)}", on_click=_go_to, args=(nearest,), type="primary")


def _go_to(month: str) -> None:
    st.session_state["year"], st.session_state["month"] = month[:4], month_name[int(month[5:])]


def _label(about: dict[str, Any]) -> str:
    return str(about["target"]).replace("_", " ")


def _trend(filters: Filters, about: dict[str, Any]) -> None:
    st.subheader("Over time")
    with section():
        months = _summary(api(), filters, "month", time=False)
        level = f"{100 * about['levels'][0]:g}" if about["levels"] else None
        chosen = (filters.first, filters.last) if filters.first and filters.last else None
        figure = charts.trend(months, about["unit"], _label(about), level, chosen)
        draw(figure, "trend", "Mean actual and predicted values by month, with the interval of the predictions")


def _scatter(filters: Filters, about: dict[str, Any]) -> None:
    st.subheader("Predicted against actual")
    found = _page(api(), filters, limit=MOST_POINTS, spread=True)
    names = [one for one in (about["place"], about["date"]) if one in found.frame]
    actual, predicted = f"actual_{about['target']}", f"predicted_{about['target']}"
    figure = charts.scatter(found.frame, actual, predicted, about["unit"], _label(about), names)
    draw(figure, "scatter", "Predicted against actual values, a point a row")
    if found.total > MOST_POINTS:
        st.caption(f"{MOST_POINTS:,} of {found.total:,} rows, evenly chosen")


def _errors(filters: Filters) -> None:
    st.subheader("How far off")
    bins = _errors_of(api(), filters)
    draw(charts.errors(bins), "errors", "How many rows are how far off, in per cent")


def _errors_of(client: Api, filters: Filters) -> pd.DataFrame:
    return pd.DataFrame(client.get(f"/datasets/{filters.dataset}/errors", filters.query())["rows"])


def _grouped_by(filters: Filters, about: dict[str, Any]) -> str | None:
    """Return what errors are shown by: regions, or the places of those that are chosen."""
    if about["region"] and not filters.regions:
        return "region"
    return "place" if about["place"] else None


def _by_place(filters: Filters, about: dict[str, Any]) -> None:
    by = _grouped_by(filters, about)
    if by is None:
        return
    with section():
        groups = _summary(api(), filters, by)
        groups["name"] = groups[by].fillna("unknown").map(words.region if by == "region" else str)
        what = "ZIP code" if about["place"] == "zipcode" and by == "place" else by
        st.subheader(f"Error by {what}")
        left, right = st.columns(2)
        with left:
            draw(
                charts.bars(groups, "name", "mdape", "median error"),
                "bars",
                "The median error of each place, the largest first",
            )
            if len(groups) > charts.MOST_BARS:
                st.caption(f"The {charts.MOST_BARS} largest of {len(groups):,}")
        with right:
            points = points_of(groups, by, about)
            if points.empty:
                st.info("Nothing is known of where these places are.")
                return
            draw(
                charts.places(points, "mdape", "median error"),
                "map",
                "Where the places are; darker ones have the larger median errors",
            )
            if len(points) < len(groups):
                st.caption(
                    f"{len(groups) - len(points):,} of {len(groups):,} are not drawn: where they are is not known"
                )


def _rows(filters: Filters, about: dict[str, Any]) -> None:
    st.subheader("Rows")
    with section():
        predicted = f"predicted_{about['target']}"
        columns = [one for one in (about["date"], about["region"], about["place"], predicted) if one]
        left, right = st.columns([3, 1])
        sort = left.selectbox("Sorted by", columns, key="sort", bind="query-params")
        down = right.toggle("Largest first", key="down", bind="query-params")
        found = _page(api(), filters, limit=MOST_ROWS, sort=sort, order="desc" if down else "asc")
        st.dataframe(found.frame, hide_index=True, column_config=_columns(found.frame, about), key="rows")
        shown = (
            f"{len(found.frame):,} of {found.total:,} rows"
            if found.total > len(found.frame)
            else f"{found.total:,} rows"
        )
        st.download_button(
            f"Download these {shown} as CSV",
            found.frame.to_csv(index=False).encode(),
            f"{filters.dataset}-{(filters.first or 'all')}.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
        )


def _columns(frame: pd.DataFrame, about: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in frame.columns:
        if pd.api.types.is_float_dtype(frame[name]) and name.startswith(("predicted", "actual", "lower", "upper")):
            made[name] = st.column_config.NumberColumn(f"{name.replace('_', ' ')}, {about['unit']}", format="localized")
    return made


def _page(client: Api, filters: Filters, **how: Any) -> Table:
    return client.table(f"/datasets/{filters.dataset}/predictions", {**filters.query(), **how})
