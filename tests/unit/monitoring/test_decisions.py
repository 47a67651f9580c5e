"""When a challenger is due: alerts, age, waiting, and what somebody wants."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from src.core.config import Settings, load_config
from src.monitoring import database, decisions
from src.monitoring.decisions import Champion
from src.monitoring.tables import alerts, retrainings

HOUSETS = load_config("housets")
NOW = datetime(2024, 1, 5, tzinfo=UTC)
CHAMPION = Champion("v1", date(2023, 1, 1))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    with database.opened(Settings(workspace=tmp_path)) as made:
        yield made


def alert(engine: sa.Engine, rule: str, dataset: str = "housets", resolved: datetime | None = None) -> None:
    values = {"rule": rule, "dataset": dataset, "resolved_at": resolved, "message": f"{rule} is breached"}
    with database.writing(engine) as connection:
        connection.execute(
            alerts.insert().values(subject="", month="2023-11", value=1, threshold=0.1, opened_at=NOW, **values)
        )


def decided(engine: sa.Engine, month: str, outcome: str, dataset: str = "housets") -> None:
    number = decisions.begin(engine, dataset, NOW, month, "because", CHAMPION)
    decisions.file(engine, number, {"outcome": outcome, "reason": "so it is"})


def asked(
    engine: sa.Engine, newest: str, champion: Champion | None = CHAMPION, *, force: bool = False
) -> tuple[bool, str]:
    found = decisions.due(HOUSETS, engine, champion, newest, force=force)
    return found.is_due, found.why


def test_old_training_data_make_it_due(engine: sa.Engine) -> None:
    assert asked(engine, "2023-12") == (
        True,
        "v1 was trained on data to 2022-12, 12 months before the newest (12 are allowed)",
    )
    is_due, why = asked(engine, "2023-11")
    assert not is_due
    assert why.startswith(
        "v1 was trained on data to 2022-12, 11 months before the newest (12 are allowed), and no alert"
    )


def test_a_data_set_without_a_model_wants_one_even_while_it_would_wait(engine: sa.Engine) -> None:
    decided(engine, "2023-12", "refused")
    assert asked(engine, "2023-12", None) == (True, "there is no model yet")


def test_an_open_alert_of_a_rule_that_counts_makes_it_due(engine: sa.Engine) -> None:
    alert(engine, "max_drift_share")
    alert(engine, "max_mdape", dataset="iris")
    alert(engine, "max_mdape", resolved=NOW)
    assert not asked(engine, "2023-06")[0]
    alert(engine, "coverage_tolerance")
    assert asked(engine, "2023-06") == (True, "alert since 2024-01-05: coverage_tolerance is breached")


@pytest.mark.parametrize("outcome", ["promoted", "refused"])
def test_months_of_data_are_waited_after_a_decision_unless_somebody_asks(engine: sa.Engine, outcome: str) -> None:
    alert(engine, "max_mdape")
    decided(engine, "2023-08", "refused")
    decided(engine, "2023-10", outcome)
    decided(engine, "2023-11", outcome, dataset="iris")
    assert asked(engine, "2023-11") == (
        False,
        f"the last challenger was {outcome} on data to 2023-10, and these go to 2023-11: 2 months are waited",
    )
    assert asked(engine, "2023-12")[0]
    assert asked(engine, "2023-10", force=True) == (True, "somebody asked for it")


def test_what_failed_decided_nothing_and_is_tried_again(engine: sa.Engine) -> None:
    alert(engine, "max_mdape")
    decided(engine, "2023-10", "failed")
    assert asked(engine, "2023-10")[0]


def test_a_row_is_there_from_the_start(engine: sa.Engine) -> None:
    number = decisions.begin(engine, "housets", NOW, "2023-12", "because", None)
    with engine.connect() as connection:
        row = connection.execute(sa.select(retrainings)).mappings().one()
    assert (row["id"], row["outcome"], row["reason"]) == (number, "failed", decisions.UNFINISHED)
    assert (row["at"], row["month"], row["due"], row["champion"]) == (NOW, "2023-12", "because", None)


def test_months_are_counted_over_the_turn_of_the_year() -> None:
    assert decisions.months_between("2022-11", "2023-02") == 3
    assert decisions.months_between("2023-02", "2022-11") == -3
