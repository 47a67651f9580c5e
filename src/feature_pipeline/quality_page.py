"""The first page of the quality report: every check of every split, readable without a network.

Great Expectations' own pages (`docs/`) take their style and their index from the web; this page needs nothing.
"""

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from src.core.files import replacing
from src.feature_pipeline.checks import Check, ValidationResult, example_rows

PAGE = "index.html"
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.6rem 0 1.4rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
.passed{color:#176b2c}.failed{color:#a40000;font-weight:600}.warning{color:#8a5a00;font-weight:600}
summary{cursor:pointer;font-weight:600}
"""


def write(folder: Path, title: str, results: Iterable[ValidationResult]) -> Path:
    """Write `index.html` into the folder of the results and return its path."""
    with replacing(folder / PAGE) as temporary:
        temporary.write_text("\n".join(_page(folder, title, results)), encoding="utf-8")
    return folder / PAGE


def _page(folder: Path, title: str, results: Iterable[ValidationResult]) -> Iterator[str]:
    heading = escape(f"{title}: data quality")
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
    yield f"<style>{STYLE}</style></head><body><h1>{heading}</h1>"
    for result in results:
        wrong = sorted((c for c in result.checks if c.passed is False), key=lambda check: check.severity)
        others = [check for check in result.checks if check.passed is not False]
        verdict = '<span class="passed">passed</span>' if result.passed else '<span class="failed">FAILED</span>'
        yield f"<h2>{escape(result.split)}: {result.rows:,} rows, {verdict}</h2>"
        yield f"<p>{_counts(result)}{''.join(_links(folder, result.split))}</p>"
        if wrong:
            yield from _table(wrong)
        yield f"<details><summary>{len(others)} other checks</summary>"
        yield from _table(others)
        yield "</details>"
    yield "</body></html>"


def _counts(result: ValidationResult) -> str:
    done = sum(check.passed is not None for check in result.checks)
    failed, warned = len(result.failed("critical")), len(result.failed("warning"))
    return f"{done} expectations checked, {failed} critical failures, {warned} warnings."


def _links(folder: Path, split: str) -> Iterator[str]:
    for path in sorted((folder / "docs" / "validations" / split).rglob("*.html")):
        yield f' <a href="{escape(path.relative_to(folder).as_posix())}">Great Expectations\' page</a>'


def _table(checks: Iterable[Check]) -> Iterator[str]:
    yield "<table><thead><tr><th>outcome</th><th>column</th><th>rule</th><th>found</th></tr></thead><tbody>"
    for check in checks:
        columns = ", ".join(check.columns) or "the table"
        rule = f"{check.rule} ({check.limits})" if check.limits else check.rule
        found = f"{check.text}, for example {example_rows(check)}" if check.examples else check.text
        cells = "".join(f"<td>{escape(text)}</td>" for text in (columns, rule, found))
        yield f"<tr>{_outcome(check)}{cells}</tr>"
    yield "</tbody></table>"


def _outcome(check: Check) -> str:
    if check.passed is None:
        return "<td>not checked</td>"
    kind = "passed" if check.passed else "failed" if check.severity == "critical" else "warning"
    return f'<td class="{kind}">{kind}</td>'
