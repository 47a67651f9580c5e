"""Models: the versions in the store, what was measured of each, and two of them side by side."""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import words
from dashboard.client import ApiProblem
from dashboard.filters import choose_dataset
from dashboard.page import api, detail, section, settings

MOST_VERSIONS = 10
GATE: dict[bool | None, str] = {True: "passed", False: "failed"}
SCORES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "mape": "MAPE",
    "mdape": "MdAPE",
    "accuracy": "accuracy",
    "log_loss": "log loss",
}


def page() -> None:
    """Show the page (ApiProblem where nothing can be shown)."""
    name = choose_dataset(api())
    about = detail(name)
    st.title(f"Models: {about['title']}")
    since = about["loaded_at"][:16].replace("T", " ")
    st.caption(
        f"{about['version']} serves since {since} UTC. Versions are promoted and rolled back by a command:"
        " `python -m src.training_pipeline.lifecycle move`."
    )
    listed = about["versions"]
    if listed is None:
        st.warning("The model store does not answer, so its versions cannot be listed. What serves goes on.", icon="⏳")
        return
    known = {one["version"]: found for one in listed[:MOST_VERSIONS] if (found := _of(name, one["version"]))}
    with section():
        _table(known, about)
    if len(listed) > MOST_VERSIONS:
        st.caption(f"The newest {MOST_VERSIONS} of {len(listed):,}")
    with section():
        _lineage(known, about)
    with section():
        _side_by_side(known, about)


def _of(name: str, version: str) -> dict[str, Any] | None:
    """Return what is known of a version, None where the store cannot say it now."""
    try:
        found: dict[str, Any] = api().get(f"/datasets/{name}/versions/{version}")
    except ApiProblem:
        return None
    return found


def _table(known: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    rows = []
    for version, one in known.items():
        card, moves = one["metrics"].get("holdout") or {}, one["lineage"]["moves"]
        gate = one["lineage"]["gate"] or {}
        rows.append(
            {
                "version": version,
                "stage": one["lineage"]["stage"],
                "family": one["lineage"]["family"],
                "gate": GATE.get(gate.get("passed"), "not recorded"),
                **{
                    f"holdout {SCORES[score]}": _score(score, value, about)
                    for score, value in (card.get("scores") or {}).items()
                    if score in SCORES
                },
                "moved by": moves[0]["by"] if moves else words.NOTHING,
                "why": moves[0]["why"] if moves else words.NOTHING,
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="versions")


def _score(name: str, value: float | None, about: dict[str, Any]) -> str:
    if name in ("mae", "rmse"):
        return words.money(value, about["unit"])
    return words.NOTHING if value is None else f"{value:.3f}" if name == "log_loss" else words.percent(value)


def _lineage(known: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    st.subheader("Where a version comes from")
    version = st.selectbox("Version", list(known), key="lineage")
    if version is None:
        return
    one = known[version]["lineage"]
    data = one["data"]
    facts = {
        "created": one["created"],
        "data": data.get("source") or words.NOTHING,
        "fingerprint of the data": data["fingerprint"],
        "trained on": f"{words.count(data.get('trained_on'))} rows",
        "code": one["git_commit"],
        "config": one["config"]["sha256"] or words.NOTHING,
        "signed": "yes" if one["signed"] else "no",
        "MLflow run": one["mlflow_run_id"] or words.NOTHING,
    }
    st.dataframe(
        pd.DataFrame({"": facts.keys(), about["name"]: map(str, facts.values())}), hide_index=True, key="facts"
    )
    ui = settings().mlflow_ui_url
    if ui and one["mlflow_run_id"]:
        st.link_button("Open the run in MLflow", f"{ui.rstrip('/')}/#/runs/{one['mlflow_run_id']}")
    moves = pd.DataFrame(one["moves"])
    if not moves.empty:
        st.dataframe(moves, hide_index=True, key="moves")


def _side_by_side(known: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    st.subheader("Two versions side by side")
    if len(known) < 2:
        st.info("Not enough data: there is one version so far.")
        return
    left, right = st.columns(2)
    first = left.selectbox("First", list(known), index=0, key="first")
    second = right.selectbox("Second", list(known), index=1, key="second")
    split = st.segmented_control("Judged on", ["holdout", "eval"], default="holdout", key="split") or "holdout"
    cards = [known[one]["metrics"].get(split) or {} for one in (first, second)]
    score = "accuracy" if about["task"] == "classification" else "mape"
    rows = [("all", *(card.get("n") for card in cards), *(card.get("scores", {}).get(score) for card in cards))]
    segments = [_segments(card, score) for card in cards]
    for key in dict.fromkeys([*segments[0], *segments[1]]):
        pair = [one.get(key, (None, None)) for one in segments]
        rows.append((key, *(n for n, _ in pair), *(value for _, value in pair)))
    heads = ["segment", "n, first", "n, second", f"{SCORES[score]}, first", f"{SCORES[score]}, second"]
    frame = pd.DataFrame(rows, columns=heads)
    for name in heads[3:]:
        frame[name] = [words.percent(value) for value in frame[name]]
    st.dataframe(frame, hide_index=True, key="compared")


def _segments(card: dict[str, Any], score: str) -> dict[str, tuple[int, float | None]]:
    """Return segment and group -> rows and score."""
    found = {}
    for segment, groups in (card.get("segments") or {}).items():
        for one in groups:
            found[f"{segment}: {one['value']}"] = (one["n"], (one["scores"] or {}).get(score))
    return found
