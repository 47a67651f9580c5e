"""Arrow IPC streams and files, cut into record batches by their headers."""

import io
import random
from contextlib import suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pyarrow import ipc

from src.core.errors import DataError
from src.inference_pipeline import bulk_arrow, bulk_columnar
from src.inference_pipeline.bulk_arrow import END, batch_rows, messages, read_stream
from src.inference_pipeline.bulk_columnar import read_arrow, read_parquet

ROWS = 300


@pytest.fixture(scope="module")
def table() -> pa.Table:
    numbers = range(ROWS)
    return pa.table(
        {
            "whole": pa.array(numbers),
            "real": pa.array([None if n % 7 == 0 else n / 3 for n in numbers], pa.float32()),
            "text": pa.array([str(n) for n in numbers]),
            "view": pa.array([str(n) * 5 for n in numbers], pa.string_view()),
            "category": pa.array([["a", "bb", None][n % 3] for n in numbers]).dictionary_encode(),
            "list": pa.array([[n, n + 1] if n % 3 else None for n in numbers]),
            "struct": pa.array([{"x": n, "y": str(n)} for n in numbers]),
            "day": pa.array(numbers, pa.date32()),
            "nothing": pa.nulls(ROWS),
        }
    )


def written(table: pa.Table, kind: str, rows: int | None = None, compression: str | None = None) -> bytes:
    stream, options = io.BytesIO(), ipc.IpcWriteOptions(compression=compression)
    new = ipc.new_stream if kind == "stream" else ipc.new_file
    with new(stream, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return stream.getvalue()


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("rows", [None, 100])
@pytest.mark.parametrize("kind", ["stream", "file"])
@pytest.mark.parametrize("large", [100, 1_000_000])
def test_any_stream_and_file_comes_back(
    table: pa.Table, kind: str, rows: int | None, compression: str | None, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_arrow, "LARGE", large)
    body = written(table, kind, rows, compression)
    frames = [block.frame for block in read_arrow(body, io.BytesIO(body), 100, None)]
    wanted = pl.from_arrow(table)
    assert isinstance(wanted, pl.DataFrame)
    assert frames[0].height == 0
    assert len(frames) == (2 if rows is None else 4)
    assert_frame_equal(pl.concat(frames), wanted)


def test_polars_own_files_are_read_in_the_batches_that_they_have(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(1_000), "b": ["x"] * 1_000})
    frame.lazy().sink_ipc(tmp_path / "a.arrow", record_batch_size=100)
    with (tmp_path / "a.arrow").open("rb") as stream:
        assert batch_rows(stream) == [100] * 10
        blocks = list(read_arrow(tmp_path / "a.arrow", stream, 250, None))
    assert [block.frame.height for block in blocks] == [0, 300, 300, 300, 100]
    assert pl.concat([block.frame for block in blocks]).equals(frame)


def test_dictionaries_may_be_replaced_on_the_way_and_deltas_are_refused() -> None:
    schema = pa.schema([("d", pa.dictionary(pa.int32(), pa.string()))])
    parts = [([0, 1], ["a", "b"]), ([0, 2], ["a", "b", "c"]), ([1, 0], ["a", "b", "c"])]
    for deltas in (False, True):
        stream = io.BytesIO()
        with ipc.new_stream(stream, schema, options=ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)) as writer:
            for indices, words in parts:
                column = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(words))
                writer.write_batch(pa.record_batch([column], schema=schema))
        if deltas:
            with pytest.raises(DataError, match="write it without them"):
                next(read_stream(stream, None))
        else:
            frames = list(read_stream(stream, None))
            assert [frame["d"].to_list() for frame in frames] == [[], ["a", "b"], ["a", "c"], ["b", "a"]]


def test_a_stream_cut_anywhere_is_told_before_its_first_row(table: pa.Table) -> None:
    body = written(table.slice(0, 10).select(["whole", "text"]), "stream", 5)
    ends = [message.start + message.size for message in messages(io.BytesIO(body))]
    assert ends[-1] == len(body) - len(END)
    for length in range(len(body) - len(END)):
        # A stream may do without its end mark, so one cut between two messages cannot be told from a whole one.
        if length not in ends:
            with pytest.raises(DataError, match="Arrow IPC"):
                next(read_stream(io.BytesIO(body[:length]), None))


def test_a_file_cut_anywhere_is_incomplete(table: pa.Table) -> None:
    body = written(table, "file", 50)
    for length in (*range(6, 60), *range(len(body) - 60, len(body))):
        with pytest.raises(DataError, match="Arrow IPC"):
            next(read_arrow(body[:length], io.BytesIO(body[:length]), 50, None))


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_damage_is_read_or_told_and_nothing_else(table: pa.Table, kind: str) -> None:
    whole, chance = written(table.select(["whole", "real", "text"]), kind, 100), random.Random(3)
    for _ in range(300):
        body = bytearray(whole)
        for _ in range(3):
            # Headers are at the start, between the batches and at the end.
            body[chance.choice([chance.randrange(800), -chance.randrange(1, 800), chance.randrange(len(body))])] ^= 0x55
        with suppress(DataError):
            for block in read_arrow(bytes(body), io.BytesIO(bytes(body)), 100, None):
                assert block.frame.height <= ROWS


def test_what_is_neither_is_named() -> None:
    for body in (b"", b"a,b\n1,2\n", b"PAR1" * 10, bytes(100)):
        with pytest.raises(DataError, match="is not an Arrow IPC stream or file"):
            next(read_arrow(body, io.BytesIO(body), 100, None))


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["stream", "file"])
def test_a_batch_that_memory_might_not_hold_is_refused_before_it_is_unpacked(
    table: pa.Table, kind: str, compression: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = pa.table({"a": pa.array([0] * 100_000)})
    body = written(zeros, kind, None, compression)
    assert compression is None or len(body) < 20_000
    monkeypatch.setattr(bulk_arrow, "MOST_BYTES", 900_000)
    assert sum(block.frame.height for block in read_arrow(body, io.BytesIO(body), 100, None)) == 100_000
    monkeypatch.setattr(bulk_arrow, "MOST_BYTES", 700_000)
    with pytest.raises(DataError, match=r"a record batch of 1 MB is more than the 1 MB .* write smaller batches"):
        next(read_arrow(body, io.BytesIO(body), 100, None))


def test_one_text_a_million_times_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"a": ["x" * 1_000] * 1_000})
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    stream = frame.write_ipc_stream(None).getvalue()
    monkeypatch.setattr(bulk_columnar, "MOST_TEXT", 500_000)
    with pytest.raises(DataError, match="1,000 rows hold 1 MB of text"):
        list(read_parquet(parquet.getvalue(), 1_000))
    with pytest.raises(DataError, match="1,000 rows hold 1 MB of text"):
        list(read_arrow(stream, io.BytesIO(stream), 1_000, None))
    assert sum(block.frame.height for block in read_parquet(parquet.getvalue(), 400)) == 1_000
