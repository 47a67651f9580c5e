"""The newest row of each place: where a person who asks for a price of some place can start from."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import narwhals as nw
import polars as pl

from src.core.config import Column, DatasetConfig
from src.core.errors import BundleError
from src.core.recipes import LONGEST_TEXT
from src.core.spelling import spelled
from src.feature_pipeline.transforms import tidied

# Of more places, those with the most rows: a file of some 5 MB, which every server fetches and keeps.
MOST_PLACES = 50_000
ORDER, ROWS, PLACE, REGION = "__order", "__rows", "__place", "__region"


@dataclass(frozen=True)
class Recent:
    """A place's newest row, as the file writes it with missing values as None, and its month (YYYY-MM)."""

    place: str
    region: str | None
    month: str | None
    row: dict[str, Any]


def newest(splits: Sequence[pl.LazyFrame], config: DatasetConfig, most: int = MOST_PLACES) -> pl.DataFrame | None:
    """Choose the newest raw row of each place (within its region): by date, else the last; None without places.

    Rows that a request may not send are passed over: a value is missing or out of range. The columns are those that a
    price needs, the place, the region and the date, never the target; the order is that of the names.

    Args:
        splits: typed raw rows as the load stage writes them, in the order of time where there is one.
        config: names the columns.
        most: places that are kept, those with the most rows; of equally many the first by name.
    """
    if config.place not in config.columns:
        return None
    # The target is no key to a place, and what leaks it is nobody's to send.
    beside = {config.place, config.region, config.date} - {config.target.column, *config.leakage}
    wanted = [name for name in config.columns if name in config.raw_inputs or name in beside]
    known = pl.concat([split.select(wanted) for split in splits]).with_row_index(ORDER)
    sent = known.filter([_may_be_sent(name, config) for name in config.raw_inputs])
    # By date, and of equal ones the last.
    time = [config.date, ORDER] if config.date in wanted else [ORDER]
    named = _named(sent, config).filter(pl.col(PLACE).str.len_chars() > 0)
    last = named.group_by(PLACE, REGION).agg(pl.len().alias(ROWS), pl.col(ORDER).sort_by(time, nulls_last=False).last())
    chosen = last.sort(ROWS, PLACE, REGION, descending=[True, False, False]).head(most).select(ORDER, PLACE, REGION)
    # Two passes over the files, of which the first keeps no row: that is what makes it cheap for a million of them.
    rows = known.join(chosen.collect().lazy(), on=ORDER).sort(REGION, PLACE)
    return rows.select(wanted).collect()


def _may_be_sent(name: str, config: DatasetConfig) -> pl.Expr:
    """Tell of each row whether the API would take its value: the rules of `api.contract`, and a test holds them so."""
    column, value = config.columns[name], pl.col(name)
    absent_is_said = not column.required and (column.nullable or name in config.missing_codes)
    return pl.when(value.is_null()).then(pl.lit(absent_is_said)).otherwise(_is_in_range(column, value))


def _is_in_range(column: Column, value: pl.Expr) -> pl.Expr:
    if column.type == "text":
        return value.str.len_chars().is_between(int(column.required), LONGEST_TEXT)
    fits = pl.lit(value=True)
    if column.min is not None:
        fits &= value >= column.min
    if column.max is not None:
        fits &= value <= column.max
    return fits


def _named(rows: pl.LazyFrame, config: DatasetConfig) -> pl.LazyFrame:
    """Add the names of place and region as cleaning spells them, null where there are none."""
    made = [_name(config.place, config).alias(PLACE), _name(config.region, config).alias(REGION)]
    return nw.from_native(rows).with_columns(made).to_native()


def _name(name: str | None, config: DatasetConfig) -> nw.Expr:
    column = config.columns.get(name or "")
    if name is None or column is None:
        return nw.lit(None, nw.String)
    return tidied(name, column) if column.tidy else nw.col(name).cast(nw.String)


class RecentRows:
    """The newest rows of a version, read at the first question; threads share one.

    It is given the bytes of `recent.parquet` and not its path: who loads a version may delete its folder. They stay a
    frame, in which a question looks up its one row.
    """

    def __init__(self, content: bytes, config: DatasetConfig) -> None:
        self._content: bytes | None = content
        self._config = config
        self._lock = threading.Lock()
        self._rows: pl.DataFrame | None = None

    def places(self, regions: Collection[str] = ()) -> dict[str | None, list[str]]:
        """Return the places by region (of some regions, if any are named), sorted; the region is None without one.

        Raises:
            BundleError: the rows are not those of the config.
        """
        rows = self._read().select(PLACE, REGION)
        if regions:
            rows = rows.filter(pl.col(REGION).is_in([self._spelled(one, self._config.region) for one in regions]))
        grouped = rows.group_by(REGION).agg(pl.col(PLACE).sort()).sort(REGION, nulls_last=True)
        return dict(zip(grouped[REGION].to_list(), grouped[PLACE].to_list(), strict=True))

    def of(self, place: str, region: str | None = None) -> Recent | None:
        """Return a place's newest row, None of an unknown place; names may be spelled as the caller likes.

        Of a name that several regions have, the newest row is returned, or that of `region`.

        Raises:
            BundleError: the rows are not those of the config.
        """
        config = self._config
        chosen = pl.col(PLACE) == self._spelled(place, config.place)
        if region is not None:
            chosen &= pl.col(REGION) == self._spelled(region, config.region)
        found = self._read().filter(chosen)
        if found.is_empty():
            return None
        if config.date in found.columns:
            found = found.sort(config.date, descending=True, nulls_last=True, maintain_order=True)
        row = found.head(1).with_columns(pl.selectors.temporal().cast(pl.String)).to_dicts()[0]
        name, within = row.pop(PLACE), row.pop(REGION)
        date = row.get(config.date) if config.date else None
        return Recent(name, within, date[:7] if date else None, row)

    def _spelled(self, name: str, column: str | None) -> str:
        return spelled(name, self._config.columns[column]) if column in self._config.columns else name

    def _read(self) -> pl.DataFrame:
        with self._lock:
            if self._rows is None:
                assert self._content is not None
                self._rows = self._prepared(self._content)
                self._content = None
            return self._rows

    def _prepared(self, content: bytes) -> pl.DataFrame:
        try:
            return _named(pl.scan_parquet(BytesIO(content)), self._config).collect()
        except pl.exceptions.PolarsError as error:
            raise BundleError(f"recent.parquet does not hold the rows of {self._config.name}: {error}") from error
