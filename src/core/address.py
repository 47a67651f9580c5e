"""Addresses of data: which ones hold credentials, and how records and messages show them."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from src.core.errors import ConfigError

# The names under which drivers take a user, a password or both from a database URL's query.
_SECRET_WORDS = ("user", "uid", "pass", "pwd", "token", "secret", "odbc_connect")


# Of these an @ behind the host is part of a name.
_WEB = ("http://", "https://", "s3://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


def refuse_credentials(address: str) -> None:
    """Refuse an address that carries a user or password, without repeating it (ConfigError)."""
    if "://" not in address or address.startswith("sqlite"):
        return
    try:
        parts = urlsplit(address, allow_fragments=False)
    except ValueError as error:
        raise ConfigError(f"not an address: {error}") from error
    if address.startswith(_WEB):
        found = "@" in parts.netloc
    else:
        # Anywhere: an unescaped / or ? in a password ends what urlsplit takes for the host.
        names = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        found = "@" in address or any(word in name for name in names for word in _SECRET_WORDS)
    if found:
        raise ConfigError(
            "an address with a user or password in it is not taken: remove what stands before the @. The whole address "
            "of a database may stand in the environment variable SQL_URL, or its password in the driver's own, for "
            "example PGPASSWORD"
        )


def shown(address: str) -> str:
    """Return an address as records and messages may show it: without user, password and query."""
    if "://" not in address:
        return address
    scheme, rest = address.split("://", 1)
    if not address.startswith((*_WEB, "sqlite")):
        rest = rest.rpartition("@")[2]
    return f"{scheme}://{rest.split('?', 1)[0]}"


def place_of(uri: str, what: str) -> Path | tuple[str, str]:
    """Return the folder, or the bucket and the prefix, that a store's URI names; `what` is the store, for messages.

    Raises:
        ConfigError: the URI is neither a folder nor s3://bucket/prefix.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        if not _BUCKET.fullmatch(bucket):
            # Not repeated: people have put keys in front of an @ here.
            raise ConfigError(f"{what}: what follows s3:// is not a bucket's name: write s3://bucket/prefix")
        return bucket, prefix
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    if separator:
        raise ConfigError(f"{what}: {scheme}:// is not supported: give a folder or s3://bucket/prefix")
    return Path(uri).expanduser()
