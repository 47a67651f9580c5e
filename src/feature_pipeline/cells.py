"""What database drivers return, as columns of numbers and texts that do not depend on the driver."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from src.core.config import Column
from src.core.errors import DataError
from src.feature_pipeline.content import NULLS

_NULLS = frozenset(NULLS)


def series(name: str, values: Sequence[Any], column: Column, where: str) -> pl.Series:
    """Turn one column of driver values into Float64 for a number, else String; dates as `2021-05-31`, to be read later.

    A truth value is 1 or 0 in a number column, `yes` or `no` in a text column. A time with a zone is that of UTC.

    Raises:
        DataError: a value that is neither number, text, date nor truth; names `where`, column and value.
    """
    convert, kind = (_number, pl.Float64()) if column.type == "number" else (_text, pl.String())
    try:
        return pl.Series(name, [convert(value) for value in values], dtype=kind)
    except (TypeError, ValueError, OverflowError):
        wrong = next(value for value in values if _is_wrong(value, convert))
        raise DataError(f"{where}: column {name}: {str(wrong)[:50]!r} is not a {column.type}") from None


def _is_wrong(value: Any, convert: Any) -> bool:
    try:
        convert(value)
    except (TypeError, ValueError, OverflowError):
        return True
    return False


def _number(value: Any) -> float | None:
    if value is None or (isinstance(value, str) and value in _NULLS):
        return None
    number = float(value)
    # Not every database has NaN; where it does, it means that there is no number.
    return None if number != number else number


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "yes" if value else "no"
        case Decimal():
            text = format(value, "f")
        case datetime(tzinfo=zone) if zone is not None:
            text = str(value.astimezone(UTC).replace(tzinfo=None))
        case bytes() | memoryview() | list() | dict() | tuple() | set():
            raise TypeError
        case _:
            text = str(value)
    return None if text in _NULLS else text
