"""Values of database drivers become numbers and texts that do not depend on the driver."""

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import polars as pl
import pytest

from src.core.config import Column
from src.core.errors import DataError
from src.feature_pipeline import cells

TOKYO = timezone(timedelta(hours=9))


def read(kind: Literal["number", "text", "date"], *values: Any) -> list[Any]:
    return cells.series("a", values, Column(type=kind), "homes").to_list()


def test_numbers() -> None:
    values = (1, 2.5, Decimal("12.30"), "7", " 1e3", True, False, None, "None", "", math.nan, Decimal("NaN"))
    assert read("number", *values) == [1, 2.5, 12.3, 7, 1000, 1, 0, None, None, None, None, None]
    assert read("number", 2**53, 0.1, Decimal("0.1"), "0.1") == [2**53, 0.1, 0.1, 0.1]


def test_texts() -> None:
    values = ("01234", 2351, 2351.5, Decimal("1E+2"), True, False, None, "None", "none", "", math.nan, time(9, 30))
    assert read("text", *values) == (
        ["01234", "2351", "2351.5", "100", "yes", "no", None, None, "none", None, None, "09:30:00"]
    )
    assert read("text", UUID(int=1)) == ["00000000-0000-0000-0000-000000000001"]


def test_days_are_those_of_utc_where_there_is_a_zone() -> None:
    late = datetime(2020, 1, 1, 8, 30, tzinfo=TOKYO)
    values = (
        date(2021, 5, 31),
        datetime(2021, 5, 31, 23, 59),  # noqa: DTZ001
        late,
        datetime(2020, 1, 1, tzinfo=UTC),
        "2021-05-31",
    )
    assert [text[:10] for text in read("date", *values)] == (
        ["2021-05-31", "2021-05-31", "2019-12-31", "2020-01-01", "2021-05-31"]
    )


def test_a_column_without_a_value_keeps_its_type() -> None:
    assert cells.series("a", [None, None], Column(type="number"), "homes").dtype == pl.Float64
    assert cells.series("a", [None, None], Column(type="date"), "homes").dtype == pl.String


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "much"),
        ("number", date(2021, 5, 31)),
        ("number", 10**400),
        ("number", [1]),
        ("number", {"a": 1}),
        ("text", b"\x00"),
        ("text", [1]),
        ("text", {"a": 1}),
        ("date", memoryview(b"x")),
    ],
)
def test_what_is_of_another_kind_is_named(kind: Literal["number", "text", "date"], value: Any) -> None:
    with pytest.raises(DataError, match=rf"homes: column a: .* is not a {kind}"):
        read(kind, None, value)
