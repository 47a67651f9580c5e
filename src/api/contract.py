"""What a row in JSON must be, generated from a data set's config: checked here, and shown in the API's document.

A row brings every column that its price depends on, may bring the other columns of the raw file, the target among them,
and nothing else. A value that is not known is written as the raw file writes it: by the column's code for `missing`, or
as null where the raw file leaves the column empty.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import islice
from typing import Annotated, Any, NotRequired

import polars as pl
from pydantic import (
    AfterValidator,
    ConfigDict,
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from pydantic_core import ErrorDetails, from_json, to_json
from typing_extensions import TypedDict

from src.api.json_columns import JsonColumns, codes, limits
from src.api.problems import MOST_ERRORS, Problem
from src.core.config import Column, DatasetConfig
from src.core.errors import InvalidRowsError
from src.core.recipes import LONGEST_TEXT

Row = dict[str, Any]

# Larger bodies are read as columns. A frame takes tens of milliseconds to make, however few its rows are.
MANY_BYTES = 500_000

LONGEST_NAME = 100
# Where pydantic names a type of its own instead of what the reader knows.
_WORDS = {
    "missing": "is missing",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "date_type": "must be a date like 2021-05-31",
    "date_parsing": "must be a date like 2021-05-31",
    "date_from_datetime_parsing": "must be a date like 2021-05-31",
    "date_from_datetime_inexact": "must be a date like 2021-05-31, without a time",
    "greater_than_equal": "must be at least {ge:,g}",
    "less_than_equal": "must be at most {le:,g}",
    "string_too_long": "must be at most {max_length:,} characters long",
    "string_too_short": "is required and has no value",
}


class RowContract:
    """The rows that one data set's endpoints take; compiled once, safe in threads."""

    def __init__(self, config: DatasetConfig, most_rows: int = 10_000) -> None:
        self._dataset = config.name
        self._codes = {column: f"{code:g}" for column, code in config.missing_codes.items()}
        self.most_rows = most_rows
        fields = {name: _field(name, column, config) for name, column in config.columns.items()}
        self._names = frozenset(fields)
        self._columns = JsonColumns(config, most_rows)
        row = with_config(ConfigDict(extra="forbid", strict=True, title=f"{config.name} row"))(
            TypedDict(f"{config.name}_row", fields)  # type: ignore[operator]
        )
        self._row: TypeAdapter[Row] = TypeAdapter(row)
        self._rows: TypeAdapter[list[Row]] = TypeAdapter(Annotated[list[row], Field(max_length=most_rows), FailFast()])  # type: ignore[valid-type, arg-type]

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of one row: every column with its type, unit and range."""
        return self._row.json_schema()

    def read(self, body: bytes) -> tuple[list[Row], bool]:
        """Read a JSON body as rows; tells whether it was one object alone.

        Raises:
            Problem: it is not JSON (400), or has too many rows (422).
            InvalidRowsError: a field is missing, unknown, mistyped, not finite or out of range; lists the first
                hundred problems.
        """
        single = body.lstrip(b" \t\r\n")[:1] != b"["
        try:
            # The validators themselves: an adapter's method costs as much again as a small row.
            if single:
                return [self._row.validator.validate_json(body)], True
            return self._rows.validator.validate_json(body), False
        except ValidationError:
            raise self._explained(body, single) from None

    def read_many(self, body: bytes) -> list[Row] | pl.DataFrame:
        """Read a JSON body as rows, or as a frame where that is faster; raises as `read`."""
        frame = self._columns.read(body) if len(body) > MANY_BYTES else None
        return self.read(body)[0] if frame is None else frame

    def check(self, rows: list[Row]) -> list[Row]:
        """Check rows that did not come as JSON, by the same rules; raises as `read`."""
        return self.read(to_json(rows, inf_nan_mode="constants"))[0]

    def _explained(self, body: bytes, single: bool) -> Problem | InvalidRowsError:
        # Row by row, and no further than a reader wants to know: pydantic would list a million problems as well.
        try:
            content = from_json(body)
        except ValueError as error:
            return Problem(400, "not-json", f"The body is not JSON: {error}.")
        rows = [content] if single else content
        if len(rows) > self.most_rows:
            text = (
                f"A body holds at most {self.most_rows:,} rows, not {len(rows):,}: send several, or a file to /score."
            )
            return Problem(422, "too-many-rows", text)
        problems: list[tuple[int, str, str]] = []
        for number, row in enumerate(rows):
            problems += [(number, field, what) for field, what in self._faults(row)]
            if len(problems) >= MOST_ERRORS:
                break
        return InvalidRowsError(problems[:MOST_ERRORS])

    def _faults(self, row: Any) -> Iterator[tuple[str, str]]:
        if not isinstance(row, dict):
            yield "row", f"must be an object of columns and values, not {shown(row)}"
            return
        for name in islice((name for name in row if name not in self._names), MOST_ERRORS):
            yield name[:LONGEST_NAME], f"is not a column of {self._dataset}"
        known = {name: row[name] for name in row if name in self._names}
        try:
            self._row.validate_json(to_json(known, inf_nan_mode="constants"))
        except ValidationError as error:
            # A value that may be one of two types has a complaint of each; the first says enough.
            found = {str(one["loc"][0]): one for one in reversed(error.errors(include_url=False))}
            for name in reversed(found):
                yield name, self._what(found[name], name)

    def _what(self, one: ErrorDetails, field: str) -> str:
        value, kind = one["input"], one["type"]
        if value is None:
            code = self._codes.get(field)
            return f"has no value (null): write {code} where it is not known" if code else "has no value (null)"
        words = _WORDS.get(kind)
        text = words.format(**one.get("ctx", {})) if words else one["msg"].lower()
        return text if kind in ("missing", "string_too_short") else f"{text}, not {shown(value)}"


def shown(value: object) -> str:
    """Write a value of a caller's for a message, short and harmless."""
    if value is None:
        return "null"
    text = ascii(value) if isinstance(value, str | int | float) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:37]}..."


def _field(name: str, column: Column, config: DatasetConfig) -> Any:
    kind = _number(column, codes(name, config)) if column.type == "number" else _words_or_date(column)
    field: Any = Annotated[
        kind | None if column.nullable else kind, Field(description=_about(name, column, config, codes(name, config)))
    ]
    return field if name in config.raw_inputs else NotRequired[field]


def _number(column: Column, codes: list[float]) -> Any:
    least, most = limits(column, codes)
    return Annotated[float, Field(ge=least, le=most, allow_inf_nan=False)]


def _words_or_date(column: Column) -> Any:
    if column.type == "date":
        return date
    text = Annotated[str, Field(min_length=1 if column.required else 0, max_length=LONGEST_TEXT)]
    # A number that lost its leading zeros on the way through a spreadsheet.
    return text | _padded(column.pad) if column.pad else text


def _padded(digits: int) -> Any:
    limits = {"type": "integer", "minimum": 0, "exclusiveMaximum": 10**digits}
    return Annotated[float, Field(ge=0, lt=10**digits), AfterValidator(_whole), WithJsonSchema(limits)]


def _whole(value: float) -> str:
    # To JSON 2351.0 is an integer, and spreadsheets write it so.
    if not value.is_integer():
        raise ValueError("must be text")
    return str(int(value))


def _about(name: str, column: Column, config: DatasetConfig, codes: list[float]) -> str:
    said = [config.target.label if name == config.target.column else "", column.unit or ""]
    return "; ".join(part for part in (*said, *(f"{code:g} means missing" for code in codes)) if part)


def examples(rows: list[Mapping[str, Any]], config: DatasetConfig) -> list[Row]:
    """Make valid rows of golden ones, in which missing values are null."""
    codes = config.missing_codes
    return [{name: codes.get(name) if value is None else value for name, value in row.items()} for row in rows]
