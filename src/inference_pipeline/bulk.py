"""Price a body of any size: rows in, the same rows out with prices, a row that cannot be priced with what is wrong.

Memory is bounded by the rows that are looked at at once. What is wrong with a body as a whole is told before the first
byte of the answer wherever it can be known by then.
"""

import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import polars as pl

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.feature_pipeline.content import NULLS
from src.feature_pipeline.load import require_kind
from src.feature_pipeline.screening import screen
from src.feature_pipeline.transforms import require_columns
from src.inference_pipeline.bulk_blocks import Block
from src.inference_pipeline.bulk_columnar import Source, read_arrow, read_parquet
from src.inference_pipeline.bulk_csv import read_csv
from src.inference_pipeline.bulk_ndjson import read_lines, read_ndjson
from src.inference_pipeline.bulk_output import write_arrow, write_csv, write_lines, write_ndjson, write_parquet
from src.inference_pipeline.predictor import Classification, Predictor

ROWS = 100_000
ERROR = "error"
BODY = "the input"
NO_PRICE = "the values are so far from any that the model knows that there is no price"


class Format(StrEnum):
    """What a body is and what an answer can be; Arrow is read as an IPC stream or file, and written as a stream."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"
    ARROW = "arrow"


@dataclass
class Tally:
    """How far the work has come: rows that are answered, and how many of them have no price."""

    rows: int = 0
    refused: int = 0


def score(
    source: Source,
    kind: Format,
    predictor: Predictor,
    answer: Format,
    *,
    threads: int = 1,
    rows: int = ROWS,
    folder: Path | None = None,
    tally: Tally | None = None,
) -> Iterator[bytes]:
    """Price a body's rows and give the answer piece by piece; an empty piece is a moment to stop at, not the end.

    All rows come back in their order and with their columns, then those of the prediction, then `error`: null, or what
    is wrong with a row, which then has no price. Columns of these names in the body are replaced.

    Args:
        source: a file, or a small body itself.
        kind: what the body is.
        predictor: prices the rows.
        answer: what is given.
        threads: of the tree evaluation.
        rows: how many are priced at once, at most.
        folder: for what memory would not hold, while it is worked on; the system's if None. Nothing is left in it.
        tally: is kept up to date.

    Raises:
        DataError: a column is missing, or holds what is neither text nor number nor date; or the body cannot be read.
            Raised after the first piece, what was given is not the whole answer (an Arrow stream then has no end mark).
        OSError: `folder` cannot be written, because the disk is full for example.
    """
    config, tally = predictor.config, tally or Tally()
    nulls = NULLS if kind == Format.CSV else ()
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        if kind == answer == Format.NDJSON:
            # The lines themselves are given back: whatever they say of columns that price nothing stays as it is.
            blocks = read_lines(stream, _candidates(config))
            priced = _priced(blocks, predictor, threads, rows, nulls, tally)
            next(priced)
            yield from write_lines((block.lines, block.unread, added) for block, added in priced)
            return
        blocks = _read(source, stream, kind, rows, folder)
        priced = _priced(blocks, predictor, threads, rows, nulls, tally)
        frames = _whole(priced)
        match answer:
            case Format.CSV:
                yield from write_csv(frames)
            case Format.NDJSON:
                yield from write_ndjson(frames)
            case Format.PARQUET:
                yield from write_parquet(frames, folder)
            case Format.ARROW:
                yield from write_arrow(frames)


def _read(source: Source, stream: BinaryIO, kind: Format, rows: int, folder: Path | None) -> Iterator[Block]:
    match kind:
        case Format.CSV:
            return read_csv(stream)
        case Format.NDJSON:
            return read_ndjson(stream)
        case Format.PARQUET:
            return read_parquet(source, rows)
        case Format.ARROW:
            return read_arrow(source, stream, rows, folder)


def _candidates(config: DatasetConfig) -> dict[str, str]:
    """Return the names under which a body may have the columns that a price needs, each with its type."""
    old = {new: name for name, new in config.source.rename.items()}
    return {name: config.columns[new].type for new in config.raw_inputs for name in (new, old.get(new)) if name}


def _inputs(schema: pl.Schema, config: DatasetConfig) -> dict[str, str]:
    """Return column of the config -> column of the body, for those that a price needs.

    Raises:
        DataError: one is missing, is there under both its names, or cannot be read as its type.
    """
    renamed = config.source.rename
    there: dict[str, str] = {}
    for name in schema:
        known = renamed.get(name, name)
        if known in config.raw_inputs and known in there:
            raise DataError(f"{BODY} has the column {known} twice: as {there[known]} and as {name}")
        there[known] = name
    require_columns(list(there), list(config.raw_inputs), BODY)
    for name in config.raw_inputs:
        require_kind(there[name], config.columns[name], schema[there[name]], BODY)
    return {name: there[name] for name in config.raw_inputs}


def _priced(
    blocks: Iterator[Block], predictor: Predictor, threads: int, rows: int, nulls: Collection[str], tally: Tally
) -> Iterator[tuple[Block, pl.DataFrame]]:
    """Give every block with the columns that are added to it; the first has no rows."""
    first = next(blocks, None)
    if first is None:  # NDJSON without a line, of which nobody knows the columns
        nothing = predictor.predict([]).frame(predictor.config.target.column)
        yield Block(pl.DataFrame(), {}), nothing.with_columns(pl.lit(None, pl.String).alias(ERROR))
        return
    names = _inputs(first.frame.schema, predictor.config)
    for block in _cut(first, blocks, rows):
        inputs = block.frame.select(pl.col(old).alias(name) for name, old in names.items())
        typed, error = screen(inputs, predictor.config, nulls)
        added = _answers(typed, _with(error, block.unread, typed.height), predictor, threads)
        tally.rows += added.height
        tally.refused += added.height - added[ERROR].null_count()
        yield block, added
        # Here and below: what is done with goes before the next is read, or twice as much would be in memory.
        del block, inputs, typed, error, added


def _whole(priced: Iterator[tuple[Block, pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    for block, added in priced:
        yield block.frame.drop(added.columns, strict=False).hstack(added)
        del block, added


def _cut(first: Block, blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    yield first
    for block in blocks:
        for start in range(0, block.frame.height, rows):
            part = range(start, min(start + rows, block.frame.height))
            unread = {number - start: what for number, what in block.unread.items() if number in part}
            yield Block(block.frame.slice(start, rows), unread, block.lines[start : start + rows])
        del block


def _with(error: pl.Series | None, unread: Mapping[int, str], height: int) -> pl.Series | None:
    """Say of rows that the parser could not read why, and nothing else."""
    if not unread:
        return error
    said: list[str | None] = [None] * height if error is None else error.to_list()
    for number, what in unread.items():
        said[number] = what
    return pl.Series(ERROR, said, pl.String)


def _answers(typed: pl.DataFrame, error: pl.Series | None, predictor: Predictor, threads: int) -> pl.DataFrame:
    """Price the rows in which nothing is wrong, and put each answer in its row."""
    target = predictor.config.target.column
    if error is None:
        said = predictor.predict(typed, threads)
        answers, error = said.frame(target), pl.Series(ERROR, [None], pl.String).new_from_index(0, typed.height)
    else:
        good = error.is_null()
        said = predictor.predict(typed.filter(good), threads)
        place = pl.select(pl.when(good).then(good.cum_sum() - 1)).to_series()
        answers = said.frame(target).select(pl.all().gather(place))
    if not isinstance(said, Classification):
        is_none = ~answers.to_series(0).is_finite()
        if is_none.any():
            answers = answers.select(pl.when(~is_none).then(pl.all()))
            error = pl.select(pl.when(is_none).then(pl.lit(NO_PRICE)).otherwise(error)).to_series()
    return answers.with_columns(error.alias(ERROR))
