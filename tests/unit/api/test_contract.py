import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.api.contract import RowContract, example, shown
from src.core.config import load_config
from src.core.errors import InvalidRowsError

HOUSETS = load_config("housets")
CONTRACT = RowContract(HOUSETS)
ROW: dict[str, Any] = {
    name: {"number": 0, "text": "1", "date": "2021-05-31"}[HOUSETS.columns[name].type] for name in HOUSETS.raw_inputs
}


@pytest.mark.parametrize("name", ["housets", "california", "iris", "amsterdam_rent", "india_rent", "dc_house"])
def test_the_schema_shows_every_column_with_unit_and_range(name: str) -> None:
    config = load_config(name)
    schema = RowContract(config).schema()
    assert tuple(schema["required"]) == config.raw_inputs
    assert tuple(schema["properties"]) == tuple(config.columns)
    assert schema["additionalProperties"] is False
    for column, about in config.columns.items():
        said = schema["properties"][column]
        assert not about.unit or about.unit in said["description"]
        if about.type == "number" and not about.nullable:
            assert about.min is None or said["minimum"] <= about.min
            assert about.max is None or said["maximum"] >= about.max


def test_a_code_for_missing_is_in_range_and_named() -> None:
    config = HOUSETS.model_copy(update={"missing": (HOUSETS.missing[0].model_copy(update={"code": -1.0}),)})
    contract = RowContract(config)
    assert "-1 means missing" in contract.schema()["properties"]["inventory"]["description"]
    contract.read(json.dumps({**ROW, "inventory": -1}).encode())
    with pytest.raises(InvalidRowsError, match=r"has no value \(null\): write -1 where it is not known"):
        contract.read(json.dumps({**ROW, "inventory": None}).encode())


def test_null_is_a_value_where_the_raw_data_leave_a_column_empty() -> None:
    contract = RowContract(load_config("california"))
    row = dict.fromkeys(load_config("california").raw_inputs, 40.0) | {"longitude": -120.0, "ocean_proximity": "INLAND"}
    row |= {"median_income": 3.0}
    assert contract.read(json.dumps({**row, "total_bedrooms": None}).encode())[0][0]["total_bedrooms"] is None
    with pytest.raises(InvalidRowsError, match="households: has no value"):
        contract.read(json.dumps({**row, "households": None}).encode())


def test_a_place_may_be_a_number_that_lost_its_zeros() -> None:
    for spelled in (2351, 2351.0, "2351"):
        assert CONTRACT.read(json.dumps({**ROW, "zipcode": spelled}).encode())[0][0]["zipcode"] == "2351"
    for wrong in (-1, 123456, 2.5, True):
        with pytest.raises(InvalidRowsError, match="zipcode: must be text"):
            CONTRACT.read(json.dumps({**ROW, "zipcode": wrong}).encode())


def test_rows_that_are_python_values_are_held_to_the_same_rules() -> None:
    assert CONTRACT.check([ROW])[0]["inventory"] == 0
    with pytest.raises(InvalidRowsError, match="row 1: inventory: must be a finite number, not nan"):
        CONTRACT.check([ROW, {**ROW, "inventory": float("nan")}])


def test_an_example_writes_missing_values_as_the_raw_file_does() -> None:
    assert example([{**ROW, "inventory": None}], HOUSETS)["inventory"] == 0


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_value_makes_the_check_fail_otherwise_than_by_naming_it(value: Any) -> None:
    for row in (value, {**ROW, "city_full": value}, {**ROW, "inventory": value}, {**ROW, "date": value}):
        try:
            taken = CONTRACT.check([row])
        except InvalidRowsError as error:
            taken = [dict.fromkeys(field for _, field, _ in error.problems)]
        assert taken[0]


@given(st.text())
def test_what_a_caller_sent_is_shown_short_and_plain(value: str) -> None:
    assert len(shown(value)) <= 40
    assert shown(value).isprintable()
    assert shown(value).isascii()
