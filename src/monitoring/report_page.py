"""A month's report as a page, which needs no network, and as lines on a terminal."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import polars as pl

from src.core.tables import cells, print_table, table
from src.monitoring.month_charts import Line, chart
from src.monitoring.month_report import PREDICTED, MonthReport
from src.monitoring.report_words import before, changes, headline, importance, number

STYLE = """
body{font:15px/1.4 system-ui,sans-serif;max-width:1180px;margin:1.2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.35rem;margin:0}h2{font-size:1rem;margin:.9rem 0 .3rem}p{margin:.2rem 0}.small{color:#666;font-size:13px}
.screen{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:0 2rem}ul{margin:.2rem 0;padding-left:1.1rem}
table{border-collapse:collapse;font-size:13.5px}th,td{padding:.15rem .6rem .15rem 0;border-bottom:1px solid #e2e2e2;
text-align:left;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}td.ok,td.beyond,td.short{white-space:nowrap}.ok{color:#176b2c}.beyond{color:#a40000;font-weight:600}.short{color:#8a5a00}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:1rem}
svg text{font:11px system-ui,sans-serif;fill:#555}svg text.title{font-weight:600;font-size:12px;fill:#222}
@media(max-width:800px){.screen{grid-template-columns:1fr}}
"""
KINDS = {"ok": "ok", "beyond its limit": "beyond", "not enough data": "short"}
PAGES = {
    "drift.html": "every column beside its reference (Evidently)",
    "performance.html": "errors in detail (Evidently)",
    "evidently.json": "Evidently's results as JSON",
    "report.json": "this page as JSON",
}


def page(report: MonthReport, past: pl.DataFrame) -> str:
    """Write the page; `past` are the measures of the months before."""
    return "\n".join(_page(report, past))


def _page(report: MonthReport, past: pl.DataFrame) -> Iterator[str]:
    heading = escape(f"{report.config.title}: {report.month}")
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><h1>{heading}</h1>"
    kind = "beyond" if report.beyond else "short" if headline(report).startswith("not enough") else "ok"
    rows = (
        f"{int(report.value('rows') or 0):,} rows priced by {report.version}; reported {report.at:%Y-%m-%d %H:%M} UTC"
    )
    yield f'<p><b class="{kind}">{escape(headline(report))}</b> <span class="small">{escape(rows)}</span></p>'
    yield '<div class="screen"><section><h2>What changed</h2>'
    yield _list(changes(report))
    yield "<h2>How much it matters</h2>"
    yield _list(importance(report, before(report, past)))
    yield "</section><section><h2>Rules</h2>"
    yield from _rules(report)
    yield "</section></div>"
    yield f"<h2>Which rows to look at: {escape(report.look_why)}</h2>"
    yield from _rows(report.look_at, report)
    yield _list(report.notes)
    drawn = "".join(charts(report, past))
    if drawn:
        yield f'<h2>The months so far</h2><div class="charts">{drawn}</div>'
    yield from _columns(report)
    yield from _segments(report)
    there = [name for name in PAGES if name in report.pages or name.endswith(".json")]
    links = [f'<a href="{name}">{escape(PAGES[name])}</a>' for name in there]
    yield f"<h2>More</h2><p>{' · '.join(links)}</p></body></html>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _rules(report: MonthReport) -> Iterator[str]:
    yield "<table><tbody>"
    for one in report.verdicts:
        yield f'<tr><td class="{KINDS[one.state]}">{one.state}</td><td>{one.rule}</td><td>{escape(one.text)}</td></tr>'
    yield "</tbody></table>"


def _rows(rows: Sequence[dict[str, Any]], report: MonthReport) -> Iterator[str]:
    if not rows:
        yield '<p class="small">None stands out.</p>'
        return
    texts = {name for name, column in report.config.columns.items() if column.type != "number"}
    numeric = {
        name: name not in texts and all(isinstance(row[name], int | float | None) for row in rows) for name in rows[0]
    }
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f"<th{' class=n' if numeric[name] else ''}>{escape(name)}</th>" for name in rows[0])
    yield "</tr></thead><tbody>"
    for row in rows:
        made = (f"<td{' class=n' if numeric[name] else ''}>{escape(_cell(value))}</td>" for name, value in row.items())
        yield f"<tr>{''.join(made)}</tr>"
    yield "</tbody></table></div>"


def _cell(value: Any) -> str:
    return "" if value is None else number(value) if isinstance(value, float) else str(value)


def charts(report: MonthReport, past: pl.DataFrame) -> list[str]:
    """Draw error, coverage and drift of the months so far, this one included."""
    limits = report.config.monitoring
    here = [(report.month, one.name, one.value) for one in report.measures if not one.segment]
    found = [*past.select("month", "name", "value").iter_rows(), *here]
    names = {name for _, name, _ in found}
    # Data sets without dates have one month only, which is charted by nobody.
    months = sorted({month for month, name, _ in found if name in ("drift_share", "mdape", "accuracy")})

    def line(name: str, label: str, limit: float | None = None) -> Line:
        return Line(
            label, {month: value for month, one, value in sorted(found) if one == name and month in months}, limit
        )

    error = ("accuracy", limits.min_accuracy) if "accuracy" in names else ("mdape", limits.max_mdape)
    levels = [f"{100 * level:g}" for level in report.config.levels]
    return [
        chart("accuracy" if error[0] == "accuracy" else "MdAPE", [line(error[0], error[0], error[1])], months),
        chart("coverage", [line(f"coverage_{level}", f"{level}%", float(level) / 100) for level in levels], months, 1),
        chart("share of columns that drifted", [line("drift_share", "drift", limits.max_drift_share)], months),
    ]


def _columns(report: MonthReport) -> Iterator[str]:
    if report.drift is None:
        return
    yield f"<details><summary>{len(report.drift.columns):,} columns beside their reference</summary><table><thead><tr>"
    yield "<th>column<th>compared as<th class=n>distance<th class=n>median then<th class=n>median now<th>"
    yield "</tr></thead><tbody>"
    for one in report.drift.columns:
        middles = [number(value) for value in report.middles.get(one.name, ())] or ["", ""]
        distance = "no value" if one.distance is None else f"{one.distance:.3f}"
        made = "".join(f"<td class=n>{text}</td>" for text in (distance, *middles))
        mark = '<td class="beyond">drifted</td>' if one.drifted else "<td></td>"
        name = "the prediction" if one.name == PREDICTED else one.name
        yield f"<tr><td>{escape(name)}</td><td>{one.kind}</td>{made}{mark}</tr>"
    yield "</tbody></table></details>"


def _segments(report: MonthReport) -> Iterator[str]:
    groups: dict[str, dict[str, float]] = {}
    for one in report.measures:
        if one.segment and not one.segment.startswith("column="):
            groups.setdefault(one.segment, {})[one.name] = one.value
    if not groups:
        return
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    yield f"<details><summary>{len(groups):,} segments</summary><table><thead><tr><th>segment"
    yield "".join(f"<th class=n>{name}" for name in names) + "</tr></thead><tbody>"
    for segment, values in groups.items():
        made = (
            "" if name not in values else f"{values[name]:,.0f}" if name == "rows" else f"{values[name]:.1%}"
            for name in names
        )
        yield f"<tr><td>{escape(segment)}</td>{''.join(f'<td class=n>{text}</td>' for text in made)}</tr>"
    yield "</tbody></table></details>"


def print_reports(reports: Sequence[MonthReport]) -> None:
    """Print each report's first screen, and a table where there are several."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not reports:
        console.print("every month's report is of its newest predictions; name one with --month to make it again")
    for report in reports[-1:] if len(reports) > 3 else reports:
        console.print(Text(f"{report.config.name} {report.month}: {headline(report)}", style="bold"))
        for line in (*changes(report), *importance(report, None), *report.notes):
            console.print(Text(f"  {line}"))
        made = table("rules", "", "rule", "found")
        for one in report.verdicts:
            made.add_row(*cells(one.state, one.rule, one.text))
        print_table(made)
    if len(reports) > 1:
        made = table("months", "month", "rows", "error", "drifted", "unseen", "beyond their limits")
        for report in reports:
            error = report.value("mdape") if report.value("accuracy") is None else report.value("accuracy")
            shares = (error, report.value("drift_share"), report.value("unseen_share"))
            shown = ["" if value is None else f"{value:.1%}" for value in shares]
            beyond = ", ".join(dict.fromkeys(one.rule for one in report.beyond))
            made.add_row(*cells(report.month, f"{int(report.value('rows') or 0):,}", *shown, beyond))
        print_table(made)
