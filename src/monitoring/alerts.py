"""Alerts: opened by the first look that sees a breach, resolved by the first that no longer does, told once each.

An alert and what is to be told of it are written in one transaction; what is told is marked when a channel has taken
it. A channel that is down gets it at the next look. One that took it just before this process died may get it twice,
with the same key.
"""

import json
import logging
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from src.core.errors import HousecastError
from src.core.monitoring_sections import RULES
from src.monitoring.channels import Channel, RefusedError
from src.monitoring.database import writing
from src.monitoring.next_steps import NEXT
from src.monitoring.rules import Finding
from src.monitoring.tables import alerts, notices

logger = logging.getLogger(__name__)

# What says that rows are no longer like those that were learned from; the stack's alarm counts these lines.
DRIFT = frozenset({"max_drift_share", "max_column_drift", "max_unseen_share"})
# Whoever began to deliver a notice so long ago has died.
CLAIM_SECONDS = 120


@dataclass(frozen=True)
class Changes:
    """What one look changed, and what it could not tell."""

    opened: tuple[Finding, ...]
    resolved: tuple[Finding, ...]
    told: int
    untold: Mapping[str, str]  # channel -> why


def update(
    engine: sa.Engine,
    dataset: str,
    found: Sequence[Finding],
    channels: Collection[str],
    now: datetime,
    on: Collection[str] = RULES,
) -> tuple[list[Finding], list[Finding]]:
    """Open and resolve alerts, and write what is to be told; returns the findings that did either.

    A rule without enough data changes nothing. A column that is measured no more is resolved, and so is what is open
    of a rule that is not `on`.
    """
    opened, resolved = [], []
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":  # another look may be at the same; SQLite has one writer anyway
            connection.execute(sa.text("LOCK TABLE alerts IN SHARE ROW EXCLUSIVE MODE"))
        ours = alerts.c.dataset == dataset
        asked = connection.execute(sa.select(alerts).where(ours, alerts.c.resolved_at.is_(None))).mappings()
        known = {(one["rule"], one["subject"]): one["id"] for one in asked}
        for one in found:
            number = known.pop((one.rule, one.subject), None)
            if one.state == "beyond its limit" and number is None:
                _tell(connection, _open(connection, dataset, one, now), "breach", channels, now)
                opened.append(one)
            elif one.state == "ok" and number is not None:
                _resolve(connection, number, channels, now)
                resolved.append(one)
        rules = {one.rule for one in found if one.state != "not enough data"}
        for (rule, subject), number in known.items():
            if rule not in on or (rule in rules and subject):
                _resolve(connection, number, channels, now)
                gone = f"{subject} is not measured any more" if rule in on else "the rule is turned off"
                resolved.append(Finding(rule, subject, None, "ok", None, 0.0, gone))
    return opened, resolved


def _open(connection: sa.Connection, dataset: str, one: Finding, now: datetime) -> int:
    values = {"rule": one.rule, "subject": one.subject, "month": one.month, "value": one.value, "message": one.text}
    made = connection.execute(
        alerts.insert().values(dataset=dataset, threshold=one.limit, opened_at=now, **values)
    ).inserted_primary_key
    assert made is not None
    return int(made[0])


def _resolve(connection: sa.Connection, number: int, channels: Collection[str], now: datetime) -> None:
    connection.execute(alerts.update().where(alerts.c.id == number).values(resolved_at=now))
    # A channel that was never to hear of the breach need not hear of its end.
    told = connection.execute(sa.select(notices.c.channel).where(notices.c.alert == number)).scalars()
    _tell(connection, number, "resolved", set(channels) & set(told), now)


def _tell(connection: sa.Connection, number: int, event: str, channels: Collection[str], now: datetime) -> None:
    rows = [{"alert": number, "event": event, "channel": one, "made_at": now, "attempts": 0} for one in channels]
    if rows:
        connection.execute(notices.insert(), rows)


def deliver(engine: sa.Engine, channels: Mapping[str, Channel], now: datetime) -> tuple[int, dict[str, str]]:
    """Tell what is not told yet, in the order in which it happened; returns how much, and channel -> what went wrong.

    A channel that is down is not asked again in this look. Nobody is told of an alert's end before its beginning.
    """
    # A notice of a channel that is not set any more waits until it is.
    waiting = sa.and_(notices.c.delivered_at.is_(None), notices.c.channel.in_(list(channels)))
    asked = sa.select(notices, alerts).join(alerts).where(waiting).order_by(notices.c.alert, notices.c.event)
    with engine.connect() as connection:
        rows = connection.execute(asked).mappings().all()
    started, told, failed = time.monotonic(), 0, dict[str, str]()
    down, held = set[str](), set[tuple[str, int]]()
    for row in rows:
        channel = row["channel"]
        if channel in down or (channel, row["alert"]) in held:
            continue
        at = now + timedelta(seconds=time.monotonic() - started)  # what came before may have taken long
        if not _claim(engine, row, at):
            held.add((channel, row["alert"]))
            continue
        try:
            channels[channel](message_of(row), key_of(row))
        except HousecastError as error:
            failed[channel] = str(error)
            held.add((channel, row["alert"]))
            if not isinstance(error, RefusedError):
                down.add(channel)
            logger.warning("%s: an alert of %s is not told yet: %s", channel, row["dataset"], error)
            _mark(engine, row, claimed_at=None, error=str(error))
        else:
            told += 1
            _mark(engine, row, delivered_at=at, error=None)
    return told, failed


def key_of(row: Mapping[Any, Any]) -> str:
    """Return what tells a notice apart from all others, of other databases too, and is the same in each attempt."""
    parts = (row["dataset"], row["rule"], row["subject"], row["opened_at"].isoformat(), row["event"])
    return f"housecast-{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(parts))}"


def still_open(engine: sa.Engine, dataset: str) -> dict[tuple[str, str], str]:
    """Return the alerts that last: (rule, subject) -> what was told of each."""
    asked = sa.select(alerts.c.rule, alerts.c.subject, alerts.c.message).where(
        alerts.c.dataset == dataset, alerts.c.resolved_at.is_(None)
    )
    with engine.connect() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(asked.order_by(alerts.c.id))}


def _key(row: Mapping[Any, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(notices.c[name] == row[name] for name in ("alert", "event", "channel")))


def _claim(engine: sa.Engine, row: Mapping[Any, Any], now: datetime) -> bool:
    # One that another look has begun to deliver is left to it.
    free = sa.or_(notices.c.claimed_at.is_(None), notices.c.claimed_at < now - timedelta(seconds=CLAIM_SECONDS))
    claimed = notices.update().where(_key(row), notices.c.delivered_at.is_(None), free)
    with writing(engine) as connection:
        return connection.execute(claimed.values(claimed_at=now, attempts=notices.c.attempts + 1)).rowcount == 1


def _mark(engine: sa.Engine, row: Mapping[Any, Any], **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(notices.update().where(_key(row)).values(**values))


def message_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Make what a channel is told: a flat object; `event` is drift or alert, `state` breach or resolved."""
    where = f"reports/{row['dataset']}/{row['month']}/report.html" if row["month"] else "GET /stats, and the API's log"
    is_over = row["event"] == "resolved"
    return {
        "event": "drift" if row["rule"] in DRIFT and not is_over else "alert",
        "state": row["event"],
        "dataset": row["dataset"],
        "rule": row["rule"],
        "subject": row["subject"],
        "month": row["month"],
        "value": row["value"],
        "limit": row["threshold"],
        "message": f"over: {row['message']}" if is_over else f"{row['message']}. Look at {where}; {NEXT[row['rule']]}",
        "look_at": where,
        "since": row["opened_at"].isoformat(),
        "resolved": row["resolved_at"].isoformat() if is_over else None,
    }
