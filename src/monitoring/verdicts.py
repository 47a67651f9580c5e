"""A month's measures held against the rules of the config's `monitoring`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from src.core.monitoring_sections import Monitoring
from src.monitoring.measures import Measure

State = Literal["ok", "beyond its limit", "not enough data"]


@dataclass(frozen=True)
class Verdict:
    """One rule on one month: `subject` says what of it, for example a column; `value` is None without data."""

    rule: str
    state: State
    subject: str
    value: float | None
    limit: float
    rows: int
    text: str


def verdicts(measures: Iterable[Measure], limits: Monitoring, *, is_newest: bool = True) -> tuple[Verdict, ...]:
    """Judge a month by every rule about months that is on; of columns and intervals the worst one speaks.

    How old the data are is asked of the newest month only.
    """
    found = list(measures)
    return tuple(_judged(found, limits, is_newest))


def _judged(found: list[Measure], limits: Monitoring, is_newest: bool) -> Iterator[Verdict]:
    whole = {one.name: one for one in found if not one.segment}
    for rule, name, worded in (
        ("max_drift_share", "drift_share", "{0:.0%} of the columns drifted, {1:.0%} may"),
        ("max_unseen_share", "unseen_share", "{0:.1%} of the rows have a category never seen, {1:.1%} may"),
        ("max_failed_expectations", "failed_expectations", "{0:,.0f} critical expectations failed, {1:,.0f} may"),
        ("max_mdape", "mdape", "MdAPE {0:.1%}, at most {1:.1%}"),
        ("min_accuracy", "accuracy", "accuracy {0:.1%}, at least {1:.1%}"),
        ("max_data_age_days", "data_age_days", "{0:,.0f} days old, at most {1:,.0f}"),
    ):
        limit = getattr(limits, rule)
        if limit is None or (rule == "max_data_age_days" and not is_newest):
            continue
        if name in whole or (name == "mdape" and "accuracy" not in whole):
            yield _verdict(rule, "", whole.get(name), float(limit), limits, worded)
    if limits.max_column_drift is not None:
        worst = max((one for one in found if one.name == "drift"), key=lambda one: one.value, default=None)
        column = worst.segment.removeprefix("column=") if worst else ""
        worded = column + ": distance {0:.2f}, at most {1:.2f}"
        yield _verdict("max_column_drift", column, worst, limits.max_column_drift, limits, worded)
    yield from _coverages(whole, limits)


def _coverages(whole: dict[str, Measure], limits: Monitoring) -> Iterator[Verdict]:
    if limits.coverage_tolerance is None:
        return
    for name, one in whole.items():
        if name.startswith("coverage_"):
            level = float(name.removeprefix("coverage_"))
            gap = Measure(name, abs(one.value - level / 100), one.rows)
            worded = f"the {level:g}% interval held {one.value:.1%}" + ", at most {1:.0%} beside its level"
            yield _verdict("coverage_tolerance", name, gap, limits.coverage_tolerance, limits, worded)


def _verdict(rule: str, subject: str, one: Measure | None, limit: float, limits: Monitoring, worded: str) -> Verdict:
    if one is None:
        return Verdict(rule, "not enough data", subject, None, limit, 0, "nothing to measure it on yet")
    text = worded.format(one.value, limit)
    if one.rows < limits.min_rows:
        return Verdict(rule, "not enough data", subject, one.value, limit, one.rows, f"{text} ({one.rows:,} rows)")
    beyond = one.value < limit if rule.startswith("min_") else one.value > limit
    return Verdict(rule, "beyond its limit" if beyond else "ok", subject, one.value, limit, one.rows, text)
