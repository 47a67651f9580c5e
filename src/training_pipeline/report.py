"""The evaluation's report: `index.html` for people, `scores.json` for programs, plots as HTML and PNG."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from html import escape
from pathlib import Path
from typing import Any

from src.core.config import DatasetConfig
from src.core.files import replacing, write_json
from src.core.metrics import LABELS_OF
from src.training_pipeline import charts
from src.training_pipeline.gate import Verdict, number
from src.training_pipeline.model_card import cell, comparison, confusion
from src.training_pipeline.scorecard import NOT_ENOUGH, Coverage, Scorecard, SegmentRow, calibration

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.6rem 0 1.4rem;display:block;overflow-x:auto}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}tbody tr:first-child{font-weight:600}
.plain tbody tr{font-weight:400}.in{color:#176b2c}.out{color:#a40000;font-weight:600}
img{max-width:100%}summary{cursor:pointer;font-weight:600}
"""
Cell = str | tuple[str, str]


def as_plain(cards: Mapping[str, Scorecard], verdict: Verdict | None) -> dict[str, Any]:
    """Return every figure as JSON-safe content; a figure that does not exist is null."""
    content: dict[str, Any] = {split: _plain(card) for split, card in cards.items()}
    if verdict:
        content["gate"] = {
            "passed": verdict.passed,
            "notes": list(verdict.notes),
            "lines": [{**asdict(line), "passed": line.passed} for line in verdict.lines],
        }
    return content


def write(
    folder: Path, config: DatasetConfig, cards: Mapping[str, Scorecard], verdict: Verdict, drawn: Iterable[charts.Chart]
) -> Path:
    """Write the whole report and return its `index.html`; each file is replaced when it is whole."""
    pictures = []
    for chart in drawn:
        charts.write_html(chart, folder / f"{chart.name}.html")
        charts.write_png(chart, folder / f"{chart.name}.png")
        pictures.append(chart)
    write_json(folder / "scores.json", as_plain(cards, verdict))
    with replacing(folder / "index.html") as temporary:
        temporary.write_text("\n".join(_page(folder, config, cards, verdict, pictures)), encoding="utf-8")
    return folder / "index.html"


def _page(
    folder: Path, config: DatasetConfig, cards: Mapping[str, Scorecard], verdict: Verdict, drawn: list[charts.Chart]
) -> Iterator[str]:
    title = f"{config.title}: evaluation"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
    yield from _gate(verdict)
    for card in cards.values():
        yield f"<h2>{card.split}: {card.n:,} rows{card.dates and f', {card.dates}'}</h2>"
        yield _table(["", "rows", *card.labels.values()], comparison(card, config.target.unit))
        if config.task == "classification":
            yield "<h3>Rows by actual (down) and predicted class</h3>"
            yield _table(["", *config.target.classes], confusion(card, config.target.classes), "plain")
        else:
            yield from _ratios(card)
            yield from _intervals(card, config)
    yield "<h2>Plots</h2>"
    for chart in drawn:
        # Inside the page, so that it can be mailed or shown by a server that serves only this file.
        picture = base64.b64encode((folder / f"{chart.name}.png").read_bytes()).decode()
        yield f'<h3><a href="{chart.name}.html">{escape(chart.title)}</a> (interactive)</h3>'
        yield f'<img alt="{escape(chart.title)}" src="data:image/png;base64,{picture}">'
    yield "<h2>By segment</h2>"
    for card in cards.values():
        for name, rows in card.segments.items():
            yield f"<details><summary>{card.split} by {escape(name)}: {len(rows)} groups</summary>"
            yield from _segment(rows, config)
            yield "</details>"
    yield "</body></html>"


def _gate(verdict: Verdict) -> Iterator[str]:
    yield f"<h2>Gate: {_mark(verdict.passed, 'passed', 'FAILED')}</h2>"
    rows: Iterator[list[Cell]] = (
        [line.name, number(line.value), f"{line.sense} {number(line.limit)}", _flag(line.passed, "ok", "failed")]
        for line in verdict.lines
    )
    yield _table(["condition", "value", "allowed", ""], rows, "plain")
    yield from (f"<p>{escape(note)}.</p>" for note in verdict.notes)


def _ratios(card: Scorecard) -> Iterator[str]:
    yield "<h3>Ratio study</h3>"
    if card.ratios is None:
        yield f"<p>{NOT_ENOUGH}: {escape(card.ratio_note)}</p>"
        return
    rows: list[list[Cell]] = []
    for m in card.ratios.values():
        interval = f"{m.interval[0]:.4f} to {m.interval[1]:.4f}" if m.interval else "-"
        rows.append([m.name, f"{m.value:.4f}", interval, f"{m.low:g} to {m.high:g}", _flag(m.in_range, "in", "OUT")])
    yield _table(["", "value", "95 % interval", "acceptable (IAAO; MKI: Quintos)", ""], rows, "plain")
    if card.ratios["COD"].value < card.ratios["COD"].low:
        yield "<p>A COD below 5 hints at sales chasing where sales are judged; a smoothed index is easy to fit.</p>"


def _intervals(card: Scorecard, config: DatasetConfig) -> Iterator[str]:
    yield f"<h3>Intervals ({calibration(card.split, config)})</h3>"
    known = {held.level: held for held in card.coverage}
    rows = [[f"{100 * level:g} %", *_held(known.get(level))] for level in config.levels]
    yield _table(["nominal", "observed coverage", "mean width / estimate"], rows, "plain")


def _held(held: Coverage | None) -> list[str]:
    return [f"{100 * held.observed:.1f} %", f"{100 * held.width:.1f} %"] if held else [NOT_ENOUGH, "-"]


def _segment(rows: tuple[SegmentRow, ...], config: DatasetConfig) -> Iterator[str]:
    ratio_names = ("COD", "PRD", "PRB", "MKI") if config.task == "regression" else ()
    labels = LABELS_OF[config.task]
    head = ["", "rows", *labels.values(), *ratio_names]
    head += [f"{text} {100 * v:g} %" for v in config.levels for text in ("coverage", "width")]
    laid: list[list[Cell]] = []
    for row in rows:
        if row.scores is None:
            laid.append([row.value, f"{row.n:,}", NOT_ENOUGH])
            continue
        found: list[Cell] = [row.value, f"{row.n:,}", *(cell(m, row.scores.get(m), config.target.unit) for m in labels)]
        for name in ratio_names:
            measure = row.ratios[name] if row.ratios else None
            found.append(_flag(measure.in_range, *[f"{measure.value:.3f}"] * 2) if measure else "-")
        known = {held.level: held for held in row.coverage}
        for level in config.levels:
            found += _held(known.get(level))
        laid.append(found)
    yield _table(head, laid, "plain")


def _flag(good: bool, yes: str, no: str) -> tuple[str, str]:
    return (yes, "in") if good else (no, "out")


def _mark(good: bool, yes: str, no: str) -> str:
    text, kind = _flag(good, yes, no)
    return f'<span class="{kind}">{text}</span>'


def _table(head: Iterable[str], rows: Iterable[Iterable[Cell]], kind: str = "") -> str:
    heads = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(_td(one) for one in row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _td(one: Cell) -> str:
    return f"<td>{escape(one)}</td>" if isinstance(one, str) else f'<td class="{one[1]}">{escape(one[0])}</td>'


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
