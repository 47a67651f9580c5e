"""Find the rows of a batch that cannot be priced, and say what is wrong with each, column by column.

A batch of good rows costs a cast and the ends of each column; only columns in which something is wrong are looked
through. Messages are those of `rows.RowEncoder`, and a property test holds that both refuse the same rows.
"""

from collections.abc import Collection, Iterator

import polars as pl

from src.core.config import Column, DatasetConfig
from src.core.recipes import LARGEST
from src.feature_pipeline.load import cast_to

# Characters of a text that a message shows.
SHOWN = 36
RAW = "__raw"


def screen(
    frame: pl.DataFrame, config: DatasetConfig, nulls: Collection[str] = ()
) -> tuple[pl.DataFrame, pl.Series | None]:
    """Type the columns that a price needs, and name for each row what is wrong with it.

    Args:
        frame: rows with the columns of `config.raw_inputs` and no others, of kinds that `load.require_kind` lets pass.
        config: names the types, the codes for `missing`, what is required and the ranges.
        nulls: texts that mean `missing`.

    Returns:
        the rows, numbers and dates typed; and one text a row, null where nothing is wrong, or None where nothing is
        wrong with any of them. What is wrong has no meaning in the typed rows.
    """
    typed = frame.select(_reading(name, config, kind, nulls) for name, kind in frame.schema.items())
    codes = config.missing_codes
    doubtful = [
        name for name in typed.columns if _is_doubtful(typed[name], frame[name], config.columns[name], codes.get(name))
    ]
    if not doubtful:
        return typed, None
    both = typed.with_columns(frame[name].alias(f"{RAW}{name}") for name in doubtful)
    said = [_wrong(name, config.columns[name], codes.get(name), frame.schema[name], nulls) for name in doubtful]
    error = both.select(pl.concat_str(said, separator="; ", ignore_nulls=True).replace("", None)).to_series()
    return typed, error if error.null_count() < error.len() else None


def _reading(name: str, config: DatasetConfig, kind: pl.DataType, nulls: Collection[str]) -> pl.Expr:
    column, value = config.columns[name], pl.col(name)
    if column.type != "text":
        return cast_to(column, value, kind).alias(name)
    return pl.when(~value.is_in(list(nulls))).then(value) if nulls and kind == pl.String else value


def _is_doubtful(typed: pl.Series, raw: pl.Series, column: Column, code: float | None) -> bool:
    """Tell whether a value of a column may be wrong; says yes rather too often."""
    if column.type != "text" and typed.null_count() > raw.null_count():
        return True
    if column.required and typed.null_count():
        return True
    if column.type != "number":
        return False
    least, most = _range(column)
    low, high = typed.min(), typed.max()
    assert isinstance(low, float | None)
    assert isinstance(high, float | None)
    if low is not None and high is not None and (low < least or high > most):
        return True
    return column.required and bool(typed.is_nan().any() or (code is not None and (typed == code).any()))


def _range(column: Column) -> tuple[float, float]:
    return max(-LARGEST, _or(column.min, -LARGEST)), min(LARGEST, _or(column.max, LARGEST))


def _or(limit: float | None, otherwise: float) -> float:
    return otherwise if limit is None else limit


def _wrong(name: str, column: Column, code: float | None, kind: pl.DataType, nulls: Collection[str]) -> pl.Expr:
    """Return what is wrong with each value of a column, null where nothing is."""
    value, raw = pl.col(name), pl.col(f"{RAW}{name}")
    is_absent = raw.is_null()
    if nulls and kind == pl.String:
        is_absent |= raw.is_in(list(nulls))
    faults: list[tuple[pl.Expr, pl.Expr | str]] = []
    if column.type == "text":
        is_absent = value.is_null()
    else:
        asked = "a number" if column.type == "number" else "a date like 2021-05-31"
        faults.append((value.is_null() & ~is_absent, pl.format(f"must be {asked}, not {{}}", _shown(raw, kind))))
    if column.type == "number":
        # NaN is missing here, and above every number in Polars.
        is_absent |= value.is_nan() if code is None else value.is_nan() | (value == code)
    if column.required:
        faults.append((is_absent, "is required and has no value"))
    if column.type == "number":
        faults += [(~is_absent & breach, said) for breach, said in _breaches(column, value, _plain(raw))]
    found = pl.lit(None, pl.String)
    for is_fault, what in reversed(faults):
        found = pl.when(is_fault).then(pl.lit(what) if isinstance(what, str) else what).otherwise(found)
    return pl.concat_str(pl.lit(f"{name}: "), found)


def _breaches(column: Column, value: pl.Expr, shown: pl.Expr) -> Iterator[tuple[pl.Expr, pl.Expr]]:
    yield value.abs() > LARGEST, pl.format("must be a finite number, not {}", shown)
    if column.min is not None:
        yield value < column.min, pl.format(f"must be at least {column.min:,g}, not {{}}", shown)
    if column.max is not None:
        yield value > column.max, pl.format(f"must be at most {column.max:,g}, not {{}}", shown)


def _plain(raw: pl.Expr) -> pl.Expr:
    text = raw.cast(pl.String)
    cut = pl.concat_str(text.str.head(SHOWN), pl.lit("..."))
    return pl.when(text.str.len_chars() > SHOWN + 2).then(cut).otherwise(text)


def _shown(raw: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if kind.is_numeric() or kind.is_temporal():
        return _plain(raw)
    return pl.concat_str(pl.lit("'"), _plain(raw), pl.lit("'"))
