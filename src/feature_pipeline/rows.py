"""The features of one row without a frame: what a request for a single price goes through.

A frame costs some 500 microseconds however few rows it has; plain Python does a row in about 20. Every function here
has its twin in `transforms`, and a property test holds that both give the same bits.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.core.config import Column, DatasetConfig
from src.core.errors import InvalidRowsError
from src.core.recipes import DateParts, Frequency, Numbers, Ratio, Recipe, TargetMean
from src.feature_pipeline.transforms import LARGEST, SPACES, Tables, known_categories, tidy

Value = Any
Row = Mapping[str, Value]
Feature = Callable[[dict[str, Value]], float]
NAN = math.nan


class RowEncoder:
    """Encode single rows; compiled once from a config and its fitted tables, then thread-safe."""

    def __init__(self, config: DatasetConfig, tables: Tables) -> None:
        self._codes = {column: rule.code for rule in config.missing for column in rule.columns}
        self._readers = [(name, self._reader(name, config.columns[name])) for name in config.raw_inputs]
        self._required = {name for name in config.raw_inputs if config.columns[name].required}
        self._lookup = config.lookup
        self._places = tables["lookup"]["table"] if config.lookup else {}
        self._nowhere = [NAN] * (len(config.lookup.add) if config.lookup else 0)
        self._features = [feature for recipe in config.features for feature in _features(recipe, tables)]
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
            encoded.append([feature(values) for feature in self._features])
            flags.append(self._flags(values))
        if problems:
            raise InvalidRowsError(problems)
        return np.array(encoded, dtype=np.float32).reshape(len(rows), len(self._features)), flags

    def _flags(self, values: dict[str, Value]) -> str:
        return ";".join(
            flag for flag, (name, prefix, known) in self._categories if _key(values[name], prefix) not in known
        )

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
        return datetime.strptime(value[:10], "%Y-%m-%d").date()  # noqa: DTZ007  (a calendar date has no zone)
    except ValueError:
        raise ValueError(f"must be a date like 2021-05-31, not {_shown(value)}") from None


def _text(column: Column) -> Callable[[Value], str | None]:
    @lru_cache(maxsize=20_000)
    def read(value: str) -> str | None:
        text = re.sub(SPACES, " ", value).strip(" ")
        if column.pad is not None:
            text = text.removesuffix(".0").zfill(column.pad)
        return tidy(text, column)

    def checked(value: Value) -> str | None:
        if type(value) is not str:
            if value is None:
                return None
            if isinstance(value, bool) or column.pad is None or not isinstance(value, int | np.integer):
                raise TypeError(f"must be text, not {_shown(value)}")
            value = str(value)
        return read(value)

    return checked


def _shown(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _key(value: str | None, prefix: int | None) -> str | None:
    return value[:prefix] if prefix and value is not None else value


def _features(recipe: Recipe, tables: Tables) -> list[Feature]:
    match recipe:
        case Numbers():
            return [_column(name) for name in recipe.columns]
        case DateParts():
            return [_date_part(recipe.column, part) for part in recipe.parts]
        case Ratio():
            return [_ratio(recipe.numerator, recipe.denominator)]
        case Frequency() | TargetMean():
            table, default = tables[recipe.name]["table"], tables[recipe.name]["default"]
            return [lambda values: table.get(_key(values[recipe.column], recipe.prefix), default)]


def _column(name: str) -> Feature:
    return lambda values: values[name]


def _ratio(top: str, bottom: str) -> Feature:
    def divide(values: dict[str, Value]) -> float:
        quotient = values[top] / values[bottom] if values[bottom] else NAN
        return quotient if abs(quotient) <= LARGEST else NAN

    return divide


def _date_part(column: str, part: str) -> Feature:
    parts: dict[str, Callable[[date], float]] = {
        "year": lambda day: day.year,
        "quarter": lambda day: (day.month + 2) // 3,
        "month": lambda day: day.month,
        "months_since_2000": lambda day: (day.year - 2000) * 12 + day.month - 1,
    }
    read = parts[part]
    return lambda values: NAN if values[column] is None else read(values[column])
