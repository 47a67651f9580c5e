"""Read Parquet and Arrow IPC some rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import polars as pl

from src.core.errors import DataError
from src.inference_pipeline.bulk_arrow import MAGIC, batch_rows, read_stream
from src.inference_pipeline.bulk_blocks import Block

Source = Path | bytes
# Bytes of text that rows which are read at once may hold. A file can be small and say one long text a million times.
MOST_TEXT = 500_000_000


def read_parquet(source: Source, rows: int) -> Iterator[Block]:
    """Read a Parquet file `rows` at a time; the first block has no rows (DataError: damaged, or no Parquet file)."""
    scan = pl.scan_parquet(source, glob=False, hive_partitioning=False)
    count = _collected(scan.select(pl.len()), "Parquet file").item()
    parts = [min(rows, count - start) for start in range(0, count, rows)]
    yield from _slices(scan, parts, "Parquet file")


def read_arrow(source: Source, stream: BinaryIO, rows: int, folder: Path | None) -> Iterator[Block]:
    """Read an Arrow IPC stream or file; the first block has no rows.

    Memory is that of the largest record batch.

    Args:
        source: the body.
        stream: the same, to be read from.
        rows: how many at least come at once out of a file of small batches.
        folder: for large batches of a stream while they are read; the system's if None.

    Raises:
        DataError: it is neither, is incomplete, or is damaged.
    """
    stream.seek(0)
    if stream.read(len(MAGIC)) == MAGIC:
        scan = pl.scan_ipc(source, glob=False, hive_partitioning=False)
        yield from _slices(scan, _joined(batch_rows(stream), rows), "Arrow IPC file")
    else:
        for frame in read_stream(stream, folder):
            _refuse_long(frame)
            yield Block(frame, {})
            del frame


def _joined(batches: Sequence[int], rows: int) -> list[int]:
    """Put neighbours together until there are so many rows."""
    parts = [0]
    for count in batches:
        if parts[-1] >= rows:
            parts.append(0)
        parts[-1] += count
    return parts


def _slices(scan: pl.LazyFrame, parts: Sequence[int], what: str) -> Iterator[Block]:
    yield Block(_collected(scan.clear(), what), {})
    start = 0
    for count in parts:
        frame = _collected(scan.slice(start, count), what)
        if frame.height != count:
            raise DataError(f"the {what} is damaged: rows {start:,} to {start + count:,} are not all there")
        _refuse_long(frame)
        yield Block(frame, {})
        del frame
        start += count


def _refuse_long(frame: pl.DataFrame) -> None:
    lengths = frame.select(pl.selectors.string().str.len_bytes().cast(pl.UInt64).sum())
    size = sum(lengths.row(0)) if lengths.width else 0
    if size > MOST_TEXT:
        most = f"{MOST_TEXT / 1e6:,.0f} MB of text that are taken at once"
        raise DataError(f"{frame.height:,} rows hold {size / 1e6:,.0f} MB of text, more than the {most}")


def _collected(scan: pl.LazyFrame, what: str) -> pl.DataFrame:
    try:
        # Whole, and nothing else in the meantime: a streaming query reads on while its rows are worked on.
        return scan.collect(engine="in-memory")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"cannot read the {what}: {str(error).splitlines()[0]}") from error
