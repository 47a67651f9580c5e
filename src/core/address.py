"""Addresses of data: which ones hold credentials, and how records and messages show them."""

from urllib.parse import parse_qsl, urlsplit

from src.core.errors import ConfigError

# The names under which drivers take a user, a password or both from a database URL's query.
_SECRET_WORDS = ("user", "uid", "pass", "pwd", "token", "secret", "odbc_connect")


# Of these an @ behind the host is part of a name.
_WEB = ("http://", "https://", "s3://")


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
