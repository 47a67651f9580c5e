"""Names come together however they are spelled."""

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.config import load_config
from src.core.errors import DataError
from src.core.spelling import tidy
from src.feature_pipeline.transforms import require_columns, tidied

COLUMN = load_config("housets").columns["city_full"]


@pytest.mark.parametrize(
    ("spelled", "tidied_name"),
    [
        ("DC_Metro", "washington-arlington-alexandria"),
        ("Washington-Arlington-Alexandria, DC-VA-MD-WV", "washington-arlington-alexandria"),
        ("  Boston–Cambridge—Newton,  MA-NH ", "boston-cambridge-newton"),
        ("PITTSBURGH", "pittsburgh"),
        ("St. Louis, MO-IL", "st. louis"),
        ("Miami-Fort  Lauderdale-Pompano Beach", "miami-fort lauderdale-pompano beach"),
    ],
)
def test_known_spellings_meet(spelled: str, tidied_name: str) -> None:
    assert tidy(spelled, COLUMN) == tidied_name


@given(st.lists(st.text(max_size=30) | st.none(), min_size=1, max_size=8))
def test_a_column_and_a_value_are_tidied_alike(names: list[str | None]) -> None:
    frame = nw.from_native(pl.DataFrame({"city_full": pl.Series(names, dtype=pl.String)}))
    column = frame.select(tidied("city_full", COLUMN)).to_native()["city_full"].to_list()
    assert column == [tidy(name, COLUMN) for name in names]


@given(st.text(max_size=30))
def test_tidying_twice_changes_nothing(name: str) -> None:
    once = tidy(name, COLUMN)
    assert tidy(tidy(once, COLUMN), COLUMN) == tidy(once, COLUMN)


def test_missing_columns_are_all_named() -> None:
    with pytest.raises(DataError, match=r"rows.csv lacks the columns b, d. It has: a, c"):
        require_columns(["a", "c"], ["a", "b", "c", "d"], "rows.csv")
