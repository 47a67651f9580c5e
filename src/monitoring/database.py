"""The monitoring database: where DATABASE_URL says, else SQLite in the workspace; brought to the newest tables."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from src.core.address import shown
from src.core.config import Settings
from src.core.database import answer_of, engine_of, said_of, url_of
from src.core.errors import ConfigError, StoreError

logger = logging.getLogger(__name__)

# The newest revision in `migrations/versions`; a test holds it.
HEAD = "0001"
SQLITE_NAME = "monitoring.db"
# Nobody waits for the database while a request is answered, but a stop waits for its last rows.
CONNECT_SECONDS = 5
BUSY_SECONDS = 10
PAGE_BYTES = 16_384  # of a new SQLite file
# Any number, the same in every process: two that start at once must not both make the tables.
_LOCK = 7_305_118_202_605


def address_of(settings: Settings) -> str:
    """Return the database's address, which may hold a password."""
    if settings.database_url and settings.database_url.get_secret_value():
        return settings.database_url.get_secret_value()
    return f"sqlite:///{(settings.workspace / SQLITE_NAME).resolve()}"


def is_there(settings: Settings) -> bool:
    """Tell whether there may be a database: SQLite's file in the workspace comes with the first who writes."""
    return bool(settings.database_url) or (settings.workspace / SQLITE_NAME).exists()


def engine(settings: Settings) -> sa.Engine:
    """Make the database's engine, which connects when it is used.

    Raises:
        ConfigError: DATABASE_URL is no address, or its driver is not installed.
    """
    address = address_of(settings)
    url = url_of(address)
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(f"DATABASE_URL: {shown(address)}: the monitoring database is SQLite or Postgres")
    if url.get_backend_name() == "postgresql":
        return engine_of(url, shown(address), CONNECT_SECONDS, pool_pre_ping=True)
    made = engine_of(url, shown(address), connect_args={"timeout": BUSY_SECONDS})
    event.listen(made, "connect", _set_up_sqlite)
    event.listen(made, "begin", _begin_sqlite)
    return made


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Transactions are begun below, not guessed by the driver, which would leave the tables' changes out of them.
    connection.isolation_level = None
    # Of a request each of the usual pages of 4 kB would hold two, and most are written twice: this halves the work.
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    _in_wal(connection)  # readers and the writer do not wait for each other
    connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives a power cut


def _in_wal(connection: Any) -> None:
    # Unlike all others this statement does not wait for a process that does the same.
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    # One that reads first and writes later would fail where another one has written meanwhile.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


@contextmanager
def writing(made: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that writes, committed at the block's end."""
    with made.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def upgrade(made: sa.Engine) -> None:
    """Bring the tables to what this version needs; a database that has them already is only asked.

    Raises:
        ConfigError: the database is of a newer housecast.
        SQLAlchemyError: it does not answer.
        OSError: the folder of SQLite's file cannot be made.
    """
    if made.dialect.name == "sqlite" and made.url.database:
        Path(made.url.database).parent.mkdir(parents=True, exist_ok=True)
    with made.connect() as connection:
        now = _revision(connection)
    if now == HEAD:
        return
    # Half a second that a process pays which finds old tables, or none.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "src.monitoring:migrations")
    if now and now not in {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}:
        raise ConfigError(
            f"{shown(made.url.render_as_string(hide_password=True))}: its tables are of a newer housecast (revision"
            f" {now}, this one knows {HEAD}): update this one"
        )
    with writing(made) as connection:
        if made.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    logger.info("the monitoring database's tables are at revision %s", HEAD)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


@contextmanager
def opened(settings: Settings) -> Iterator[sa.Engine]:
    """Yield the database, ready for use by a command; what goes wrong with it is said in one line.

    Raises:
        ConfigError: the address is wrong, or the database is of a newer housecast.
        StoreError: the database does not answer, or refuses.
    """
    made = engine(settings)
    where = shown(address_of(settings))
    try:
        upgrade(made)
        yield made
    except DBAPIError as error:
        if error.connection_invalidated or not error.statement:
            raise StoreError(f"cannot reach {where}: {answer_of(error, 'DATABASE_URL')}") from None
        raise StoreError(f"{where}: {said_of(error, made.url)}") from None
    except SQLAlchemyError as error:
        raise StoreError(f"{where}: {said_of(error, made.url)}") from None
    finally:
        made.dispose()
