"""What is not a request of the protocol is refused in words, and whatever comes through is whole rows."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.api import v2
from src.api.problems import Problem
from src.core.errors import InvalidRowsError
from tests.v2_requests import CONFIG, CONTRACT, MOST, ROW, plain, read, request


def refused(content: Any, length: str | None = None) -> str:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(Problem) as caught:
        read(body, length)
    assert caught.value.status in (400, 413)
    return str(caught.value.detail)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"shape": [2]}, "shape says 2 elements, and data holds 1"),
        ({"shape": [-1]}, "shape must be [n] or [n, 1]"),
        ({"shape": [1.0]}, "shape must be"),
        ({"shape": [True]}, "shape must be"),
        ({"shape": []}, "shape must be"),
        ({"shape": [1, 2]}, "shape must be"),
        ({"shape": [1, 1, 1]}, "shape must be"),
        ({"shape": None}, "shape must be"),
        ({"shape": "1"}, "shape must be a list, not '1'"),
        ({"shape": [2**80]}, "at most 1,000 rows"),
        ({"shape": [1001], "data": [0] * 1001}, "at most 1,000 rows, not 1001"),
        ({"data": [1, 2]}, "shape says 1 elements, and data holds 2"),
        ({"data": [[1]]}, "list is not of datatype FP64"),
        ({"data": [[1, 2]], "shape": [1, 1]}, "list is not of datatype FP64"),
        ({"data": 1}, "data must be a list, not 1"),
        ({"data": ["1"]}, "Input inventory: '1' is not of datatype FP64"),
        ({"data": [True]}, "True is not of datatype FP64"),
        ({"data": [1.5], "datatype": "INT64"}, "1.5 is not of datatype INT64"),
        ({"data": [300], "datatype": "UINT8"}, "300 is not of datatype UINT8"),
        ({"data": None}, "needs either data or"),
        ({"parameters": {"binary_data_size": 8}}, "needs either data or"),
        ({"data": None, "parameters": {"binary_data_size": 8}}, "Inference-Header-Content-Length is not given"),
        ({"parameters": {"shared_memory_region": "a"}}, "shared memory is not supported"),
        ({"parameters": []}, "parameters must be an object, not list"),
        ({"datatype": "FP65"}, "datatype must be one of FP64, FP32"),
        ({"datatype": "BYTES"}, "not 'BYTES'"),
        ({"datatype": "BOOL"}, "not 'BOOL'"),
        ({"datatype": None}, "not null"),
        ({"datatype": 3}, "datatype must be a text, not 3"),
        ({"name": "pending_sales"}, "input pending_sales comes twice"),
        ({"name": "foo"}, "inputs[0]: 'foo' is not a column of housets"),
        ({"name": None}, "inputs[0]: null is not a column"),
        ({"name": 7}, "inputs[0]: name must be a text, not 7"),
        ({"name": "price"}, "The input inventory must be given"),
        ({"shape": [0], "data": []}, "is of 1 rows, and inventory of 0"),
    ],
)
def test_a_malformed_input_is_named(changed: dict[str, Any], said: str) -> None:
    assert said.lower() in refused(plain(**changed)).lower()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        ([], "must be an object, not list"),
        ({}, "must be given"),
        ({"inputs": {}}, "inputs must be a list"),
        ({"inputs": [3]}, "inputs[0] must be an object, not 3"),
        ({**plain(), "id": 3}, "id must be a text, not 3"),
        ({**plain(), "parameters": {"binary_data_output": 1}}, "binary_data_output must be true or false, not 1"),
        ({**plain(), "outputs": {}}, "outputs must be a list"),
        ({**plain(), "outputs": [{}]}, "outputs[0]: null is not an output (predicted_price, lower_80, flags)"),
        ({**plain(), "outputs": ["flags"]}, "outputs[0] must be an object"),
        ({**plain(), "outputs": [{"name": "flags"}] * 2}, "output flags is asked for twice"),
        ({**plain(), "outputs": [{"name": "flags", "parameters": {"classification": 2}}]}, "classification"),
        ({**plain(), "outputs": [{"name": "flags", "parameters": {"shared_memory_region": "a"}}]}, "shared memory"),
        ({**plain(), "outputs": [{"name": "flags", "parameters": {"binary_data": "yes"}}]}, "true or false, not 'yes'"),
    ],
)
def test_a_malformed_request_is_named(content: Any, said: str) -> None:
    assert said.lower() in refused(content).lower()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body, length: (body, str(len(body) + 1)), "and the body has"),
        (lambda body, length: (body, "-1"), "must be a number of bytes, not '-1'"),
        (lambda body, length: (body, "9" * 30), "must be a number of bytes"),
        (lambda body, length: (body, "²"), "must be a number of bytes"),
        (lambda body, length: (body, ""), "must be a number of bytes"),
        (lambda body, length: (body, str(int(length) - 1)), "is not JSON"),
        (lambda body, length: (body, str(int(length) + 2)), "is not JSON"),
        (lambda body, length: (body, None), "is not JSON"),
        (lambda body, length: (body[:-1], length), "bytes are left in the body"),
        (lambda body, length: (body + b"x", length), "the body has 1 bytes more than"),
        (lambda body, length: (body.replace(b'"shape":[1]', b'"shape":[2]', 1), length), "shape says"),
        (lambda body, length: (body.replace(b'_size":8', b'_size":7', 1), length), "binary_data_size 7"),
        (lambda body, length: (body.replace(b'_size":8', b'_size":-8', 1), str(int(length) + 1)), "size is -8"),
        (lambda body, length: (body.replace(b"00501", b"\xff0501", 1), length), "element 0 is not UTF-8"),
        (lambda body, length: (body.replace(b"\x05\0\0\x0000501", b"\x06\0\0\x0000501"), length), "lengths and texts"),
        (lambda body, length: (body.replace(b"\x05\0\0\x0000501", b"\x04\0\0\x0000501"), length), "lengths and texts"),
        (lambda body, length: (body.replace(b"\x05\0\0\x0000501", b"\xff\xff\xff\xff00501"), length), "lengths and"),
    ],
)
def test_malformed_binary_data_are_named(change: Any, said: str) -> None:
    body, length = change(*request([ROW]))
    assert said.lower() in refused(body, length).lower()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stops_at_the_row_contract(binary: bool, value: float) -> None:
    rows = read(*request([ROW, {**ROW, "inventory": value}], binary=binary)).rows
    with pytest.raises(InvalidRowsError, match="row 1: inventory: must be a finite number"):
        CONTRACT.check(rows)


def test_null_is_for_the_row_contract_to_judge() -> None:
    rows = read(json.dumps(plain(data=[None])).encode()).rows
    with pytest.raises(InvalidRowsError, match=r"inventory: has no value \(null\): write 0"):
        CONTRACT.check(rows)


def outcome(body: bytes, length: str | None) -> v2.Asked | Problem | InvalidRowsError:
    try:
        asked = read(body, length)
        CONTRACT.check(asked.rows)
    except (Problem, InvalidRowsError) as error:
        return error
    return asked


def assert_refused_or_whole(body: bytes, length: str | None) -> None:
    """Hold that bytes are refused in a few words, or are rows with a value for every column that a price needs."""
    match outcome(body, length):
        case v2.Asked() as asked:
            assert len(asked.rows) <= MOST
            assert all(set(CONFIG.raw_inputs) <= set(row) for row in asked.rows)
            assert asked.outputs
        case Problem() as problem:
            assert problem.status in (400, 413)
            assert len(str(problem.detail)) < 1_500
        case InvalidRowsError() as error:
            assert error.problems


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_give_no_rows_or_whole_ones(data: st.DataObject) -> None:
    body, length = request([ROW, ROW], binary=data.draw(st.booleans()))
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        end = start + data.draw(st.integers(0, 9))
        damaged[start:end] = data.draw(st.binary(max_size=9))
    around = st.just(length) | st.none() | st.text(max_size=4)
    assert_refused_or_whole(bytes(damaged), data.draw(around | st.integers(-9, 2 * len(body)).map(str)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["name", "shape", "datatype", "data", "parameters", None]), JSON, st.booleans())
def test_json_of_any_kind_gives_no_rows_or_whole_ones(part: str | None, value: Any, listed: bool) -> None:
    content = plain(**{part: [value] if listed else value}) if part else {**plain(), "outputs": value, "id": value}
    assert_refused_or_whole(json.dumps(content).encode(errors="surrogatepass"), None)


@settings(deadline=None)
@given(st.binary(max_size=60), st.none() | st.integers(0, 70).map(str))
def test_bytes_of_any_kind_give_no_rows(body: bytes, length: str | None) -> None:
    with pytest.raises(Problem):
        read(body, length)
