"""Explore: predictions against what was paid, by month and place."""

from calendar import month_name
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, views, words
from dashboard.filters import Filters, choose, choose_dataset, summary
from dashboard.page import api, detail, draw, section

# Wide enough for seven digits; more than fit beside each other wrap.
SCORE_WIDTH = 195  # px
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
    if not _scores(filters, about):
        _nearest(filters, months)
        return
    if about["date"] and about["task"] == "regression":
        _trend(filters, about)
    views.show(filters, about)


def _left_out(whole: dict[str, Any]) -> None:
    for one in whole["left_out"]:
        st.warning(f"{one['file']} is left out: {one['problem']}")


def _scores(filters: Filters, about: dict[str, Any]) -> bool:
    """Show the scores beside those of the time before and the baseline; tells whether there are rows."""
    now = summary(filters, "none").iloc[0]
    if not now["n"]:
        return False
    before = filters.before()
    earlier = summary(before, "none").iloc[0] if before else None
    st.caption(_what(filters, now, about))
    if about["task"] == "classification":
        st.metric("Accuracy", words.percent(now["accuracy"]))
        return True
    base = _baseline(about)
    row = st.container(horizontal=True)
    for name, label in SCORES.items():
        column = row.container(width=SCORE_WIDTH)
        write = words.percent if name.endswith("ape") else lambda value: words.money(value, about["unit"])
        change = None
        if before and earlier is not None and pd.notna(earlier[name]) and pd.notna(now[name]) and earlier[name]:
            when = words.month(before.first) if filters.month else before.year
            change = f"{100 * (now[name] / earlier[name] - 1):+.1f} % on {when}"
        column.metric(label, write(now[name]), change, delta_color="inverse", help=MEANING[name], border=True)
        if base and base[1].get(name) is not None:
            column.caption(f"{base[0]} on holdout: {write(base[1][name])}")
    return True


def _what(filters: Filters, now: "pd.Series[Any]", about: dict[str, Any]) -> str:
    period = filters.period.capitalize() if about["date"] else "All rows"
    where = ", ".join(words.region(one) for one in filters.regions[:3]) or "all regions"
    where = f", {where}" if about["region"] else ""
    more = f" and {len(filters.regions) - 3} more" if len(filters.regions) > 3 else ""
    zips = f", {len(filters.places)} chosen places" if filters.places else ""
    unknown = f", {words.count(now['n_without_actual'])} without an actual value" if now["n_without_actual"] else ""
    return f"**{period}**{where}{more}{zips}: n = {words.count(now['n'])}{unknown}"


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
    found = summary(filters, "month", time=False) if months else pd.DataFrame()
    if not found.empty and filters.first:
        wanted = pd.Period(filters.first, "M")
        nearest = min(found["month"], key=lambda one: abs((pd.Period(one, "M") - wanted).n))
        st.button(f"Show {words.month(nearest)}", on_click=_go_to, args=(nearest,), type="primary")


def _go_to(month: str) -> None:
    st.session_state["year"], st.session_state["month"] = month[:4], month_name[int(month[5:])]


def _trend(filters: Filters, about: dict[str, Any]) -> None:
    st.subheader("Over time")
    with section():
        months = summary(filters, "month", time=False)
        level = f"{100 * about['levels'][0]:g}" if about["levels"] else None
        chosen = (filters.first, filters.last) if filters.first and filters.last else None
        figure = charts.trend(months, about["unit"], words.column(about["target"]), level, chosen)
        draw(figure, "trend", "Mean actual and predicted values by month, with the interval of the predictions")
