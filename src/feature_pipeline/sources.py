"""Where raw rows come from. Every kind of source ends as a file on disk; docs/sources.md lists them."""

import logging
from pathlib import Path

from src.core.address import refuse_credentials, shown
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError
from src.core.sections import SQLITE_SUFFIXES
from src.feature_pipeline import simulate

logger = logging.getLogger(__name__)

# Stands for the address in the environment, which may hold a password and so is never handed around.
SQL_URL = "SQL_URL"


def resolve(source: str, config: DatasetConfig, settings: Settings, downloads: Path) -> Path:
    """Turn a source into a local CSV, zip or Parquet file, or a folder of Parquet.

    Args:
        source: path, `s3://`, `https://`, `kaggle:`, `simulate:`, `sklearn:`, a SQLAlchemy URL, or `SQL_URL`.
        config: names the table or query, the files and the place where a person gets them.
        settings: DATA_ROOT, SQL_URL and the S3 endpoint.
        downloads: folder for what is fetched, queried or simulated.

    Raises:
        ConfigError: the source does not exist or is of no known kind.
        DataError: a download failed or is not whole, or a database does not answer or has no such rows.
    """
    refuse_credentials(source)
    kind, _, rest = source.partition(":")
    # What a kind of source needs is imported where it is used: the others need not wait for it.
    match kind:
        case "simulate":
            return _simulated(source, downloads)
        case "sklearn":
            from src.feature_pipeline import bundled

            return bundled.write(rest, config, downloads)
        case "kaggle" | "s3" | "https" | "http":
            return _fetched(source, config, settings, downloads)
    if source == SQL_URL:
        return _queried(_environment(settings), config, downloads)
    if "://" in source:
        return _queried(source, config, downloads)
    if not source or not Path(source).exists():
        raise ConfigError(f"no such file or folder: {source or '(an empty name)'}")
    if source.lower().endswith(SQLITE_SUFFIXES):
        return _queried(Path(source), config, downloads)
    return Path(source)


def own_source(config: DatasetConfig, settings: Settings) -> str:
    """Return SQL_URL if the config reads a table or query, else its first file under DATA_ROOT, else its default.

    Raises:
        ConfigError: there is none of them; says what to fetch from where.
    """
    own = config.source
    database = own.table or own.query
    if database and settings.sql_url:
        return SQL_URL
    for name in own.files:
        path = settings.data_root / name
        if path.exists():
            return str(path)
    if own.default:
        if own.files:
            logger.info("no %s under %s: using %s", config.name, settings.data_root, own.default)
        return own.default
    remedies = []
    if own.files:
        wanted = " or ".join(str(settings.data_root / name) for name in own.files)
        remedies.append(f"get it from {own.origin or 'where its owner keeps it'} and save it as {wanted}")
    if database:
        what = f"the table {own.table}" if own.table else "what the query reads"
        remedies.append(f"set SQL_URL to the address of a database that has {what}")
    raise ConfigError(f"no data for {config.name}: {', or '.join(remedies) or 'name a source with --input'}")


def recorded(source: str, settings: Settings) -> str:
    """Return a source as records may show it, for SQL_URL the database without its credentials."""
    return shown(_environment(settings) if source == SQL_URL else source)


def _environment(settings: Settings) -> str:
    if not settings.sql_url:
        raise ConfigError("the environment variable SQL_URL is not set: give it the address of a database")
    return settings.sql_url.get_secret_value()


def _simulated(source: str, downloads: Path) -> Path:
    arguments = simulate.parse_source(source)
    name = "-".join(f"{key}{value}" for key, value in sorted(arguments.items()))
    path = downloads / f"simulated-{name or 'default'}.csv"
    logger.info("simulating a market: %s", source)
    simulate.write_csv(path, **arguments)
    return path


def _fetched(source: str, config: DatasetConfig, settings: Settings, downloads: Path) -> Path:
    from src.feature_pipeline import fetch

    if source.startswith("kaggle:"):
        return fetch.from_kaggle(source.removeprefix("kaggle:"), config, settings)
    if source.startswith("s3:"):
        return fetch.from_s3(source, settings, downloads)
    return fetch.from_web(source, downloads)


def _queried(address: str | Path, config: DatasetConfig, downloads: Path) -> Path:
    try:
        from src.feature_pipeline import sql
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a database is read through SQLAlchemy (no module {error.name}): `uv sync --group training`"
        ) from error
    return sql.fetch(address, config, downloads)
