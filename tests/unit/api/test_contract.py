import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.api.contract import RowContract, examples, shown
from src.api.json_columns import JsonColumns
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
    assert examples([{**ROW, "inventory": None}], HOUSETS)[0]["inventory"] == 0


@cache
def readers(name: str) -> tuple[JsonColumns, RowContract]:
    """Make both ways to read a data set's rows, once: it takes longer than reading with them."""
    return JsonColumns(load_config(name), 10_000), RowContract(load_config(name))


@cache
def rows_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Make rows that are right but for a field or two, which hold something of their own kind or of any."""
    config = load_config(name)
    anything = st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers())
    kinds = {
        "number": st.floats(-200, 3e6) | st.integers(-2, 2_000),
        "text": st.sampled_from(["", "01877", "Boston, MA", "é" * 2_001]) | st.integers(0, 120_000) | st.floats(0, 9),
        "date": st.sampled_from(["2021-05-31", "2021-05-31T00:00:00", "2021-W22-1", "2021-02-30", "31.05.2021"]),
    }
    fields = [
        st.tuples(st.just(field), kinds[column.type] | kinds[column.type] | anything)
        for field, column in config.columns.items()
    ]
    other = st.lists(st.one_of(fields), max_size=2).map(dict)
    return other.map(lambda changed: PLAIN[name] | changed)


@pytest.mark.parametrize("name", ["housets", "california", "iris", "dc_house"])
@given(data=st.data())
def test_what_is_read_as_columns_is_right_and_has_the_values_of_rows(name: str, data: st.DataObject) -> None:
    columns, contract = readers(name)
    body = json.dumps(data.draw(st.lists(rows_of(name), max_size=3))).encode()
    frame = columns.read(body)
    if frame is not None:
        rows = contract.read(body)[0]
        assert frame.fill_nan(None).to_dicts() == [{n: row[n] for n in frame.columns} for row in rows]


PLAIN: dict[str, dict[str, Any]] = {
    "housets": ROW,
    "california": dict.fromkeys(load_config("california").raw_inputs, 40.0)
    | {"longitude": -120.0, "median_income": 3.0, "ocean_proximity": "INLAND", "total_bedrooms": None},
    "iris": dict.fromkeys(load_config("iris").raw_inputs, 3),
    "dc_house": {
        name: {"number": 1, "text": "x", "date": "2015-01-31"}[load_config("dc_house").columns[name].type]
        for name in load_config("dc_house").raw_inputs
    },
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_rows_are_read_as_columns(name: str) -> None:
    config = load_config(name)
    body = json.dumps([PLAIN[name]] * 3).encode()
    frame = JsonColumns(config, 3).read(body)
    assert frame is not None
    assert frame.height == 3
    assert set(frame.columns) == set(config.raw_inputs)
    assert JsonColumns(config, 2).read(body) is None, "more rows than are taken"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"[1]", b'["a"]', b"[[]]", b"null", b"[", b"\xff",
        json.dumps(ROW).encode(),
        json.dumps([ROW, None]).encode(),
        json.dumps([ROW, {**ROW, "price": 1}]).encode(),
        json.dumps([ROW, {**ROW, "inventory": True}]).encode(),
        json.dumps([ROW, {**ROW, "inventory": 10**400}]).encode(),
        json.dumps([ROW, {**ROW, "inventory": float("nan")}]).encode(),
        json.dumps([ROW, {**ROW, "inventory": 12345}]).replace("12345", "1e999").encode(),
        json.dumps([{**ROW, "zipcode": True}]).encode(),
        json.dumps([{**ROW, "zipcode": 2.5}]).encode(),
    ],
)  # fmt: skip
def test_what_is_not_plainly_right_is_left_to_the_contract(body: bytes) -> None:
    assert JsonColumns(HOUSETS, 10).read(body) is None


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
