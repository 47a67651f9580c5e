"""A feed that broke is told from a month that is only unlike the reference."""

from datetime import date

import numpy as np
import polars as pl

from src.feature_pipeline.checks import Check
from src.monitoring import quality
from src.monitoring.month_charts import Line, chart
from src.monitoring.reference import Reference
from tests.markets import tiny_config

CONFIG = tiny_config()


def known(rows: int = 600) -> pl.DataFrame:
    draw = np.random.default_rng(0)
    days = [date(2019, month % 12 + 1, 15) for month in range(rows)]
    rate = [day.month / 100 for day in days]
    return pl.DataFrame({"date": days, "a": draw.normal(size=rows), "b": draw.integers(0, 2, rows), "c": rate})


def failed(**columns: object) -> dict[str, str]:
    draw = np.random.default_rng(1)
    month = pl.DataFrame({"a": draw.normal(size=40), "b": draw.integers(0, 2, 40), "c": np.full(40, 0.5)})
    changed = month.with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    checks: list[Check] = list(quality._feeds(changed, Reference("v", CONFIG, {}, known()), CONFIG))
    return {check.columns[0]: check.rule for check in checks if not check.passed}


def test_a_month_like_the_others_passes() -> None:
    assert failed() == {}, "c is one number in every month"


def test_a_lost_and_a_stuck_column_fail() -> None:
    assert failed(a=None) == {"a": "column_keeps_its_values"}
    assert failed(a=3.0, b=1) == {"a": "column_varies", "b": "column_varies"}
    assert failed(c=None) == {"c": "column_keeps_its_values"}


def test_a_stuck_column_of_few_rows_may_be_chance() -> None:
    few = pl.DataFrame({"a": [1.0] * 5})
    assert list(quality._feeds(few, Reference("v", CONFIG, {}, known()), CONFIG)) == []


def test_a_reference_is_cut_to_its_newest_months() -> None:
    reference = Reference("v", CONFIG, {}, known())
    assert reference.newest(3)["date"].dt.month().unique().sort().to_list() == [10, 11, 12]
    assert reference.newest(12).height == 600


def test_a_month_ends_on_its_last_day() -> None:
    assert [str(quality.month_end(month)) for month in ("2023-12", "2024-02", "2023-02")] == [
        *("2023-12-31", "2024-02-29", "2023-02-28")
    ]


def test_a_chart_needs_two_months_and_draws_its_limit() -> None:
    assert chart("MdAPE", [Line("mdape", {"2022-01": 0.1}, 0.15)], ["2022-01"]) == ""
    drawn = chart("MdAPE", [Line("mdape", {"2022-01": 0.1, "2022-02": 0.2}, 0.15)], ["2022-01", "2022-02"])
    assert drawn.count("<circle") == 2
    assert "stroke-dasharray" in drawn
    assert "2022-02: mdape 20.0%" in drawn
