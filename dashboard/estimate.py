"""Estimate: one home's price with its reasons and its like, and files priced whole."""

import io
from collections.abc import Iterator
from datetime import date
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, start, words
from dashboard.client import ApiProblem
from dashboard.filters import choose_dataset
from dashboard.page import api, detail, draw, section

Row = dict[str, Any]
# Sliders of the features that moved the price most; each goes so far to both sides.
SLIDERS, REACH = 3, 0.5
MOST_ERRORS = 100
PART = 256 * 1024
TYPES = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


def page() -> None:
    """Show the page (ApiProblem where nothing can be shown)."""
    name = choose_dataset(api())
    about = detail(name)
    st.title(f"Estimate: {about['title']}")
    st.caption(f"An estimate, not an appraisal. Model {about['version']}, {_data_month(about)}.")
    one, many = st.tabs(["One", "A file"])
    with one:
        above = st.container()
        row = _form(about, above)
        with above, section():
            _answer(about, row)
    with many, section():
        _file(about)


def _data_month(about: dict[str, Any]) -> str:
    last = (about["metrics"].get("holdout") or {}).get("last")
    return f"data up to {words.month(str(last)[:7])}" if last else f"loaded on {str(about['loaded_at'])[:10]}"


def _form(about: dict[str, Any], above: Any) -> Row:
    """Show a field for each column that a price depends on, and return the row that was last asked for."""
    schema, needed = about["row_schema"], about["row_schema"]["required"]
    with above:
        begin = start.choose(about)
    with st.form("row", border=True):
        row: Row = {}
        columns = st.columns(3)
        for number, name in enumerate(needed):
            with columns[number % 3]:
                key = f"{about['name']}-{begin.name}-{name}"
                row[name] = _field(name, schema["properties"][name], begin.row.get(name), key)
        st.form_submit_button("Estimate", type="primary")
    return row


def _field(name: str, about: dict[str, Any], value: Any, key: str) -> Any:
    label, said = words.column(name), about.get("description") or None
    kinds = [about, *about.get("anyOf", [])]
    if any(kind.get("format") == "date" for kind in kinds):
        day = date.fromisoformat(value[:10]) if start.is_date(value) else date.today()  # noqa: DTZ011  (the reader's own day)
        return st.date_input(label, day, help=said, key=key).isoformat()
    if any(kind.get("type") == "number" for kind in kinds):
        limits = next(kind for kind in kinds if kind.get("type") == "number")
        least, most = (
            float(limits[end]) if abs(limits.get(end, 1e300)) < 1e15 else None for end in ("minimum", "maximum")
        )
        return st.number_input(label, least, most, None if value is None else float(value), help=said, key=key)
    text = st.text_input(label, "" if value is None else str(value), help=said, key=key)
    # An empty text is not the same as none.
    return text or (None if any(kind.get("type") == "null" for kind in kinds) else text)


def _answer(about: dict[str, Any], row: Row) -> None:
    path = f"/datasets/{about['name']}/predict"
    try:
        said = api().post(path, row, {"explain": "true"})
    except ApiProblem as problem:
        for one in problem.problem.get("errors", []):
            st.error(f"**{words.column(one['field'])}** {one['detail']}")
        if not problem.problem.get("errors"):
            raise
        return
    if about["task"] == "classification":
        shares = pd.Series(said["probabilities"][0]).sort_values(ascending=False)
        st.metric(words.column(about["target"]).capitalize(), said["predictions"][0])
        st.bar_chart(shares, horizontal=True, x_label="probability")
        return
    _price(about, said)
    why = said["explanations"][0]
    parts = [(words.column(one["feature"]), one["amount"]) for one in why["contributions"]]
    if why["rest"]:
        parts.append(("all other features", why["rest"]))
    st.subheader("Why")
    draw(
        charts.waterfall(why["base"], parts, said["predictions"][0], about["unit"]),
        "why",
        "How the estimate comes about from the average answer, reason by reason",
    )
    _what_if(about, row, why, said["predictions"][0])
    with section():
        _comparables(about, row)


def _price(about: dict[str, Any], said: dict[str, Any]) -> None:
    with st.container(horizontal=True):
        st.metric("Estimate", words.money(said["predictions"][0], about["unit"]), border=True, width="content")
        for level, ends in said["intervals"].items():
            low, high = (words.money(end, about["unit"]) for end in ends[0])
            meaning = f"Of {level} in 100 such homes the price should lie between these."
            st.metric(f"{level} % interval", f"{low} – {high}", border=True, help=meaning, width="content")
    for flag in said["flags"][0]:
        st.info(f"Unusual about this row: {words.column(flag)}. It is priced all the same.")


def _what_if(about: dict[str, Any], row: Row, why: dict[str, Any], price: float) -> None:
    named = [one["feature"] for one in why["contributions"]]
    moved = [one for one in named if isinstance(row.get(one), float | int) and row[one]][:SLIDERS]
    if not moved:
        return
    st.subheader("What if")
    changed = dict(row)
    for column, name in zip(st.columns(len(moved)), moved, strict=True):
        value = float(row[name])
        low, high = sorted((value * (1 - REACH), value * (1 + REACH)))
        key = f"if-{about['name']}-{name}-{value}"
        changed[name] = column.slider(words.column(name), low, high, value, key=key)
    with section():
        said = api().post(f"/datasets/{about['name']}/predict", changed)["predictions"][0]
        change = words.money(said - price, about["unit"], signed=True) if changed != row else None
        st.metric("Then the estimate would be", words.money(said, about["unit"]), change, delta_color="off")


def _comparables(about: dict[str, Any], row: Row) -> None:
    st.subheader("Known homes most like it")
    found = api().post(f"/datasets/{about['name']}/comparables", row)["comparables"]
    if not found:
        st.info("Not enough data: the model knows no rows to compare with.")
        return
    unit = about["unit"]
    frame = pd.DataFrame(
        {
            "similarity": words.percent(one["similarity"], 0),
            "actual": words.money(one["actual"], unit),
            "estimate": words.money(one["estimate"], unit),
            **{words.column(name): value for name, value in one["row"].items()},
        }
        for one in found
    )
    st.dataframe(frame, hide_index=True, key="comparables")


def _file(about: dict[str, Any]) -> None:
    """Price an uploaded file, show how far it is, and offer the result."""
    st.write(
        f"A CSV or Parquet file with the columns of {about['name']}. Every row comes back with its price, and one"
        " that has none with the reason."
    )
    upload = st.file_uploader("File", type=list(TYPES), key=f"upload-{about['name']}")
    if upload is None:
        return
    kind = upload.name.rpartition(".")[2].lower()
    key = f"priced-{about['name']}-{upload.file_id}"
    if key not in st.session_state:
        for old in [one for one in st.session_state if str(one).startswith("priced-")]:
            del st.session_state[old]  # a file a session, so that memory does not grow
        bar = st.progress(0.0, "sending")
        parts = _parts(upload, upload.size, bar)
        body = api().score(f"/datasets/{about['name']}/score", parts, TYPES[kind], TYPES[kind])
        st.session_state[key] = b"".join(body)
        bar.empty()
    priced: bytes = st.session_state[key]
    frame = pd.read_csv(io.BytesIO(priced), dtype=str) if kind == "csv" else pd.read_parquet(io.BytesIO(priced))
    bad = frame[frame["error"].notna() & (frame["error"] != "")]
    st.success(f"{len(frame) - len(bad):,} of {len(frame):,} rows are priced.")
    st.download_button(
        "Download the priced rows",
        priced,
        f"priced-{upload.name}",
        TYPES[kind],
        on_click="ignore",
        icon=":material/download:",
    )
    if len(bad):
        st.warning(
            f"{len(bad):,} rows have no price" + (f"; the first {MOST_ERRORS}:" if len(bad) > MOST_ERRORS else ":")
        )
        listed = pd.DataFrame({"row": bad.index + 1, "why": bad["error"]})
        st.dataframe(listed.head(MOST_ERRORS), hide_index=True, key="bad")


def _parts(upload: Any, size: int, bar: Any) -> Iterator[bytes]:
    sent = 0
    while part := upload.read(PART):
        sent += len(part)
        bar.progress(
            min(sent / max(size, 1), 1.0),
            f"{sent / 1e6:,.1f} of {size / 1e6:,.1f} MB sent; rows are priced as they come",
        )
        yield part
