"""Rows of a database: one table or query, read in chunks into a Parquet file. The database is only read."""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from src.core.address import shown
from src.core.config import DatasetConfig
from src.core.database import answer_of, engine_of, first_line, said_of, url_of
from src.core.errors import ConfigError, DataError
from src.core.files import replacing
from src.feature_pipeline import cells
from src.feature_pipeline.transfer import transfer
from src.feature_pipeline.transforms import require_columns

ROWS = 50_000  # a chunk; some 100 MB of Python objects for 40 columns


def fetch(address: str | Path, config: DatasetConfig, downloads: Path) -> Path:
    """Write the config's table or query as `downloads/<table or dataset>.parquet`, whole or not at all.

    A table has no order of its own: its rows are sorted by all columns, missing values first, so that the same rows
    make the same file whichever database holds them. A query's rows keep their order.

    Args:
        address: a SQLAlchemy URL, which may hold credentials, or a SQLite file.
        config: names the table or query, and the columns that are taken from it.
        downloads: folder of the file.

    Raises:
        ConfigError: no table or query is named, the address is none, its driver is absent, or the query does not read.
        DataError: the database does not answer, refuses, is damaged, or has no such table, column or row.
    """
    source = config.source
    engine, where = _engine(address)
    if not (source.table or source.query):
        raise ConfigError(f"{where} is a database: add `table` or `query` to the source of {config.name}'s YAML")
    what = f"{where}: {f'table {source.table}' if source.table else 'the query'}"
    path = downloads / f"{source.table or config.name}.parquet"
    with (
        _explained(engine, what),  # the end of the connection too: giving up a lost one raises
        _connected(engine, where) as connection,
        _execute(connection, config, what) as result,
    ):
        if not result.returns_rows:
            raise ConfigError(f"{what} gives no rows back: it must be a SELECT")
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads, prefix=".rows-") as folder:
            parts = _write_parts(result, Path(folder), config, what)
            frame = pl.scan_parquet(parts, glob=False)
            if source.table:
                frame = frame.sort(frame.collect_schema().names(), nulls_last=False)
            with replacing(path) as temporary:
                try:
                    frame.sink_parquet(temporary, row_group_size=ROWS)
                except pl.exceptions.PolarsError as error:
                    raise OSError(f"cannot write to {downloads}: {error}") from error
    return path


def _write_parts(result: "sa.CursorResult[Any]", folder: Path, config: DatasetConfig, what: str) -> list[Path]:
    names = list(result.keys())
    in_file = {name: old for old, name in config.source.rename.items() if old in names}
    wanted = {in_file.get(name, name): column for name, column in config.columns.items()}
    require_columns(names, list(wanted), what)
    for twice in (name for name in wanted if names.count(name) > 1):
        raise DataError(f"{what} gives the column {twice} twice: name one of them otherwise, with AS")
    positions = {name: names.index(name) for name in wanted}
    parts: list[Path] = []
    with transfer(f"reading {what}") as advance:
        for rows in result.partitions(ROWS):  # said again: a query's result does not know it
            columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True))
            frame = pl.DataFrame(
                [cells.series(name, columns[positions[name]], column, what) for name, column in wanted.items()]
            )
            parts.append(folder / f"{len(parts):06}.parquet")
            frame.write_parquet(parts[-1], compression="lz4")
            advance(len(rows))
    if not parts:
        raise DataError(f"{what} has no rows")
    return parts


def _execute(connection: sa.Connection, config: DatasetConfig, what: str) -> "sa.CursorResult[Any]":
    # Rows stay with the server until a chunk of them is asked for.
    connection = connection.execution_options(yield_per=ROWS)
    if config.source.query:
        # As it is written: neither a colon nor a percent sign in it stands for a parameter.
        return connection.execution_options(no_parameters=True).exec_driver_sql(config.source.query)
    schema, _, name = (config.source.table or "").rpartition(".")
    inspector = sa.inspect(connection)
    if not inspector.has_table(name, schema or None):
        there = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
        raise DataError(f"{what} is not there; tables and views: {', '.join(sorted(there)) or 'none'}")
    return connection.execute(sa.select(sa.literal_column("*")).select_from(sa.table(name, schema=schema or None)))


def _engine(address: str | Path) -> tuple[sa.Engine, str]:
    """Make an engine that connects for one read, and the name of its database for messages."""
    if isinstance(address, Path):
        return _sqlite(address), str(address)
    url = url_of(address)
    if url.get_backend_name() == "sqlite":
        if not url.database or not Path(url.database).is_file():
            raise ConfigError(f"no such file: {url.database or '(an empty name)'}; write sqlite:///folder/file.sqlite")
        return _sqlite(Path(url.database)), url.database
    return engine_of(url, shown(address), poolclass=sa.NullPool), shown(address)


def _sqlite(path: Path) -> sa.Engine:
    address = f"{path.resolve().as_uri()}?mode=ro"
    return sa.create_engine("sqlite://", poolclass=sa.NullPool, creator=lambda: sqlite3.connect(address, uri=True))


@contextmanager
def _connected(engine: sa.Engine, where: str) -> Iterator[sa.Connection]:
    try:
        connection = engine.connect()
    except (SQLAlchemyError, TypeError) as error:  # TypeError: an option in the address that the driver does not know
        if engine.dialect.name == "sqlite":
            raise DataError(f"cannot read {where}: {first_line(error)}") from None
        answer = answer_of(error, "SQL_URL")
        raise DataError(f"cannot connect to {where} ({type(error).__name__}): {answer}") from None
    with connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
        yield connection


@contextmanager
def _explained(engine: sa.Engine, what: str) -> Iterator[None]:
    """Turn what a database answers into a DataError, in its own words unless they quote a credential."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Warning) as error:
        said = said_of(error, engine.url)
        if "not a database" in said or "malformed" in said:
            said += "; it is damaged, fetch it again"
        raise DataError(f"cannot read {what}: {said}") from None
