"""The features of one row without a frame: what a request for a single price goes through.

A frame costs some 500 microseconds however few rows it has; plain Python does a row in about 20. Every function here
has its twin in `transforms`, and a property test holds that both give the same bits.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.core.config import Column, DatasetConfig
from src.core.errors import InvalidRowsError
from src.core.recipes import LARGEST, DateParts, Distance, Frequency, Numbers, Ratio, Recipe, Rotate, TargetMean
from src.core.spelling import spelled
from src.feature_pipeline import coordinate_features, text_features
from src.feature_pipeline.transforms import WITHIN, Table, Tables, known_categories

Value = Any
Row = Mapping[str, Value]
# What a recipe gives for one row, feature by feature.
Encode = Callable[[dict[str, Value]], Sequence[float]]
NAN = math.nan
# Characters of a text whose cleaning is remembered.
LONGEST_NAME = 200


class RowEncoder:
    """Encode single rows; compiled once from a config and its fitted tables, then thread-safe."""

    def __init__(self, config: DatasetConfig, tables: Tables) -> None:
        self._codes = config.missing_codes
        self._readers = [(name, self._reader(name, config.columns[name])) for name in config.raw_inputs]
        self._required = {name for name in config.raw_inputs if config.columns[name].required}
        self._lookup = config.lookup
        places = tables["lookup"]["table"] if config.lookup else {}
        self._places = {name: [NAN if v is None else float(v) for v in added] for name, added in places.items()}
        self._nowhere = [NAN] * (len(config.lookup.add) if config.lookup else 0)
        self._recipes = [_encode(recipe, config, tables) for recipe in config.features]
        self._width = len(config.feature_names)
        self._categories = list(known_categories(config, tables).items())

    def encode(self, rows: list[Row]) -> tuple[NDArray[np.float32], list[str]]:
        """Return features, float32 of shape (n, f), and for each row its flags, joined by `;`.

        Raises:
            InvalidRowsError: a value is missing, mistyped or infinite; lists every problem of every row.
        """
        problems: list[tuple[int, str, str]] = []
        encoded, flags = [], []
        for number, row in enumerate(rows):
            values = self._read(row, number, problems)
            if problems:
                continue
            encoded.append([number for encode in self._recipes for number in encode(values)])
            flags.append(self._flags(values))
        if problems:
            raise InvalidRowsError(problems)
        return np.array(encoded, dtype=np.float32).reshape(len(rows), self._width), flags

    def _flags(self, values: dict[str, Value]) -> str:
        return ";".join(flag for flag, (part, known) in self._categories if part.of(values[part.column]) not in known)

    def _read(self, row: Row, number: int, problems: list[tuple[int, str, str]]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, read in self._readers:
            try:
                value = read(row[name])
            except KeyError:
                problems.append((number, name, "is missing"))
                continue
            except (TypeError, ValueError, OverflowError) as error:
                problems.append((number, name, str(error)))
                continue
            if name in self._required and (value is None or value != value):
                problems.append((number, name, "is required and has no value"))
            values[name] = value
        if self._lookup and self._lookup.by in values:
            found = self._places.get(values[self._lookup.by], self._nowhere)
            values.update(zip(self._lookup.add, found, strict=True))
        return values

    def _reader(self, name: str, column: Column) -> Callable[[Value], Value]:
        if column.type == "number":
            code = self._codes.get(name)
            return lambda value: _number(value, code)
        if column.type == "date":
            return _date
        return _text(column)


def _number(value: Value, code: float | None) -> float:
    if type(value) is not float:
        if value is None:
            return NAN
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise TypeError(f"must be a number, not {_shown(value)}")
        value = float(value)
    if value == code:
        return NAN
    if abs(value) > LARGEST:
        raise ValueError(f"must be a finite number, not {_shown(value)}")
    return float(value)


def _date(value: Value) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    if not isinstance(value, str):
        raise TypeError(f"must be a date like 2021-05-31, not {_shown(value)}")
    try:
        if len(value) >= 10 and value[4] == value[7] == "-":
            return date.fromisoformat(value[:10])  # twenty times as fast, and takes nothing else of this shape
        return datetime.strptime(value[:10], "%Y-%m-%d").date()  # noqa: DTZ007  (a calendar date has no zone)
    except ValueError:
        raise ValueError(f"must be a date like 2021-05-31, not {_shown(value)}") from None


def _text(column: Column) -> Callable[[Value], str | None]:
    @lru_cache(maxsize=20_000)
    def read(value: str) -> str:
        return spelled(value, column)

    def checked(value: Value) -> str | None:
        if type(value) is not str:
            if value is None:
                return None
            if isinstance(value, bool) or column.pad is None or not isinstance(value, int | np.integer):
                raise TypeError(f"must be text, not {_shown(value)}")
            value = str(value)
        # A name comes again and again; a long text hardly, and thousands of those would fill the memory.
        return read(value) if len(value) <= LONGEST_NAME else spelled(value, column)

    return checked


def _shown(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _encode(recipe: Recipe, config: DatasetConfig, tables: Tables) -> Encode:
    match recipe:
        case Numbers():
            return _columns(recipe.columns)
        case DateParts():
            return _date_parts(recipe)
        case Ratio():
            return _ratio(recipe.numerator, recipe.denominator)
        case Frequency() | TargetMean():
            return _fitted(recipe, tables[recipe.name])
        case Distance() | Rotate():
            return coordinate_features.row_encoder(recipe)
        case _:
            return text_features.row_encoder(recipe, config.columns)


def _fitted(recipe: Frequency | TargetMean, content: Table) -> Encode:
    part, table, default = recipe.part, content["table"], content["default"]
    if not (isinstance(recipe, TargetMean) and recipe.within):
        return lambda values: (table.get(part.of(values[part.column]), default),)
    within, groups = recipe.within, content["groups"]

    def encode(values: dict[str, Value]) -> tuple[float]:
        group, category = values[within], part.of(values[part.column])
        # A missing group or category makes a key that no table has.
        known = table.get(f"{group}{WITHIN}{category}") if group is not None and category is not None else None
        return (groups.get(group, default) if known is None else known,)

    return encode


def _columns(names: tuple[str, ...]) -> Encode:
    if len(names) == 1:  # of which itemgetter would make no sequence
        return lambda values: (values[names[0]],)
    return itemgetter(*names)


def _ratio(top: str, bottom: str) -> Encode:
    def divide(values: dict[str, Value]) -> tuple[float]:
        quotient = values[top] / values[bottom] if values[bottom] else NAN
        return (quotient if abs(quotient) <= LARGEST else NAN,)

    return divide


def _date_parts(recipe: DateParts) -> Encode:
    parts: dict[str, Callable[[date], float]] = {
        "year": lambda day: day.year,
        "quarter": lambda day: (day.month + 2) // 3,
        "month": lambda day: day.month,
        "months_since_2000": lambda day: (day.year - 2000) * 12 + day.month - 1,
    }
    wanted = [parts[part] for part in recipe.parts]
    absent = [NAN] * len(wanted)

    def split(values: dict[str, Value]) -> list[float]:
        day = values[recipe.column]
        return absent if day is None else [part(day) for part in wanted]

    return split
