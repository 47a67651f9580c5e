"""Parquet that tells when it is damaged, before a parser sees it.

Polars ends the whole process at some damaged files. So the file's metadata carry the SHA-256 of its bytes, taken with
zeros in the digest's own place. Any reader of Parquet reads such a file.
"""

import hashlib
from collections.abc import Sequence
from io import BytesIO

import polars as pl

from src.core.errors import DataError

SEAL = "housecast.sha256"
_EMPTY = b"0" * 64
# Between the key and its value in the Thrift encoding: a string follows, of 64 bytes.
_MARK = SEAL.encode() + b"\x18\x40"
# What decodes to more is no month of a market.
MOST_ROWS = 20_000_000


def to_bytes(frame: pl.DataFrame) -> bytes:
    """Write a frame as Parquet with its digest in it."""
    stream = BytesIO()
    frame.write_parquet(stream, metadata={SEAL: _EMPTY.decode()})
    content = stream.getvalue()
    start = content.rindex(_MARK + _EMPTY) + len(_MARK)
    return content[:start] + hashlib.sha256(content).hexdigest().encode() + content[start + len(_EMPTY) :]


def from_bytes(content: bytes, columns: Sequence[str]) -> pl.DataFrame:
    """Read those of the columns that are there, from Parquet with a digest or of another writer.

    Raises:
        DataError: the content is damaged or no Parquet; says so without a name, which the caller has.
    """
    start = content.rfind(_MARK) + len(_MARK)
    if start >= len(_MARK):
        said = content[start : start + len(_EMPTY)]
        plain = hashlib.sha256(content[:start])
        plain.update(_EMPTY)
        plain.update(content[start + len(_EMPTY) :])
        if said != plain.hexdigest().encode():
            raise DataError("it is damaged: its bytes are not those that were written")
    try:
        rows = pl.scan_parquet(BytesIO(content)).select(pl.len()).collect().item()
        if rows > MOST_ROWS:
            raise DataError(f"it says that it has {rows:,} rows, and at most {MOST_ROWS:,} are read")
        there = pl.read_parquet_schema(BytesIO(content))
        return pl.read_parquet(BytesIO(content), columns=[name for name in columns if name in there])
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError("it is damaged or no Parquet file") from error
