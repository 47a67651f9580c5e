"""NDJSON in pieces: types that fit every line, and lines that are none."""

import io
import json

import polars as pl
import pytest

from src.core.errors import DataError
from src.inference_pipeline import bulk_blocks
from src.inference_pipeline.bulk_ndjson import NO_OBJECT, read_lines, read_ndjson


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_blocks, "BLOCK", 40)


def read(*values: str) -> tuple[pl.DataFrame, dict[int, str]]:
    blocks = list(read_ndjson(io.BytesIO("\n".join(values).encode())))
    unread, start = {}, 0
    for block in blocks:
        unread |= {start + number: what for number, what in block.unread.items()}
        start += block.frame.height
    return pl.concat([block.frame for block in blocks]), unread


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (["1", "2", "3"], pl.Int64, [1, 2, 3]),
        (["1", "2.5", "null"], pl.Float64, [1.0, 2.5, None]),
        (["1", '"many"', "2.5"], pl.String, ["1", "many", "2.5"]),
        (["true", "false", "null"], pl.Boolean, [True, False, None]),
        (["1", "true", "2"], pl.String, ["1", "true", "2"]),
        (["1", "NaN", "Infinity"], pl.Float64, [1.0, float("nan"), float("inf")]),
        (["1", "1e400", "2"], pl.Float64, [1.0, float("inf"), 2.0]),
        (["1", "[2]", '{"b": 3}'], pl.String, ["1", "[2]", '{"b": 3}']),
        (['{"b":1}', '{"b":2}', "null"], pl.Struct({"b": pl.Int64}), [{"b": 1}, {"b": 2}, None]),
        (["null", "null", "null"], pl.Null, [None, None, None]),
        (["1", "12345678901234567890123", "2"], pl.String, ["1", "12345678901234567890123", "2"]),
    ],
)
@pytest.mark.parametrize("pad", [0, 40])  # all lines in one block, and each in one of its own
def test_a_column_has_the_type_that_fits_every_line(
    values: list[str], kind: pl.DataType, wanted: list[object], pad: int
) -> None:
    frame, unread = read(*(f'{{"a":{value}}}{" " * pad}' for value in values))
    assert unread == {}
    assert frame.schema["a"] == kind
    assert frame["a"].equals(pl.Series("a", wanted, kind, strict=False))


@pytest.mark.parametrize("line", ["xxx", '{"a":2', "[1]", "5", "null", '{"a":1} {"a":2}', '{"a":"\\ud800"}', "\x0b"])
def test_a_line_that_is_no_object_is_a_row_that_is_not_read(line: str) -> None:
    frame, unread = read('{"a":1}', line, '{"a":2}', "", "  ", '{"a":3}\r')
    rows = [1, 2, 3] if line == "\x0b" else [1, None, 2, 3]  # a tabulator is white space
    assert frame["a"].to_list() == rows
    assert unread == ({} if line == "\x0b" else {1: NO_OBJECT})


def test_columns_that_only_some_lines_have_are_missing_in_the_others() -> None:
    frame, _ = read('{"a":1}', '{"b":"x"}', '{"a":2,"c":[1]}', "{}")
    assert frame.rows() == [(1, None, None), (None, "x", None), (2, None, [1]), (None, None, None)]


@pytest.mark.parametrize("read_it", [read_ndjson, lambda stream: read_lines(stream, {"a": "number"})])
def test_a_body_without_any_object_is_no_ndjson(read_it: object) -> None:
    assert callable(read_it)
    for body in (b"a,b\n1,2\n", b"\x00\xff\n", b"[1]\n"):
        with pytest.raises(DataError, match="the body is not NDJSON"):
            next(read_it(io.BytesIO(body)))
    assert list(read_it(io.BytesIO(b"\n \n"))) == []


def test_lines_are_kept_beside_the_columns_that_are_read() -> None:
    lines = [json.dumps({"a": value, "z": [value]}).encode() for value in (1, 2.5, "3", "many", True, None)]
    blocks = list(read_lines(io.BytesIO(b"\n".join(lines)), {"a": "number", "b": "text"}))
    assert blocks[0].frame.schema == {"a": pl.String}
    assert [line for block in blocks for line in block.lines] == lines
    texts = [value for block in blocks[1:] for value in block.frame.cast({"a": pl.String})["a"]]
    assert texts == ["1.0", "2.5", "3", "many", "true", None]
