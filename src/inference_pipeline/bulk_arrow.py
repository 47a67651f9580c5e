"""Cut Arrow IPC streams and files into record batches, which Polars reads and writes only all at once.

A stream is a row of messages: the schema, then record batches and the dictionaries that they refer to. A batch with the
schema and its dictionaries before it is a stream of its own; a file has a footer that says where its batches are. So
memory is bounded by the largest batch. Only headers are read here (Message.fbs and File.fbs of the Arrow project).
"""

import io
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from src.core.errors import DataError
from src.inference_pipeline.flatbuffer import Table

MAGIC = b"ARROW1"
CONTINUATION = b"\xff\xff\xff\xff"
END = CONTINUATION + bytes(4)
SCHEMA, DICTIONARY, BATCH = 1, 2, 3
# A message of this many bytes is copied to a file, which takes less memory and time than holding it beside its rows.
LARGE = 1_000_000
MOST_ROWS = 2**32  # of a frame
# Bytes of a record batch once it is not compressed: whoever is short of memory must not be made to try.
MOST_BYTES = 500_000_000
NEITHER = "the body is not an Arrow IPC stream or file"


class Message(NamedTuple):
    """Where a message of a stream stands, its bytes with the body, and what its header says."""

    start: int
    size: int
    kind: int
    rows: int
    dictionary: int
    is_delta: bool


def messages(stream: BinaryIO) -> Iterator[Message]:
    """Walk the messages of an IPC stream, up to its end mark or its end.

    Raises:
        DataError: it is no IPC stream, or ends in the middle of a message.
    """
    start, length = 0, stream.seek(0, io.SEEK_END)
    while start < length:
        stream.seek(start)
        mark = stream.read(8)
        if mark == END:
            return
        if mark[:4] != CONTINUATION:
            raise DataError(_damaged(start) if start else NEITHER)
        size = int.from_bytes(mark[4:], "little")
        header = stream.read(size)
        found = _message(start, header) if len(header) == size else None
        if found is None or start + found.size > length:
            raise DataError(f"the Arrow IPC stream is incomplete: it ends inside a message, at byte {length:,}")
        _refuse_huge(stream, start + 8 + size, header)
        yield found
        start += found.size


def read_stream(stream: BinaryIO, folder: Path | None) -> Iterator[pl.DataFrame]:
    """Read a stream batch by batch, first a frame without rows that has the columns.

    Args:
        stream: seekable.
        folder: where a large batch is copied to while it is read; the system's if None.

    Raises:
        DataError: it is no IPC stream, or damaged. An incomplete one is told before its first batch is read.
    """
    walked = messages(stream)
    first = next(walked, None)
    if first is None or first.kind != SCHEMA:
        raise DataError(NEITHER)
    for message in walked:
        if message.is_delta:
            raise DataError("the Arrow IPC stream adds to its dictionaries by deltas; write it without them")
    schema, dictionaries = b"", dict[int, bytes]()
    for message in messages(stream):
        if message.kind == SCHEMA:
            schema = _bytes(stream, message)
            yield _read(io.BytesIO(schema + END))
        elif message.kind == DICTIONARY:
            dictionaries[message.dictionary] = _bytes(stream, message)
        elif message.kind == BATCH:
            yield _alone(stream, message, schema + b"".join(dictionaries.values()), folder)


def _alone(stream: BinaryIO, message: Message, before: bytes, folder: Path | None) -> pl.DataFrame:
    if message.size < LARGE:
        return _read(io.BytesIO(before + _bytes(stream, message) + END))
    with tempfile.NamedTemporaryFile(dir=folder, prefix="housecast-") as copy:
        copy.write(before)
        stream.seek(message.start)
        left = message.size
        while left:
            left -= copy.write(stream.read(min(left, LARGE)))
        copy.write(END)
        copy.flush()
        return _read(Path(copy.name))


def _read(source: io.BytesIO | Path) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"cannot read the Arrow IPC stream: {str(error).splitlines()[0]}") from error


def _bytes(stream: BinaryIO, message: Message) -> bytes:
    stream.seek(message.start)
    return stream.read(message.size)


def batch_rows(stream: BinaryIO) -> list[int]:
    """Return how many rows each record batch of an IPC file has (DataError: incomplete or damaged)."""
    length = stream.seek(0, io.SEEK_END)
    stream.seek(max(length - 10, 0))
    tail = stream.read(10)
    if tail[4:] != MAGIC:
        raise DataError("the Arrow IPC file is incomplete: it has no end mark")
    start = length - 10 - int.from_bytes(tail[:4], "little")
    if start < len(MAGIC):
        raise DataError(_damaged(length - 10))
    stream.seek(start)
    footer = stream.read(length - 10 - start)
    try:
        dictionaries, batches = (Table.root(footer).blocks(field) for field in (2, 3))
    except (struct.error, IndexError) as error:
        raise DataError(_damaged(start)) from error
    for place, size, body in (*dictionaries, *batches):
        if min(place, size, body) < 0 or place + size + body > start:
            raise DataError(_damaged(start))  # Polars does not look
    return [_rows(stream, place, size) for place, size, _ in batches]


def _rows(stream: BinaryIO, place: int, size: int) -> int:
    stream.seek(place)
    whole = stream.read(size)
    # Before version 0.15 a message had no mark before its size.
    header = whole[8 if whole.startswith(CONTINUATION) else 4 :]
    rows = _message(place, header).rows
    _refuse_huge(stream, place + size, header)
    return rows


def _refuse_huge(stream: BinaryIO, start: int, header: bytes) -> None:
    """Refuse a message whose body, which starts there, is larger than any that is held in memory (DataError)."""
    try:
        size = _size(stream, start, Table.root(header))
    except (struct.error, IndexError) as error:
        raise DataError(_damaged(start)) from error
    if size > MOST_BYTES:
        most = f"{MOST_BYTES / 1e6:,.0f} MB that are read at once"
        raise DataError(f"a record batch of {size / 1e6:,.0f} MB is more than the {most}: write smaller batches")


def _size(stream: BinaryIO, start: int, message: Table) -> int:
    kind, size = message.number(1, "<B"), message.number(3, "<q")
    if kind not in (BATCH, DICTIONARY):
        return size
    batch = message.table(2) if kind == BATCH else message.table(2).table(1)
    if not batch.has(3):
        return size
    # Compressed: each buffer begins with how long it really is, or with -1.
    size = 0
    for place, length in batch.buffers(2):
        if length <= 0:
            continue
        stream.seek(max(start + place, 0))
        size += max(int.from_bytes(stream.read(8), "little", signed=True), length)
    return size


def schema_size(stream: bytes) -> int:
    """Return how many bytes at the start of a stream are its schema's message."""
    return next(messages(io.BytesIO(stream))).size


def _message(start: int, header: bytes) -> Message:
    try:
        root = Table.root(header)
        kind, body, content = root.number(1, "<B"), root.number(3, "<q"), root.table(2)
        rows = content.number(0, "<q") if kind == BATCH else 0
        dictionary, is_delta = (content.number(0, "<q"), content.number(2, "<B")) if kind == DICTIONARY else (0, 0)
    except (struct.error, IndexError) as error:
        raise DataError(_damaged(start)) from error
    if body < 0 or not 0 <= rows < MOST_ROWS:
        raise DataError(_damaged(start))
    return Message(start, 8 + len(header) + body, kind, rows, dictionary, bool(is_delta))


def _damaged(start: int) -> str:
    return f"the Arrow IPC body is damaged at byte {start:,}"
