"""Write a bulk answer piece by piece, in each of its formats.

A writer takes frames of the same columns; the first has no rows and tells which. It gives bytes, among them empty
pieces, at which a caller may stop it.
"""

import errno
import json
import queue
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, cast

import polars as pl
from polars.io.plugins import register_io_source

from src.core.errors import DataError
from src.inference_pipeline.bulk_arrow import END, schema_size

PIECE = 1_000_000
ROW_GROUP = 100_000
Frames = Iterator[pl.DataFrame]


def write_csv(frames: Frames) -> Iterator[bytes]:
    """Write a CSV with a header (DataError: a column holds what a CSV cannot)."""
    first = next(frames)
    _refuse(first, lambda kind: kind.is_nested() or kind in (pl.Binary, pl.Duration, pl.Object), "a CSV")
    yield b"".join(_pieces(first.write_csv))
    for frame in frames:
        pieces = _pieces(partial(frame.write_csv, include_header=False))
        del frame  # before the next is made
        yield from pieces


def write_ndjson(frames: Frames) -> Iterator[bytes]:
    """Write one JSON object a line (DataError: a column holds what JSON cannot)."""
    _refuse(next(frames), _has_bytes, "NDJSON")
    yield b""
    for frame in frames:
        pieces = _pieces(frame.write_ndjson)
        del frame
        yield from pieces


class _Pieces(list[bytes]):
    """A file that keeps what is written as it was: growing one buffer instead takes longer than the writing."""

    def write(self, piece: bytes) -> int:
        self.append(piece)
        return len(piece)


def _pieces(write: Callable[[IO[bytes]], object]) -> list[bytes]:
    pieces = _Pieces()
    write(cast(IO[bytes], pieces))
    return pieces


def _refuse(frame: pl.DataFrame, is_strange: Callable[[pl.DataType], bool], to: str) -> None:
    for name, kind in frame.schema.items():
        if is_strange(kind):
            raise DataError(f"column {name} holds {kind}, which {to} cannot: leave it out, or ask for another format")


def _has_bytes(kind: object) -> bool:
    if isinstance(kind, pl.Struct):
        return any(_has_bytes(field.dtype) for field in kind.fields)
    if isinstance(kind, pl.List | pl.Array):
        return _has_bytes(kind.inner)
    return kind in (pl.Binary, pl.Object)


def write_lines(answers: Iterator[tuple[Sequence[bytes], Collection[int], pl.DataFrame]]) -> Iterator[bytes]:
    """Write lines of NDJSON as they came, each with what was found added to its object.

    Args:
        answers: lines, the numbers of those that are no object, and the columns that are added.
    """
    for lines, unread, added in answers:
        new = b"".join(_pieces(added.write_ndjson)).split(b"\n")
        # A key that is already there would stand in the line twice.
        keys = [json.dumps(name).encode() for name in added.columns]
        again = any(key in line for line in lines[:1] for key in keys) or any(k in b"\n".join(lines) for k in keys)
        yield b"".join(
            _joined(b"{}" if number in unread else _without(line, added.columns) if again else line, more)
            for number, (line, more) in enumerate(zip(lines, new[: len(lines)], strict=True))
        )


def _joined(line: bytes, more: bytes) -> bytes:
    start = line.rstrip()[:-1].rstrip()
    return b"%b%b%b\n" % (start, b"" if start.endswith(b"{") else b",", more[1:])


def _without(line: bytes, names: Sequence[str]) -> bytes:
    kept = {name: value for name, value in json.loads(line).items() if name not in names}
    return json.dumps(kept, ensure_ascii=False).encode()


def write_arrow(frames: Frames) -> Iterator[bytes]:
    """Write an Arrow IPC stream; what has no end mark is not whole."""
    empty = b"".join(_stream(next(frames)))
    schema = schema_size(empty)
    yield empty[:schema]
    for frame in frames:
        # Each frame is written as a stream of its own, of which only the batches are wanted.
        pieces = _stream(frame)
        del frame
        start, end = 0, sum(map(len, pieces)) - len(END)
        for piece in pieces:
            if start < end:
                yield piece[max(schema - start, 0) : end - start]
            start += len(piece)
    yield END


def _stream(frame: pl.DataFrame) -> list[bytes]:
    # Texts as every Arrow library reads them.
    return _pieces(partial(frame.write_ipc_stream, compat_level=pl.CompatLevel.oldest()))


def write_parquet(frames: Frames, folder: Path | None) -> Iterator[bytes]:
    """Write a Parquet file, which is begun to be given when all rows are in it.

    Args:
        frames: the rows.
        folder: where the file is made; the system's if None. Nothing is left in it.

    Raises:
        OSError: the file cannot be written.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix="housecast-", suffix=".parquet") as file:
        sink = _Sink(next(frames), Path(file.name))
        try:
            for frame in frames:
                sink.put(frame)
                del frame
                yield b""
            sink.finish()
        finally:
            sink.stop()
        with Path(file.name).open("rb") as made:
            while piece := made.read(PIECE):
                yield piece


class _Sink:
    """Polars's Parquet writer, which asks for frames, in a thread that waits until they are given."""

    def __init__(self, first: pl.DataFrame, path: Path) -> None:
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(1)
        self._is_stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(first, path), name="parquet", daemon=True)
        self._thread.start()

    def _run(self, first: pl.DataFrame, path: Path) -> None:
        try:
            rows = register_io_source(lambda *_: self._given(), schema=first.schema)
            rows.sink_parquet(path, compression="zstd", row_group_size=ROW_GROUP)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            self._error = error

    def _given(self) -> Iterator[pl.DataFrame]:
        while (frame := self._frames.get()) is not None:
            yield frame
        if self._is_stopped:
            raise InterruptedError

    def put(self, frame: pl.DataFrame | None) -> None:
        """Give a frame when the one before has been taken (OSError when the file cannot be written)."""
        while self._thread.is_alive():
            try:
                self._frames.put(frame, timeout=0.1)
            except queue.Full:
                continue
            return
        self._fail()

    def finish(self) -> None:
        """Wait until the file is whole (OSError when it cannot be)."""
        self.put(None)
        self._thread.join()
        if self._error:
            self._fail()

    def _fail(self) -> None:
        text = str(self._error)
        number = errno.ENOSPC if "os error 28" in text else errno.EIO
        raise OSError(number, f"the Parquet file cannot be written: {text.splitlines()[0]}") from self._error

    def stop(self) -> None:
        """Give up what is not finished."""
        self._is_stopped = True
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._frames.put_nowait(None)
            self._thread.join(0.1)
