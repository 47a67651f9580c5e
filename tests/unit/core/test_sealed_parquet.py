"""A damaged file is told before it is parsed."""

import random
from io import BytesIO

import polars as pl
import pytest

from src.core import sealed_parquet
from src.core.errors import DataError

FRAME = pl.DataFrame({"zipcode": [f"{i:05}" for i in range(300)], "price": [float(i) for i in range(300)]})


def test_a_frame_comes_back_and_any_reader_reads_it() -> None:
    content = sealed_parquet.to_bytes(FRAME)
    assert sealed_parquet.from_bytes(content, FRAME.columns).equals(FRAME)
    assert pl.read_parquet(content).equals(FRAME)
    assert content == sealed_parquet.to_bytes(FRAME), "the same rows are the same bytes"
    assert len(pl.read_parquet_metadata(BytesIO(content))[sealed_parquet.SEAL]) == 64


def test_only_columns_that_are_there_are_read() -> None:
    assert sealed_parquet.from_bytes(sealed_parquet.to_bytes(FRAME), ["price", "date"]).columns == ["price"]


def test_any_changed_byte_is_told() -> None:
    content = sealed_parquet.to_bytes(FRAME)
    draw = random.Random(0)
    # In the digest's own mark a change would leave a file of another writer, which is read as such.
    mark = content.index(sealed_parquet.SEAL.encode())
    places = [at for at in draw.sample(range(len(content)), 300) if not mark <= at < mark + 18]
    for at in places:
        damaged = content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
        with pytest.raises(DataError, match="damaged"):
            sealed_parquet.from_bytes(damaged, FRAME.columns)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"zipcode,price\n1,2\n", b"\0" * 1000])
def test_what_is_no_parquet_says_so(content: bytes) -> None:
    with pytest.raises(DataError, match="no Parquet file"):
        sealed_parquet.from_bytes(content, ["price"])


def test_a_file_that_breaks_off_says_so() -> None:
    content = sealed_parquet.to_bytes(FRAME)
    for length in range(0, len(content), 97):
        with pytest.raises(DataError, match="damaged"):
            sealed_parquet.from_bytes(content[:length], ["price"])


def test_another_writers_file_is_read() -> None:
    stream = BytesIO()
    FRAME.write_parquet(stream)
    assert sealed_parquet.from_bytes(stream.getvalue(), FRAME.columns).equals(FRAME)


def test_a_file_of_too_many_rows_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_parquet, "MOST_ROWS", 299)
    with pytest.raises(DataError, match="it has 300 rows, and at most 299"):
        sealed_parquet.from_bytes(sealed_parquet.to_bytes(FRAME), FRAME.columns)
