"""Quality: whether the model kept, month by month, what was promised of it."""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, words
from dashboard.filters import choose, choose_dataset, rows_of
from dashboard.page import api, detail, draw, section

# Ranges are those of the International Association of Assessing Officers, as the model's report has them.
NAMES = {"median_ratio": "median ratio", "cod": "COD", "prd": "PRD", "prb": "PRB", "mki": "MKI"}


def page() -> None:
    """Show the page (ApiProblem where nothing can be shown)."""
    name = choose_dataset(api())
    about = detail(name)
    months = rows_of(api(), name, {"by": "month"}) if about["date"] else []
    filters = choose(api(), about, [row["month"] for row in months])
    st.title(f"Quality: {about['title']}")
    if about["task"] == "classification":
        _classes(about)
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
    st.subheader("Data quality and drift")
    st.info("None yet.")


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
