"""The rows of a data set's monthly batches in memory, and what is asked of them: rows by page, how good they are."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from src.core import metric_expressions as grouped
from src.core.errors import DataError
from src.core.spelling import spelled
from src.inference_pipeline.prediction_file import TEXT, Layout

MONTH, RUN = "__month", "__run"
By = Literal["none", "month", "region", "month,region", "year", "place", "decile"]
DECILES = 10
# Edges of the errors' histogram: relative errors by 2.5 points up to half of the actual value, the rest beyond.
ERROR_STEP, ERROR_STEPS = 0.025, 20
_YEAR_AND_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Selection:
    """Which rows are asked about: those of any of the regions and of any of the places, from month to month.

    `first` and `last` are months, `YYYY-MM`, both included. Nothing given means all.
    """

    regions: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True)
class Page:
    """Rows `offset` to `offset + frame.height` of `total`; numbers are finite or null, categories are text."""

    frame: pl.DataFrame
    total: int
    offset: int = 0


@dataclass(frozen=True)
class Part:
    """The rows of one month's file: where they are in the frame, and the tag of the content that they came from."""

    name: str
    month: str
    tag: str
    start: int
    height: int


@dataclass(frozen=True)
class PricedRows:
    """All rows of one data set as they were at one time; immutable, so threads share them.

    `frame` has the columns of `layout.kinds` and MONTH, months in time order; `problems` says of each file that is left
    out what is wrong with it; `tag` is another one as soon as any file is.
    """

    layout: Layout
    frame: pl.DataFrame
    parts: tuple[Part, ...]
    problems: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""

    @property
    def months(self) -> tuple[str, ...]:
        """The months that there are, in time order; `all` of a data set without dates."""
        return tuple(part.month for part in self.parts)

    def page(
        self,
        selection: Selection | None = None,
        *,
        sort: str | None = None,
        descending: bool = False,
        offset: int = 0,
        limit: int = 100,
        spread: bool = False,
    ) -> Page:
        """Return selected rows, sorted by a column, missing values last; equal ones stay in order of month and keys.

        `spread`: not the first `limit` of them but as many from all over, evenly.

        Raises:
            DataError: no such column to sort by, or the selection asks for what the data set does not have.
        """
        if sort is not None:
            _check_sort(sort, self.layout.kinds)
        rows, chosen = self._selected(selection or Selection())
        # Positions are sorted and cut, so that only the rows of the page are copied.
        at = rows.select(pl.int_range(pl.len(), dtype=pl.UInt32)) if chosen is None else rows.select(chosen.arg_true())
        positions = at.to_series()
        if sort is not None:
            by = rows[sort] if chosen is None else rows[sort].gather(positions)
            options = {"descending": descending, "nulls_last": True, "maintain_order": True}
            positions = positions.gather(by.to_frame().select(pl.arg_sort_by(sort, **options)).to_series())
        total = len(positions)
        if spread and total > limit:
            positions = positions.gather((np.arange(limit) * total) // limit)
        return Page(self._plain(rows[positions.slice(offset, limit)]), total, offset)

    def latest(self, limit: int = 100) -> Page:
        """Return the first rows of the newest month."""
        if not self.parts:
            return Page(self._plain(self.frame), 0)
        last = self.parts[-1]
        return Page(self._plain(self.frame.slice(last.start, min(limit, last.height))), last.height)

    def summary(self, by: By = "none", selection: Selection | None = None) -> pl.DataFrame:
        """Say how good the selected rows are: overall in one row, or for each month, year, region, place or decile.

        A decile, from `01` to `10`, is a tenth of the selected rows by their actual value, the lowest ones first.

        Columns: those of `by`; `n`, `n_without_actual`; of prices `mean_actual`, `mean_predicted` (of all n),
        `mae`, `rmse`, `mape`, `mdape`, `bias`, and of each level `coverage_80`, `mean_lower_80`, `mean_width_80`,
        `mean_relative_width_80`; of classes `accuracy`. Null where no row counts.

        Raises:
            DataError: the data set has no dates or no regions to group or select by.
        """
        rows, chosen = self._selected(selection or Selection())
        measures = _measures(self.layout)
        keys = [self._group(name) for name in by.split(",") if name != "none"]
        selected = rows.lazy() if chosen is None else rows.lazy().filter(chosen)
        if not keys:
            return _finite(selected.select(measures).collect())
        names = [key.meta.output_name() for key in keys]
        if by == "month,region" and self.layout.order:
            # Rows lie in this order, so a group is a run of rows, and grouping takes half the time.
            run = pl.struct(MONTH, keys[1]).rle_id().alias(RUN)
            summed = selected.with_columns(run).group_by(RUN).agg(*(key.first() for key in keys), *measures)
            summed = summed.drop(RUN)
        else:
            summed = selected.group_by(keys).agg(measures)
        return _finite(summed.sort(names, nulls_last=True).with_columns(pl.col(names).cast(pl.String)).collect())

    def summary_page(
        self,
        by: By,
        selection: Selection | None = None,
        *,
        sort: str | None = None,
        descending: bool = False,
        offset: int = 0,
        limit: int = 10_000,
    ) -> Page:
        """Return groups of a summary, sorted by a column, missing values last; raises as `summary` and `page`.

        In a column that these groups do not have, `region` of months, they are all equal and stay in their order.
        """
        if sort is not None:
            _check_sort(sort, summary_columns(self.layout))
        frame = self.summary(by, selection)
        if sort in frame.columns:
            frame = frame.sort(sort, descending=descending, nulls_last=True, maintain_order=True)
        return Page(frame.slice(offset, limit), frame.height, offset)

    def errors(self, selection: Selection | None = None) -> pl.DataFrame:
        """Count relative errors, estimate over actual value less 1, of the selected rows: a histogram.

        Columns: `low` and `high`, the bin's ends, null where it has none; `n`. Rows count nothing whose actual value is
        unknown or 0.

        Raises:
            DataError: as `summary`, or the answers are classes.
        """
        if self.layout.config.task == "classification":
            raise DataError(f"the answers of {self.layout.config.name} are classes, which have no relative error")
        rows, chosen = self._selected(selection or Selection())
        actual, predicted = pl.col(self.layout.actual), pl.col(self.layout.predicted)
        error = pl.when(actual != 0).then((predicted - actual) / actual.abs())
        bins = (error / ERROR_STEP).floor().clip(-ERROR_STEPS - 1, ERROR_STEPS).cast(pl.Int64).alias("bin")
        found = (rows if chosen is None else rows.filter(chosen)).select(bins).drop_nulls().group_by("bin").len("n")
        every = pl.DataFrame({"bin": range(-ERROR_STEPS - 1, ERROR_STEPS + 1)}, schema={"bin": pl.Int64})
        low = pl.when(pl.col("bin") >= -ERROR_STEPS).then(pl.col("bin") * ERROR_STEP).alias("low")
        high = pl.when(pl.col("bin") < ERROR_STEPS).then((pl.col("bin") + 1) * ERROR_STEP).alias("high")
        counted = every.join(found, on="bin", how="left", maintain_order="left")
        return counted.select(low.round(6), high.round(6), pl.col("n").fill_null(0))

    def _group(self, name: str) -> pl.Expr:
        config = self.layout.config
        if name in ("month", "year"):
            if config.date is None:
                raise DataError(f"rows of {config.name} have no months")
            return pl.col(MONTH).alias("month") if name == "month" else self._year()
        if name == "decile":
            if config.task == "classification":
                raise DataError(f"the answers of {config.name} are classes, which have no deciles")
            actual = pl.col(self.layout.actual)
            tenth = ((actual.rank("ordinal") - 1) * DECILES // actual.count() + 1).cast(pl.String)
            return tenth.str.zfill(2).alias("decile")
        column = config.region if name == "region" else config.place
        return pl.col(self._known_column(name, column)).alias(name)

    def _year(self) -> pl.Expr:
        years = [month[:4] for month in self.months]
        return (
            pl.col(MONTH).replace_strict(list(self.months), years, return_dtype=pl.Enum(sorted({*years}))).alias("year")
        )

    def _known_column(self, what: str, column: str | None) -> str:
        if column is None or column not in self.layout.kinds:
            raise DataError(f"the predictions of {self.layout.config.name} have no {what}")
        return column

    def _selected(self, selection: Selection) -> tuple[pl.DataFrame, pl.Expr | None]:
        """Cut the months out of the frame, and say which of their rows are chosen; None: every one."""
        rows = self._between(selection.first, selection.last)
        config = self.layout.config
        chosen = None
        for what, column, values in (
            ("region", config.region, selection.regions),
            ("place", config.place, selection.places),
        ):
            if values:
                name = self._known_column(what, column)
                wanted = [spelled(value, config.columns[name]) for value in values]
                text = pl.col(name) if self.layout.kinds[name] == TEXT else pl.col(name).cast(pl.String)
                among = text.is_in(wanted).fill_null(value=False)
                chosen = among if chosen is None else chosen & among
        return rows, chosen

    def _between(self, first: str | None, last: str | None) -> pl.DataFrame:
        if first is None and last is None:
            return self.frame
        if self.layout.config.date is None:
            raise DataError(f"rows of {self.layout.config.name} have no months")
        for name, month in (("from", first), ("to", last)):
            if month is not None and not _YEAR_AND_MONTH.fullmatch(month):
                raise DataError(f"{name}: {month[:64]!r} is not a month: write it as 2022-01")
        parts = [p for p in self.parts if (not first or p.month >= first) and (not last or p.month <= last)]
        start = parts[0].start if parts else 0
        return self.frame.slice(start, sum(part.height for part in parts))

    def _plain(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.drop(MONTH).with_columns(pl.col(pl.Enum).cast(pl.String))


def summary_columns(layout: Layout) -> list[str]:
    """Return every column that a summary can have."""
    return [
        "month",
        "year",
        "region",
        "place",
        "decile",
        *(measure.meta.output_name() for measure in _measures(layout)),
    ]


def _measures(layout: Layout) -> list[pl.Expr]:
    actual, predicted = layout.actual, layout.predicted
    made = [pl.len().alias("n"), pl.col(actual).null_count().alias("n_without_actual")]
    if layout.config.task == "classification":
        return [*made, grouped.accuracy(actual, predicted).alias("accuracy")]
    made += [pl.col(actual).mean().alias("mean_actual"), pl.col(predicted).mean().alias("mean_predicted")]
    for metric in (grouped.mae, grouped.rmse, grouped.mape, grouped.mdape, grouped.bias):
        made.append(metric(actual, predicted).alias(metric.__name__))
    for level, (lower, upper) in layout.bounds.items():
        made.append(grouped.coverage(actual, lower, upper).alias(f"coverage_{level}"))
        made.append(pl.col(lower).mean().alias(f"mean_lower_{level}"))
        made.append(grouped.mean_width(lower, upper).alias(f"mean_width_{level}"))
        made.append(grouped.mean_relative_width(predicted, lower, upper).alias(f"mean_relative_width_{level}"))
    return made


def assembled(layout: Layout, months: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Put the rows of months (`YYYY-MM` -> columns of `layout.kinds`) together in time order, and in little memory."""
    order = sorted(months)
    kinds = {**layout.kinds, MONTH: pl.Enum(order)}
    parts = [months[month].with_columns(pl.lit(month, kinds[MONTH]).alias(MONTH)) for month in order]
    frame = pl.concat(parts) if parts else pl.DataFrame(schema=kinds)
    texts = [name for name, kind in layout.kinds.items() if kind == pl.Categorical]
    # Two bytes a name instead of sixteen, and sorting by them is sorting by numbers. Classes are compared, so what was
    # said and what is true have one list.
    compared = {layout.predicted, layout.actual}
    lists = {name: _listed(frame, compared if name in compared else {name}) for name in texts}
    return frame.with_columns(pl.col(name).cast(kind) for name, kind in lists.items()).rechunk()


def _listed(frame: pl.DataFrame, columns: set[str]) -> pl.Enum:
    names = pl.concat([frame[column].unique().drop_nulls().cast(pl.String) for column in sorted(columns)])
    return pl.Enum(names.unique().sort())


def _check_sort(sort: str, columns: Collection[str]) -> None:
    if sort not in columns:
        raise DataError(f"sort: {sort[:64]!r} is not one of {', '.join(columns)}")


def _finite(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn what is too large for a number into null."""
    numbers = pl.col(pl.Float64)
    return frame.with_columns(pl.when(numbers.is_finite()).then(numbers))
