"""What is wrong with a row is said column by column as it is said row by row."""

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from src.core.config import DatasetConfig
from src.core.errors import InvalidRowsError
from src.feature_pipeline.content import NULLS
from src.feature_pipeline.rows import RowEncoder
from src.feature_pipeline.screening import screen
from tests.factories import housets_frame
from tests.fitted import housets_tables

VALUES: dict[str, list[Any]] = {
    "date": ["2020-01-31", "2020-01-31 00:00:00", "2020-02-30", "soon", "", None],
    "zipcode": ["07030", "7030", None],
    "city_full": ["Atlantis", "", None],
    "inventory": [0.0, 7.5, -0.0, None, math.nan, math.inf, -math.inf, 1e39, 3e38],
}


@pytest.fixture(scope="module")
def encoder(config: DatasetConfig) -> RowEncoder:
    return RowEncoder(config, housets_tables(config, 100))


@pytest.fixture(scope="module")
def good(config: DatasetConfig) -> pl.DataFrame:
    rows = housets_frame(5, traps=False).select(config.raw_inputs)
    return rows.with_columns(pl.col("date", "zipcode").cast(pl.String).str.zfill(5))


def said(frame: pl.DataFrame, config: DatasetConfig, nulls: list[str] | None = None) -> list[str | None]:
    error = screen(frame, config, nulls or ())[1]
    return [None] * frame.height if error is None else error.to_list()


@hypothesis_settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_rows_and_fields_that_are_refused_are_the_row_encoders(
    config: DatasetConfig, encoder: RowEncoder, good: pl.DataFrame, data: st.DataObject
) -> None:
    drawn = {
        name: pl.Series(name, data.draw(st.lists(st.sampled_from(values), min_size=5, max_size=5)), good.schema[name])
        for name, values in VALUES.items()
    }
    frame = good.with_columns(**drawn)
    wanted: list[list[str]] = [[] for _ in range(frame.height)]
    try:
        encoder.encode(frame.to_dicts())
    except InvalidRowsError as error:
        for row, field, what in error.problems:
            wanted[row].append(f"{field}: {what}")
    assert [sorted(text.split("; ")) if text else [] for text in said(frame, config)] == [sorted(w) for w in wanted]


def test_good_rows_are_typed_and_nothing_is_said(config: DatasetConfig, good: pl.DataFrame) -> None:
    texts = good.cast(pl.String)
    typed, error = screen(texts, config)
    assert error is None
    assert typed.equals(good.with_columns(pl.col("date").str.to_date()))


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("inventory", "many", "must be a number, not 'many'"),
        ("inventory", " 5", "must be a number, not ' 5'"),
        ("inventory", "x" * 50, f"must be a number, not '{'x' * 36}...'"),
        ("inventory", "-inf", "must be a finite number, not -inf"),
        ("inventory", "1e39", "must be a finite number, not 1e39"),
        ("inventory", "-1", "must be at least 0, not -1"),
        ("sold_above_list", "1.5", "must be at most 1, not 1.5"),
        ("date", "31.5.2021", "must be a date like 2021-05-31, not '31.5.2021'"),
        ("date", "NA", "is required and has no value"),
        ("city_full", "None", "is required and has no value"),
    ],
)
def test_each_fault_is_named_with_its_field_and_value(
    config: DatasetConfig, good: pl.DataFrame, field: str, value: str, what: str
) -> None:
    second = pl.int_range(pl.len()) == 1
    rows = good.cast(pl.String).with_columns(pl.when(second).then(pl.lit(value)).otherwise(field).alias(field))
    assert said(rows, config, NULLS) == [None, f"{field}: {what}", None, None, None]


def test_every_field_of_a_row_is_named(config: DatasetConfig, good: pl.DataFrame) -> None:
    rows = good.cast(pl.String).with_columns(inventory=pl.lit("many"), sold_above_list=pl.lit("2"), zipcode=None)
    assert said(rows, config)[0] == (
        "inventory: must be a number, not 'many'; sold_above_list: must be at most 1, not 2; "
        "zipcode: is required and has no value"
    )


def test_texts_that_mean_missing_and_codes_are_no_faults(config: DatasetConfig, good: pl.DataFrame) -> None:
    rows = good.cast(pl.String).with_columns(inventory=pl.lit("NA"), median_dom=pl.lit("0"), mall=pl.lit(""))
    typed, error = screen(rows, config, NULLS)
    assert error is None
    assert typed["inventory"].null_count() == typed["mall"].null_count() == 5


def test_a_required_number_may_not_be_a_code_for_missing(config: DatasetConfig, good: pl.DataFrame) -> None:
    columns = {**config.columns, "inventory": config.columns["inventory"].model_copy(update={"required": True})}
    strict = config.model_copy(update={"columns": columns})
    for value in (0.0, math.nan, None):
        rows = good.with_columns(inventory=pl.lit(value, pl.Float64))
        assert said(rows, strict)[0] == "inventory: is required and has no value"


def test_no_rows_have_no_faults(config: DatasetConfig, good: pl.DataFrame) -> None:
    typed, error = screen(good.clear(), config, NULLS)
    assert (typed.shape, error) == ((0, len(config.raw_inputs)), None)
