"""A database by its address, in words of our own where the address or the server is wrong."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from src.core.address import shown
from src.core.errors import ConfigError

TIMEOUT_SECONDS = 30
DRIVERS = {"psycopg": "`uv sync --extra postgres`"}
# What drivers say when no connection is made, in words of our own: theirs quote users. {name} is the variable's.
_ANSWERS = {
    "password": "the user or password is refused: correct {name}, or the driver's own variables (PGUSER, PGPASSWORD)",
    "pg_hba": "the server lets nobody in from here as this user: its pg_hba.conf says who may",
    "role": "the user is refused: correct {name}, or the driver's own variables (PGUSER, PGPASSWORD)",
    "does not exist": "there is no such database there",
    "refused": "nobody listens there: start the database, or correct host and port",
    "resolve": "there is no such host",
    "No such file": "nobody listens there: start the database, or correct host and port",
    "timeout": "no answer in time: check host, port and firewall",
}


def url_of(address: str) -> sa.URL:
    """Read an address (ConfigError, which never repeats what may be a password)."""
    try:
        url = sa.make_url(address)
        is_async = url.get_dialect().is_async
    except NoSuchModuleError:
        raise ConfigError(
            f"no such file or folder: {shown(address)}; and no installed package teaches SQLAlchemy such a database"
        ) from None
    except (ArgumentError, ValueError):
        # Not repeated: where it cannot be read, nobody knows which part of it is the password.
        raise ConfigError(
            "the address of the database is not like postgresql+psycopg://user:password@host:5432/name; in a user or "
            "password write / @ : ? # % as %2F %40 %3A %3F %23 %25"
        ) from None
    if is_async:
        raise ConfigError(f"{shown(address)}: the driver {url.get_driver_name()} is asynchronous: name another one")
    return url


def engine_of(url: sa.URL, where: str, seconds: int = TIMEOUT_SECONDS, **options: Any) -> sa.Engine:
    """Make an engine, which connects when it is used (ConfigError when its driver is not installed)."""
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        options["connect_args"] = {"connect_timeout": seconds}
    try:
        return sa.create_engine(url, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        remedy = DRIVERS.get(error.name or "", f"install the package that has the Python module {error.name}")
        raise ConfigError(f"{where}: the driver {error.name} is not installed: {remedy}") from None


def answer_of(error: Exception, variable: str) -> str:
    """Say why no connection was made; `variable` is the setting that holds the address."""
    said = first_line(error)
    found = next((answer for words, answer in _ANSWERS.items() if words in said), "check address and network")
    return found.format(name=variable)


def first_line(error: Exception) -> str:
    """Return what the driver said."""
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def said_of(error: Exception, url: sa.URL) -> str:
    """Return what the driver said, or only the error's kind where that quotes a credential."""
    said = first_line(error)
    secrets = [secret for secret in (url.username, url.password) if secret]
    return type(error).__name__ if any(str(secret) in said for secret in secrets) else said
