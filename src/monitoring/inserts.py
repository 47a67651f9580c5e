"""Many rows into a table by one statement: what a driver does row by row, it does with Python's lock held."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, StatementError

from src.monitoring.database import writing
from src.monitoring.tables import requests

# What says that these rows are wrong, rather than that the database is not there.
_WRONG = (DataError, IntegrityError, ProgrammingError)

JSON = ("inputs", "answer")
# Rows of one of SQLite's statements: a power of two.
MOST_ROWS = 64


def insert(engine: sa.Engine, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[int]:
    """Add requests in one transaction, all or none; those that are there already stay as they are.

    Args:
        engine: the monitoring database.
        columns: of the table, the first two of them `id` and `at`.
        rows: a value of each column; JSON as bytes.

    Returns:
        Which were left out because the database will never take them; the others are in it.

    Raises:
        SQLAlchemyError: the database does not answer or has no room: nothing was added.
    """
    try:
        _insert(engine, columns, rows)
    except StatementError as error:
        if not isinstance(error, _WRONG) and type(error) is not StatementError:
            raise
        if len(rows) == 1:
            return [0]
        half = len(rows) // 2
        left = insert(engine, columns, rows[:half])
        return left + [half + i for i in insert(engine, columns, rows[half:])]
    return []


def _insert(engine: sa.Engine, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    start = f"INSERT INTO {requests.name} ({names})"
    with writing(engine) as connection:
        if engine.dialect.name == "sqlite":
            # JSON comes as bytes, and becomes text where Python's lock is not held.
            places = f"({', '.join('CAST(? AS TEXT)' if name in JSON else '?' for name in columns)})"
            # The driver itself: SQLAlchemy looks at each of the thousands of values.
            cursor = connection.connection.cursor()
            for part in _parts(rows):
                text = f"{start} VALUES {', '.join([places] * len(part))} ON CONFLICT DO NOTHING"
                cursor.execute(text, list(chain.from_iterable(map(_for_sqlite, part))))
        else:
            dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
            types = [requests.c[name].type.compile(dialect) for name in columns]
            rows = [
                [value.decode(errors="replace") if isinstance(value, bytes) else value for value in row] for row in rows
            ]
            arrays = ", ".join(f"%s::{kind.split('(')[0]}[]" for kind in types)
            text = f"{start} SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608  (names of our own)
            connection.exec_driver_sql(text, tuple(map(list, zip(*rows, strict=True))))


def _parts(rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    # Of a few sizes only, whose statements the driver keeps: to read one takes as long as to carry it out.
    start, size = 0, MOST_ROWS
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size


def _for_sqlite(row: Sequence[Any]) -> Sequence[Any]:
    # The time as SQLAlchemy's own type stores it, so that it reads it back.
    number, at, *rest = row
    return number, at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds"), *rest
