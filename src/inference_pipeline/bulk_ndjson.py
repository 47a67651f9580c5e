"""Read NDJSON block by block: one JSON object a line.

Polars parses. A block in which it cannot read a line is read again by the standard library, which says which; the other
lines are priced all the same. A key that a line lacks is a missing value.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, BinaryIO

import polars as pl

from src.core.errors import DataError
from src.inference_pipeline.bulk_blocks import Block, records

Schema = Mapping[str, pl.DataType]
TEXT, REAL, WHOLE, NOTHING = pl.String(), pl.Float64(), pl.Int64(), pl.Null()
NO_OBJECT = "the line is not a JSON object"


def read_ndjson(stream: BinaryIO) -> Iterator[Block]:
    """Read all columns; the first block has no rows. Nothing comes of a body without lines.

    The types are those that fit every line: texts and numbers in one column are text, and so are objects of two forms.

    Raises:
        DataError: no line is an object.
    """
    found: dict[str, pl.DataType] = {}
    count = 0
    for data, lines in _blocks(stream):
        count += len(lines)
        kinds = _kinds(data, lines)
        # Polars gives columns in no order.
        new = kinds.keys() - found.keys()
        found |= {name: NOTHING for name in (_names(lines, new) if new else ()) if name in new}
        for name, kind in kinds.items():
            found[name] = _common(found[name], kind)
    if not count:
        return
    if not found:
        raise DataError(f"the body is not NDJSON: {NO_OBJECT}, whichever is looked at")
    yield Block(pl.DataFrame(schema=found), {})
    for data, lines in _blocks(stream):
        frame = _parsed(data, len(lines), found)
        yield Block(frame, {}) if frame is not None else _carefully(lines, found)


def read_lines(stream: BinaryIO, columns: Mapping[str, str]) -> Iterator[Block]:
    """Read some columns and keep the lines; the first block has no rows. Nothing comes of a body without lines.

    Args:
        stream: the body.
        columns: name -> number, text or date. Those that no line of the first block has are left out.

    Raises:
        DataError: no line of the first block is an object.
    """
    texts: Schema = {}
    numbers: Schema = {}
    is_first = True
    for data, lines in _blocks(stream):
        if is_first:
            there = _names(lines, columns.keys())
            texts = {name: TEXT for name in columns if name in there}
            numbers = {name: REAL if columns[name] == "number" else TEXT for name in texts}
            yield Block(pl.DataFrame(schema=texts), {})
            is_first = False
        frame = _parsed(data, len(lines), numbers)
        if frame is None:
            numbers = texts  # some numbers are written as text, here and probably further on
            frame = _parsed(data, len(lines), texts)
        yield Block(frame, {}, lines) if frame is not None else _carefully(lines, texts)._replace(lines=lines)


def _blocks(stream: BinaryIO) -> Iterator[tuple[bytes, list[bytes]]]:
    for _, data in records(stream, lambda block: block.rfind(b"\n") + 1):
        lines = [line for line in data.split(b"\n") if line.strip()]
        if lines:
            yield data, lines


def _parsed(data: bytes, rows: int, schema: Schema | None) -> pl.DataFrame | None:
    """Parse with Polars; None when it cannot, or sees other rows than there are lines."""
    if b"\\ud" in data or b"\\uD" in data:
        return None  # half of a pair of surrogates becomes another character there
    try:
        frame = pl.read_ndjson(data, schema=schema, infer_schema_length=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return frame if frame.height == rows else None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
        if b"\\u" in line:
            json.dumps(found, ensure_ascii=False).encode()  # which half a pair of surrogates cannot be
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _names(lines: Sequence[bytes], wanted: Set[str]) -> list[str]:
    """Return the keys of a block's lines in their order, looking no further than to find those that are wanted."""
    found: dict[str, None] = {}
    has_object = False
    for line in lines:
        one = _object(line)
        if one is not None:
            has_object = True
            found |= dict.fromkeys(one)
            if wanted <= found.keys():
                break
    if not has_object:
        raise DataError(f"the body is not NDJSON: {NO_OBJECT}, whichever of the first {len(lines):,} is looked at")
    return list(found)


def _kinds(data: bytes, lines: Sequence[bytes]) -> dict[str, pl.DataType]:
    frame = _parsed(data, len(lines), None)
    if frame is not None:
        return {name: kind if kind not in (pl.Int128, pl.UInt64) else TEXT for name, kind in frame.schema.items()}
    kinds: dict[str, pl.DataType] = {}
    for line in lines:
        for name, value in (_object(line) or {}).items():
            kinds[name] = _common(kinds.get(name, NOTHING), _kind(value))
    return kinds


def _kind(value: Any) -> pl.DataType:
    if isinstance(value, bool):
        return pl.Boolean()
    if isinstance(value, int):
        return WHOLE if abs(value) < 2**63 else TEXT
    return NOTHING if value is None else REAL if isinstance(value, float) else TEXT


def _common(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    if one == other or other == NOTHING:
        return one
    if one == NOTHING:
        return other
    return REAL if {one, other} == {REAL, WHOLE} else TEXT


def _carefully(lines: Sequence[bytes], schema: Schema) -> Block:
    objects = [_object(line) for line in lines]
    columns = []
    for name, kind in schema.items():
        values = [one.get(name) if one else None for one in objects]
        if kind == TEXT:
            values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        columns.append(pl.Series(name, values, kind, strict=False))
    return Block(pl.DataFrame(columns), {number: NO_OBJECT for number, one in enumerate(objects) if one is None})
