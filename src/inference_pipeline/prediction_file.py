"""One month's file of the batch's output, read, checked and made small."""

from dataclasses import dataclass
from functools import cached_property

import narwhals as nw
import polars as pl

from src.core import sealed_parquet
from src.core.config import Column, DatasetConfig
from src.core.errors import DataError
from src.core.predictions_store import ALL
from src.feature_pipeline import load
from src.feature_pipeline.transforms import tidied

TEXT = pl.Categorical()
Kind = type[pl.DataType] | pl.DataType


@dataclass(frozen=True)
class Layout:
    """The columns of one data set's predictions, by what they are for."""

    config: DatasetConfig

    @property
    def predicted(self) -> str:
        return f"predicted_{self.config.target.column}"

    @property
    def actual(self) -> str:
        return f"actual_{self.config.target.column}"

    @cached_property
    def bounds(self) -> dict[str, tuple[str, str]]:
        """Nominal level in per cent -> columns of the lower and the upper end."""
        names = [f"{100 * level:g}" for level in self.config.levels]
        return {name: (f"lower_{name}", f"upper_{name}") for name in names}

    @cached_property
    def context(self) -> tuple[str, ...]:
        """Columns of the raw file: what tells rows apart, the date and the region; none twice."""
        wanted = (*(self.config.keys or self.config.raw_inputs), self.config.date, self.config.region)
        return tuple(name for name in dict.fromkeys(wanted) if name in self.config.columns)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Columns without which a file is not the batch's; of the others a missing one is null."""
        told = (*self.config.keys, self.config.date, self.config.region)
        return (*(name for name in dict.fromkeys(told) if name in self.context), self.predicted)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Columns by which a month's rows are sorted, so that groups lie together; none: rows stay as in the file."""
        wanted = (self.config.region, *self.config.keys) if self.config.keys else ()
        return tuple(name for name in dict.fromkeys(wanted) if name in self.context)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Every column in the order in which the batch writes them, with its type in memory."""
        types: dict[str, Kind] = {"number": pl.Float64, "text": TEXT, "date": pl.Date}
        value: Kind = pl.Float64 if self.config.task == "regression" else TEXT
        classes = [f"probability_{name}" for name in self.config.target.classes]
        return {
            **{name: types[self.config.columns[name].type] for name in self.context},
            self.predicted: value,
            **dict.fromkeys((name for ends in self.bounds.values() for name in ends), pl.Float64),
            **dict.fromkeys(classes, pl.Float64),
            "flags": TEXT,
            self.actual: value,
            "model_version": TEXT,
        }


def read_month(content: bytes, month: str, layout: Layout, *, as_written: bool = False) -> pl.DataFrame:
    """Read one file: columns of `layout.kinds`, names as cleaning spells them, numbers finite or null, rows in order.

    With `as_written` the rows stay in the file's order, which is that of the batch's input.

    Raises:
        DataError: it is damaged, no Parquet, lacks a column, or holds what is not of its type or month; says so without
            the file's name, which the caller has.
    """
    frame = sealed_parquet.from_bytes(content, list(layout.kinds))
    missing = [name for name in layout.needed if name not in frame.columns]
    if missing:
        raise DataError(f"it has no column {missing[0]}: it is not of the batch")
    try:
        known = frame.select(_known(frame, layout))
    except pl.exceptions.PolarsError as error:
        raise DataError("it holds values that are not of their column's type") from error
    _check_dates(known, month, layout.config)
    if as_written or not layout.order:
        return known
    return known.sort(layout.order, maintain_order=True, nulls_last=True)


def _known(frame: pl.DataFrame, layout: Layout) -> list[pl.Series]:
    context = [name for name in layout.context if name in frame.columns]
    typed = load.typed(frame.lazy().select(context), layout.config, "its rows")
    ready = typed.with_columns(_tidied(typed[name], layout.config.columns[name]) for name in context)
    columns = []
    for name, kind in layout.kinds.items():
        if name not in frame.columns:
            columns.append(pl.Series(name, [None], kind).new_from_index(0, frame.height))
            continue
        column = ready[name] if name in context else frame[name]
        # A number that is none must never reach a mean, or JSON.
        columns.append(_finite(column.cast(kind)) if kind == pl.Float64 else column.cast(kind))
    return columns


def _tidied(texts: pl.Series, column: Column) -> pl.Series:
    if not column.tidy:
        return texts
    # A month has many rows and few names, so each name is tidied once.
    before = texts.unique().drop_nulls()
    after = nw.from_native(before.to_frame()).select(tidied(texts.name, column)).to_native().to_series()
    return texts.replace_strict(before, after, default=None, return_dtype=pl.String)


def _finite(numbers: pl.Series) -> pl.Series:
    return numbers if numbers.is_finite().all() else numbers.set(~numbers.is_finite(), None)


def _check_dates(frame: pl.DataFrame, month: str, config: DatasetConfig) -> None:
    """Hold that a month's file has the rows of that month and no others: months are counted by their files."""
    if config.date is None or month == ALL:
        if (config.date is None) != (month == ALL):
            raise DataError("it is of a data set with dates" if config.date is None else "it is of one without dates")
        return
    foreign = frame.filter(pl.col(config.date).dt.strftime("%Y-%m").ne_missing(month))
    if foreign.height:
        day = foreign[config.date][0]
        raise DataError(f"it has rows of {day:%Y-%m}" if day else "it has rows without a date")
