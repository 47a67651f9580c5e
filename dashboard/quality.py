"""Quality: whether the model kept, month by month, what was promised of it."""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, words
from dashboard.filters import choose, choose_dataset, rows_of
from dashboard.page import api, detail, draw, section

# Ranges are those of the International Association of Assessing Officers, as the model's report has them.
NAMES = {"median_ratio": "median ratio", "cod": "COD", "prd": "PRD", "prb": "PRB", "mki": "MKI"}

# What the reports measured, as it is called here.
FAILED = "failed_expectations"
MEASURES = {"drift_share": "columns that drifted", "unseen_share": "rows never seen the like of", FAILED: "failed"}


def page() -> None:
    """Show the page (ApiProblem where nothing can be shown)."""
    name = choose_dataset(api())
    about = detail(name)
    months = rows_of(api(), name, {"by": "month"}) if about["date"] else []
    filters = choose(api(), about, [row["month"] for row in months])
    st.title(f"Quality: {about['title']}")
    if about["task"] == "classification":
        _classes(about)
        with section():
            _alerts(name)
        return
    if about["date"]:
        with section():
            _coverage(pd.DataFrame(rows_of(api(), name, {"by": "month", **filters.query(time=False)})), about)
    left, right = st.columns(2)
    with left, section():
        _deciles(name, filters.query(), about)
    with right, section():
        _regions(name, filters.query(), about)
    with section():
        _ratios(about)
    with section():
        _drift(name)
    with section():
        _alerts(name)


def _coverage(months: pd.DataFrame, about: dict[str, Any]) -> None:
    st.subheader("Did the intervals hold?")
    if months.empty or months["n"].sum() == months["n_without_actual"].sum():
        st.info("Not enough data: no month has actual values yet.")
        return
    levels = [f"{100 * level:g}" for level in about["levels"]]
    draw(
        charts.coverage(months, levels),
        "coverage",
        "The share of actual values inside the intervals, month by month, beside what was promised",
    )
    st.caption("Lines: what was seen. Dashes: what was promised.")


def _deciles(name: str, query: dict[str, Any], about: dict[str, Any]) -> None:
    st.subheader("Error by price")
    groups = pd.DataFrame(rows_of(api(), name, {"by": "decile", **query}))
    groups = groups.dropna(subset=["decile"]) if not groups.empty else groups
    if groups.empty:
        st.info("Not enough data: no row has an actual value.")
        return
    groups["name"] = [
        f"{int(d)}: around {words.money(m, about['unit'])}"
        for d, m in zip(groups["decile"], groups["mean_actual"], strict=True)
    ]
    draw(
        charts.bars(groups, "name", "mdape", "median error", in_order=True),
        "deciles",
        "The median error of each tenth of the rows by price",
    )


def _regions(name: str, query: dict[str, Any], about: dict[str, Any]) -> None:
    if not about["region"]:
        return
    st.subheader("Error by region")
    groups = pd.DataFrame(rows_of(api(), name, {"by": "region", **query}))
    if groups.empty:
        st.info("Not enough data: no row is chosen.")
        return
    groups["name"] = groups["region"].fillna("unknown").map(words.region)
    draw(
        charts.bars(groups, "name", "mdape", "median error"),
        "regions",
        "The median error of each region, the largest first",
    )


def _ratios(about: dict[str, Any]) -> None:
    st.subheader("Ratio study")
    rows = []
    for split in ("eval", "holdout"):
        ratios = (about["metrics"].get(split) or {}).get("ratios") or {}
        for measure, found in ratios.items():
            value, low, high = found["value"], found["low"], found["high"]
            where = words.NOTHING if value is None else "inside" if low <= value <= high else "outside"
            shown = words.NOTHING if value is None else f"{value:.3f}"
            rows.append((split, NAMES.get(measure, measure), shown, f"{low:g} to {high:g}", where))
    if not rows:
        st.info("Not enough data: the model was published without a ratio study.")
        return
    heads = ["judged on", "measure", "value", "IAAO's range", ""]
    st.dataframe(pd.DataFrame(rows, columns=heads), hide_index=True, key="ratios")


def _drift(name: str) -> None:
    st.subheader("Data quality and drift")
    found = api().get(f"/datasets/{name}/measures", {"measure": list(MEASURES)})["rows"]
    months = pd.DataFrame([row for row in found if row["month"] != words.ALL])
    if months.empty:
        st.info("Not enough data: no month has a report yet. `python -m src.monitoring.report` makes them.")
        return
    shown = {measure: title for measure, title in MEASURES.items() if measure != FAILED}
    draw(
        charts.shares(months, shown),
        "drift",
        "The share of columns that drifted, and of rows with a category that the model never saw, month by month",
    )
    failed = months[(months["name"] == FAILED) & (months["value"] > 0)]
    said = ", ".join(
        f"{words.count(value)} in {words.month(month)}"
        for value, month in zip(failed["value"], failed["month"], strict=True)
    )
    st.caption(f"Critical expectations that failed: {said or 'none'}. Each month's report has the columns and rows.")


def _alerts(name: str) -> None:
    st.subheader("Broken rules")
    found = api().get(f"/datasets/{name}/alerts")["alerts"]
    if not found:
        st.info("None was seen. `python -m src.monitoring.check` looks.")
        return
    rows = [
        (row["opened_at"][:10], (row["resolved_at"] or "open")[:10], row["rule"], row["subject"], row["message"])
        for row in found
    ]
    st.dataframe(pd.DataFrame(rows, columns=["since", "until", "rule", "of", "what"]), hide_index=True, key="alerts")


def _classes(about: dict[str, Any]) -> None:
    rows = [
        (split, words.count(card["n"]), *(f"{value:.3f}" for value in card["scores"].values()))
        for split in ("eval", "holdout")
        if (card := about["metrics"].get(split))
    ]
    if not rows:
        st.info("Not enough data: nothing was measured.")
        return
    scores = next(card["scores"] for split in ("eval", "holdout") if (card := about["metrics"].get(split)))
    st.dataframe(
        pd.DataFrame(rows, columns=["judged on", "n", *map(words.column, scores)]), hide_index=True, key="scores"
    )
