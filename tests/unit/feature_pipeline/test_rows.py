"""One row without a frame gives the same bits as a frame."""

import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.config import DatasetConfig, load_config
from src.core.errors import InvalidRowsError
from src.feature_pipeline import feature_engineering, load, preprocess
from src.feature_pipeline.rows import RowEncoder
from tests.factories import housets_frame
from tests.fitted import housets_tables

CONFIG = load_config("housets")
TABLES = housets_tables(CONFIG)
ENCODER = RowEncoder(CONFIG, TABLES)


def through_frame(rows: list[dict[str, Any]], config: DatasetConfig = CONFIG) -> np.ndarray:
    frame = pl.DataFrame(rows, infer_schema_length=None).select(config.raw_inputs)
    clean = preprocess.clean(load.typed(frame.lazy(), config, "test").lazy(), config, TABLES)
    return feature_engineering.encode(clean, config, TABLES).collect().to_numpy(order="c")


def bits(X: np.ndarray) -> np.ndarray:
    """Every NaN alike, every other value by its bits."""
    return np.where(np.isnan(X), np.uint32(0x7FC00000), X.view(np.uint32))


def number() -> st.SearchStrategy[float | None]:
    return st.none() | st.sampled_from([0.0, -0.0, 1.0, 999_999_999.0]) | st.floats(-1e12, 1e12)


def row() -> st.SearchStrategy[dict[str, Any]]:
    fields: dict[str, st.SearchStrategy[Any]] = {
        name: number() for name in CONFIG.raw_inputs if CONFIG.columns[name].type == "number"
    }
    fields["zipcode"] = st.sampled_from([*TABLES["zipcode_freq"]["table"], "02351", "2351", " 10027 ", "99999", ""])
    fields["city_full"] = st.sampled_from(
        ["DC_Metro", "Pittsburgh", "  PITTSBURGH ", "St. Louis, MO-IL", "Boston–Cambridge-Newton", "Atlantis", ""]
    ) | st.text(max_size=8)
    fields["date"] = st.dates(date(2012, 3, 31), date(2030, 12, 31)).map(date.isoformat)
    return st.fixed_dictionaries(fields)


@given(st.lists(row(), min_size=1, max_size=5))
def test_one_row_and_a_frame_give_the_same_bits(rows: list[dict[str, Any]]) -> None:
    single = np.vstack([ENCODER.encode([one])[0] for one in rows])
    assert np.array_equal(bits(single), bits(through_frame(rows)))


def test_real_shaped_rows_give_the_same_bits_in_one_call() -> None:
    rows = housets_frame(rows=300).to_dicts()
    assert np.array_equal(bits(ENCODER.encode(rows)[0]), bits(through_frame(rows)))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("median_list_price", "cheap", "must be a number, not 'cheap'"),
        ("median_list_price", True, "must be a number, not True"),
        ("median_list_price", math.inf, "must be a finite number"),
        ("median_list_price", 10**400, "int too large"),
        ("median_list_price", 1e300, "must be a finite number"),
        ("median_list_price", [1], r"must be a number, not \[1\]"),
        ("date", "yesterday", "must be a date like 2021-05-31, not 'yesterday'"),
        ("date", 20210531, "must be a date"),
        ("date", None, "is required and has no value"),
        ("zipcode", None, "is required and has no value"),
        ("zipcode", 1.5, "must be text"),
        ("city_full", 7, "must be text"),
    ],
)
def test_a_wrong_value_is_refused_by_row_and_field(field: str, value: Any, said: str) -> None:
    rows = housets_frame(rows=3).to_dicts()
    rows[1][field] = value
    with pytest.raises(InvalidRowsError, match=f"row 1: {field}: {said}"):
        ENCODER.encode(rows)


def test_every_problem_of_every_row_is_listed() -> None:
    rows = housets_frame(rows=3).to_dicts()
    del rows[0]["inventory"]
    rows[2]["date"], rows[2]["homes_sold"] = "?", "many"
    with pytest.raises(InvalidRowsError) as caught:
        ENCODER.encode(rows)
    assert [(number, field) for number, field, _ in caught.value.problems] == [
        (0, "inventory"),
        (2, "date"),
        (2, "homes_sold"),
    ]


def test_an_integer_zip_gets_its_leading_zero_back() -> None:
    row = housets_frame(rows=1).to_dicts()[0] | {"zipcode": 2351}
    padded = row | {"zipcode": "02351"}
    assert np.array_equal(bits(ENCODER.encode([row])[0]), bits(ENCODER.encode([padded])[0]))


def test_unknown_places_are_flagged_not_refused() -> None:
    row = housets_frame(rows=1).to_dicts()[0] | {"zipcode": "00000", "city_full": "Atlantis"}
    X, flags = ENCODER.encode([row])
    assert flags == ["unknown_city_full;unknown_zipcode;unknown_zipcode_3"]
    names = list(CONFIG.feature_names)
    assert X[0, names.index("zipcode_freq")] == 0
    assert X[0, names.index("city_target")] == np.float32(TABLES["city_target"]["default"])
    assert np.isnan(X[0, names.index("lat")])


def test_no_rows_give_no_rows() -> None:
    X, flags = ENCODER.encode([])
    assert X.shape == (0, len(CONFIG.feature_names))
    assert flags == []
