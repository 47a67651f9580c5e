"""When a challenger is due, and the record of what was decided: the table `retrainings`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from src.core.config import DatasetConfig
from src.monitoring.database import writing
from src.monitoring.tables import alerts, retrainings

# Its row is there from the start, so that one that was killed is on record as well.
UNFINISHED = "it was begun and did not come to its end"


@dataclass(frozen=True)
class Due:
    """Whether a challenger is to be trained, and why or why not."""

    is_due: bool
    why: str


@dataclass(frozen=True)
class Champion:
    """The version that serves, and the first day that it was not trained on."""

    version: str
    unseen_from: date

    @property
    def trained_to(self) -> str:
        """The last month, YYYY-MM, of its training data."""
        return f"{self.unseen_from - timedelta(days=1):%Y-%m}"


def due(config: DatasetConfig, engine: sa.Engine, champion: Champion | None, newest: str, *, force: bool) -> Due:
    """Tell whether a challenger is due.

    Args:
        config: its `retraining` section.
        engine: the monitoring database.
        champion: the version that serves, None where there is none.
        newest: the newest month of the data, YYYY-MM.
        force: somebody wants it now.
    """
    rule = config.retraining
    if champion is None:
        return Due(is_due=True, why="there is no model yet")
    if force:
        return Due(is_due=True, why="somebody asked for it")
    with engine.connect() as connection:
        last = _last(connection, config.name)
        told = _alerts(connection, config)
    if last and months_between(last["month"], newest) < rule.wait_months:
        decided = f"the last challenger was {last['outcome']} on data to {last['month']}"
        return Due(is_due=False, why=f"{decided}, and these go to {newest}: {rule.wait_months} months are waited")
    age = months_between(champion.trained_to, newest)
    old = f"{champion.version} was trained on data to {champion.trained_to}, {age} months before the newest"
    if told:
        return Due(
            is_due=True, why="; ".join(f"alert since {one['opened_at']:%Y-%m-%d}: {one['message']}" for one in told)
        )
    if age >= rule.every_months:
        return Due(is_due=True, why=f"{old} ({rule.every_months} are allowed)")
    return Due(
        is_due=False, why=f"{old} ({rule.every_months} are allowed), and no alert of {', '.join(rule.after)} is open"
    )


def _last(connection: sa.Connection, dataset: str) -> sa.RowMapping | None:
    # One that failed has decided nothing, and is tried again.
    return (
        connection.execute(
            sa.select(retrainings)
            .where(
                retrainings.c.dataset == dataset,
                retrainings.c.outcome.in_(["promoted", "refused"]),
                retrainings.c.month.is_not(None),
            )
            .order_by(retrainings.c.month.desc(), retrainings.c.id.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )


def _alerts(connection: sa.Connection, config: DatasetConfig) -> Sequence[sa.RowMapping]:
    wanted = (
        alerts.c.dataset == config.name,
        alerts.c.resolved_at.is_(None),
        alerts.c.rule.in_(config.retraining.after),
    )
    found = connection.execute(sa.select(alerts).where(*wanted).order_by(alerts.c.opened_at, alerts.c.id))
    return found.mappings().all()


def months_between(first: str, second: str) -> int:
    """Return how many months the second YYYY-MM is after the first."""
    earlier, later = (int(month[:4]) * 12 + int(month[5:7]) for month in (first, second))
    return later - earlier


def begin(engine: sa.Engine, dataset: str, now: datetime, newest: str, why: str, champion: Champion | None) -> int:
    """File that a retraining has begun, as failed until it is decided; returns the row's id."""
    with writing(engine) as connection:
        made = connection.execute(
            retrainings.insert().values(
                dataset=dataset,
                at=now,
                month=newest,
                due=why,
                champion=champion.version if champion else None,
                outcome="failed",
                reason=UNFINISHED,
            )
        )
        number = made.inserted_primary_key
    assert number is not None
    return int(number[0])


def file(engine: sa.Engine, number: int, values: Mapping[str, Any]) -> None:
    """File what a retraining came to: columns of its row."""
    with writing(engine) as connection:
        connection.execute(retrainings.update().where(retrainings.c.id == number).values(**values))
