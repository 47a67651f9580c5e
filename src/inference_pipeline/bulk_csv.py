"""Read a CSV block by block, every value as text.

Polars parses. A block in which something is odd is read again by the standard library, which says of each line whether
it is whole; the other lines are priced all the same.
"""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

import polars as pl

from src.core.errors import DataError
from src.inference_pipeline.bulk_blocks import Block, records


def read_csv(stream: BinaryIO) -> Iterator[Block]:
    """Read every value as text, an empty one as null; the first block has no rows.

    A line with too few or too many fields is a row that could not be read; one without any character is no row.

    Raises:
        DataError: the body is empty, not UTF-8, a quote in it is not closed, or two columns have one name. All of this
            is told before the first block.
    """
    names: list[str] = []
    for line, data in records(stream, _last_record):
        _require_text(line, data)
        names = names or _header(data)
    if not names:
        raise DataError("the body is empty, and a CSV has at least a header")
    yield Block(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), {})
    for line, data in records(stream, _last_record):
        body = data if line > 1 else data[_first_record(data) :]
        if body.strip(b"\r\n"):
            yield _parsed(line + data.count(b"\n") - body.count(b"\n"), body, names)


def _last_record(block: bytes) -> int:
    """Return where the last line ends that is in no quotes: an even number of them stands before it."""
    quotes, end = block.count(b'"'), len(block)
    while (newline := block.rfind(b"\n", 0, end)) >= 0:
        quotes -= block.count(b'"', newline, end)
        if quotes % 2 == 0:
            return newline + 1
        end = newline
    return 0


def _first_record(block: bytes) -> int:
    end = len(block) - len(block.lstrip(b"\r\n"))
    while (newline := block.find(b"\n", end)) >= 0:
        end = newline + 1
        if block.count(b'"', 0, end) % 2 == 0:
            return end
    return len(block)


def _require_text(line: int, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise DataError(f"line {line:,}: not UTF-8 text, at its byte {data[error.start]:#04x}") from error
    if data.count(b'"') % 2:
        line += data.count(b"\n", 0, _last_record(data))
        raise DataError(f"line {line:,}: a quote is not closed")


def _header(block: bytes) -> list[str]:
    text = block[: _first_record(block)].decode().lstrip("\r\n")
    try:
        names = next(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(f"the header: {error}") from error
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two columns of the CSV are called {twice!r}")
    return names


def _parsed(line: int, data: bytes, names: list[str]) -> Block:
    try:
        frame = pl.read_csv(data, has_header=False, schema=dict.fromkeys(names, pl.String))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return _carefully(line, data, names)
    return Block(frame, {}) if _is_whole(frame, data) else _carefully(line, data, names)


def _is_whole(frame: pl.DataFrame, data: bytes) -> bool:
    """Tell whether every line has all its fields; Polars gives null for those that are not there."""
    if frame.width == 1:
        # Where a line is one field, an empty line is no row.
        return not (data.startswith((b"\n", b"\r")) or b"\n\n" in data or b"\n\r\n" in data)
    commas = data.count(b",")
    if b'"' in data:
        commas -= frame.select(pl.sum_horizontal(pl.all().str.count_matches(",", literal=True).sum())).item()
    return commas == frame.height * (frame.width - 1)


def _carefully(line: int, data: bytes, names: list[str]) -> Block:
    reader = csv.reader(io.StringIO(data.decode(), newline=""))
    rows: list[list[str | None]] = []
    unread = {}
    try:
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(names):
                unread[len(rows)] = f"the line has {len(fields)} fields, and the header has {len(names)}"
            there = [value or None for value in fields[: len(names)]]
            rows.append(there + [None] * (len(names) - len(there)))
    except csv.Error as error:
        raise DataError(f"line {line + reader.line_num - 1:,}: {error}") from error
    return Block(pl.DataFrame(rows, dict.fromkeys(names, pl.String), orient="row"), unread)
