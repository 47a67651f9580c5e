"""What every reader of a bulk input gives: some rows at a time, so that memory is bounded whatever the body's size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import polars as pl

from src.core.errors import DataError

# Bytes of a text that are read at once; a record may be several times as long.
BLOCK = 12_000_000
LONGEST = 3 * BLOCK
BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Rows of an input in its own columns; `unread` says of those that the parser could not read what is wrong.

    `lines`: their text, where the output is the same text with something added.
    """

    frame: pl.DataFrame
    unread: Mapping[int, str]
    lines: Sequence[bytes] = ()


def records(stream: BinaryIO, cut: Callable[[bytes], int]) -> Iterator[tuple[int, bytes]]:
    """Read a text in blocks of whole records, each with the number of its first line.

    Args:
        stream: read from its start, without the mark of UTF-8 that may stand there.
        cut: says where the last whole record of some bytes ends, 0 if none does.

    Raises:
        DataError: a record is longer than any can be.
    """
    stream.seek(0)
    rest, line = stream.read(len(BOM)).removeprefix(BOM), 1
    while chunk := stream.read(BLOCK):
        rest += chunk
        end = cut(rest)
        if end:
            yield line, rest[:end]
            line += rest.count(b"\n", 0, end)
            rest = rest[end:]
        elif len(rest) > LONGEST:
            raise DataError(f"line {line:,}: longer than {LONGEST:,} bytes, or a quote in it is not closed")
    if rest.strip(b"\r\n"):
        yield line, rest
