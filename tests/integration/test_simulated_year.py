"""The simulated year: a month of it as in production, and what is made of twelve."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from src import simulated_year
from src.core.cli import run_command
from src.simulated_year import BROKEN, NEW, SHOCK, Alert, Month, Year, market
from tests.once import untraced


def month_of(number: int, served: float, first: float, outcome: str = "") -> Month:
    return Month(f"2023-{number:02}", "v1", served / 1e6, first / 1e6, served, first, outcome)


def alert(rule: str, about: int, opened: int, fault: int | None) -> Alert:
    return Alert(rule, "", about, opened, None, fault, f"2023-{about:02}: so it is")


YEAR = Year(
    (month_of(7, 100.0, 100.0), month_of(8, 1_000.0, 1_000.0), month_of(9, 50.0, 100.0, "promoted")),
    (
        alert("max_drift_share", 2, 2, None),
        alert("max_mdape", 5, 6, SHOCK),
        alert("coverage_tolerance", 5, 6, SHOCK),
        alert("max_column_drift", 8, 8, BROKEN),
    ),
)


def test_the_market_has_each_fault_in_its_month_only() -> None:
    feed, true = market(60, 3)

    def middle(frame: pl.DataFrame, column: str, number: int) -> float:
        of_month = frame.filter(pl.col("date").str.starts_with(f"2023-{number:02}"))
        found: float = of_month[column].median()  # type: ignore[assignment]
        return found

    assert middle(feed, "price", SHOCK) / middle(feed, "price", SHOCK - 1) == pytest.approx(1.25, abs=0.08)
    assert feed["price"].equals(true["price"])
    for number in range(1, 13):
        times = middle(feed, "median_list_price", number) / middle(true, "median_list_price", number)
        assert times == (100 if number == BROKEN else 1)
    seen = feed.filter(pl.col("city_full") == simulated_year.METRO)["date"].str.slice(0, 7).unique()
    assert sorted(seen) == [f"2023-{number}" for number in range(NEW, 13)]


def test_a_year_is_summed_up() -> None:
    assert YEAR.saved() == pytest.approx(50 / 1_200)
    assert YEAR.saved(without=BROKEN) == 0.25
    assert [one.rule for one in YEAR.false_alarms] == ["max_drift_share"]
    assert simulated_year.sentences(YEAR) == [
        "month 5, prices rise by 25%: was noticed 1 month later (max_mdape)",
        "month 8, list prices in cents: was noticed in the same month (max_column_drift)",
        "month 10, a new metro, Pittsburgh: was not noticed",
        "false alarms: 1",
        "retraining saved 4.2% of the year's absolute error against never retraining, and 25.0% of it without month 8,"
        " whose inputs no model can read",
    ]


def test_a_year_is_drawn(tmp_path: Path) -> None:
    simulated_year.draw(YEAR, tmp_path / "year.png")
    simulated_year.draw(replace(YEAR, alerts=()), tmp_path / "quiet.png")
    first, second = ((tmp_path / name).read_bytes() for name in ("year.png", "quiet.png"))
    assert first.startswith(b"\x89PNG")
    assert first != second


def test_a_month_passes_as_in_production(tmp_path: Path) -> None:
    made = simulated_year.config_of_year()
    quick = made.model_copy(update={"model": made.model.model_copy(update={"max_rounds": 100})})
    with untraced():
        year = simulated_year.run(tmp_path / "work", zips=60, months=1, config=quick)
    (month,) = year.months
    assert month.month == "2023-01"
    assert 0.01 < month.served_mdape < 0.3
    # Nothing was retrained yet.
    assert (month.served_mae, month.served_mdape) == (month.first_mae, month.first_mdape)
    assert (tmp_path / "work" / "reports" / "housets" / "2023-01" / "report.html").exists()
    filled = pl.read_parquet(tmp_path / "work" / "predictions" / "housets" / "preds_2023_01.parquet")
    assert filled["actual_price"].null_count() == 0
    assert all(one.fault is None and one.about == 1 for one in year.alerts)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("kept")
    assert run_command(simulated_year.main, ["--output", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
