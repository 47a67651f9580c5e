"""The rules of a config's `monitoring` held against what is known now: measures of months, and the API's requests."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import sqlalchemy as sa

from src.core.config import DatasetConfig
from src.core.monitoring_sections import RULES, Monitoring
from src.core.predictions_store import ALL
from src.monitoring import measures
from src.monitoring.measures import Measure
from src.monitoring.quality import month_end
from src.monitoring.tables import requests
from src.monitoring.verdicts import State, Verdict, verdicts

SLOWEST = 0.05  # of the answers: what is left of the 95th percentile


@dataclass(frozen=True)
class Finding:
    """One rule as it stands: `month` is the newest that has its measure, None of a rule about now."""

    rule: str
    subject: str
    month: str | None
    state: State
    value: float | None
    limit: float
    text: str


def findings(config: DatasetConfig, engine: sa.Engine, now: datetime) -> list[Finding]:
    """Hold each rule that is on against the newest month that has its measure, and against the newest requests."""
    known = measures.read(engine, config.name).filter((pl.col("month") == ALL) | (pl.col("month") <= f"{now:%Y-%m}"))
    known = known.filter(pl.col("value").is_not_nan())  # Postgres keeps what is no number, and no limit is beyond it
    limits = config.monitoring
    found = [*_of_months(known, limits), *_of_calendar(known, limits, now), *_of_requests(config, engine, now)]
    return sorted(found, key=lambda one: (one.rule, one.subject))


def _of_months(known: pl.DataFrame, limits: Monitoring) -> Iterator[Finding]:
    # Errors are known later than drift, so each measure has a newest month of its own.
    newest = known.filter(pl.col("segment") == "").sort("month").group_by("name", maintain_order=True).last()
    whole = {
        row["name"]: (row["month"], Measure(row["name"], row["value"], row["rows"]))
        for row in newest.iter_rows(named=True)
    }
    judged = verdicts((one for _, one in whole.values()), limits, is_newest=False)
    measured = {
        "max_drift_share": "drift_share",
        "max_unseen_share": "unseen_share",
        "max_failed_expectations": "failed_expectations",
        "max_mdape": "mdape",
        "min_accuracy": "accuracy",
    }
    for verdict in judged:
        name = verdict.subject if verdict.rule == "coverage_tolerance" else measured.get(verdict.rule)
        if name in whole:
            yield _finding(verdict, whole[name][0])
    drifts = known.filter(pl.col("name") == "drift")
    if limits.max_column_drift is not None and drifts.height:
        month = drifts["month"].max()
        for row in drifts.filter(pl.col("month") == month).sort("segment").iter_rows(named=True):
            one = Measure("drift", row["value"], row["rows"], row["segment"])
            judged = verdicts([one], limits, is_newest=False)
            yield from (_finding(verdict, str(month)) for verdict in judged if verdict.rule == "max_column_drift")


def _finding(verdict: Verdict, month: str) -> Finding:
    return Finding(
        verdict.rule, verdict.subject, month, verdict.state, verdict.value, verdict.limit, f"{month}: {verdict.text}"
    )


def _of_calendar(known: pl.DataFrame, limits: Monitoring, now: datetime) -> Iterator[Finding]:
    months = sorted(set(known["month"]) - {ALL})
    if not months:
        return
    if limits.max_data_age_days is not None:
        age = max((now.date() - month_end(months[-1])).days, 0)
        text = f"the newest predictions are of {months[-1]}, which ended {age:,} days ago"
        yield _simple("max_data_age_days", age, limits.max_data_age_days, f"{text}; {{limit:,g}} may have passed")
    if limits.max_missing_months is not None:
        every = pl.date_range(
            pl.lit(f"{months[0]}-01").str.to_date(), pl.lit(f"{months[-1]}-01").str.to_date(), "1mo", eager=True
        )
        missing = sorted(set(every.dt.strftime("%Y-%m")) - set(months))
        named = f" ({', '.join(missing[:6])}{', ...' if len(missing) > 6 else ''})" if missing else ""
        text = f"{len(missing):,} months between {months[0]} and {months[-1]} have no report{named}"
        yield _simple("max_missing_months", len(missing), limits.max_missing_months, f"{text}; {{limit:,g}} may")


def _of_requests(config: DatasetConfig, engine: sa.Engine, now: datetime) -> Iterator[Finding]:
    limits = config.monitoring
    recent = (
        requests.c.dataset == config.name,
        requests.c.role == "champion",
        requests.c.at >= now - timedelta(hours=limits.hours),
        requests.c.at <= now,
    )
    with engine.connect() as connection:
        failures = sa.func.sum(sa.case((requests.c.status >= 500, 1), else_=0))
        total, failed = connection.execute(sa.select(sa.func.count(), failures).where(*recent)).one()
        if not total:
            return
        # Those of files take as long as the file is large.
        answered = (*recent, requests.c.status < 500, requests.c.inputs.is_not(None))
        count = connection.execute(sa.select(sa.func.count()).where(*answered)).scalar_one()
        slow = sa.select(requests.c.milliseconds).where(*answered).order_by(requests.c.milliseconds.desc())
        p95 = connection.execute(slow.limit(1).offset(math.floor(SLOWEST * count))).scalar()
    said = f"in the last {limits.hours:,} h"
    if limits.max_error_rate is not None:
        text = f"{failed:,} of {total:,} requests failed {said}; {{limit:.1%}} may"
        yield _simple("max_error_rate", failed / total, limits.max_error_rate, text, total, limits.min_rows)
    if limits.max_latency_ms is not None and p95 is not None:
        text = f"95 % of {count:,} answers came within {p95:,.1f} ms {said}; {{limit:,g}} ms are allowed"
        yield _simple("max_latency_ms", p95, limits.max_latency_ms, text, count, limits.min_rows)


def _simple(rule: str, value: float, limit: float, text: str, rows: int = 1, least: int = 0) -> Finding:
    state: State = "beyond its limit" if value > limit else "ok"
    said = text.format(limit=limit)
    if rows < least:
        state, said = "not enough data", f"{said} ({rows:,} requests, {least:,} are needed)"
    return Finding(rule, "", None, state, float(value), float(limit), said)


def on(limits: Monitoring) -> list[str]:
    """Return the rules that are not turned off."""
    return [rule for rule in RULES if getattr(limits, rule) is not None]


def beyond(found: Sequence[Finding]) -> list[Finding]:
    """Return the breaches."""
    return [one for one in found if one.state == "beyond its limit"]
