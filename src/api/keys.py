"""API keys: `python -m src.api.keys NAME --scope read` makes one, the server keeps only its SHA-256.

A key is 32 random bytes, so a plain hash of it cannot be guessed. API_KEYS holds `NAME:SCOPE:SHA256` for each key,
separated by spaces or commas. To rotate, give the same name a second entry, change the callers, take the first one out.
"""

import argparse
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from src.core.cli import run_command
from src.core.errors import ConfigError

Scope = Literal["read", "admin"]
PREFIX = "hc_"
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<scope>read|admin):(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Caller:
    """Who asks: the name of a key, or an address; an admin may do everything that a reader may."""

    name: str
    scope: Scope


class Keyring:
    """The keys that are valid now."""

    def __init__(self, entries: str) -> None:
        """Read `API_KEYS` (ConfigError when an entry is wrong; it is counted and not repeated)."""
        self._keys: list[tuple[bytes, Caller]] = []
        for number, entry in enumerate(re.split(r"[\s,]+", entries.strip()) if entries.strip() else [], 1):
            found = _ENTRY.fullmatch(entry)
            if not found:
                raise ConfigError(
                    f"API_KEYS: entry {number} is not NAME:SCOPE:SHA256 with the scope read or admin: make it with"
                    " `python -m src.api.keys`"
                )
            scope: Scope = "admin" if found["scope"] == "admin" else "read"
            self._keys.append((bytes.fromhex(found["digest"]), Caller(found["name"], scope)))

    def __bool__(self) -> bool:
        return bool(self._keys)

    def caller(self, key: bytes) -> Caller | None:
        """Return whose key it is; takes as long for any wrong key, however much of it is right."""
        digest = hashlib.sha256(key).digest()
        found = None
        for known, caller in self._keys:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def new_key(name: str, scope: Scope) -> tuple[str, str]:
    """Make a key and the entry that admits it."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f"{name}:{scope}:{hashlib.sha256(key.encode()).hexdigest()}"


def main(argv: Sequence[str] | None = None) -> None:
    """Make a key from the command line."""
    parser = argparse.ArgumentParser(prog="python -m src.api.keys", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="whose key it is: letters, digits, dot, dash and underscore")
    parser.add_argument("--scope", choices=get_args(Scope), default="read", help="admin keys also promote and reload")
    args = parser.parse_args(argv)
    key, entry = new_key(args.name, args.scope)
    Keyring(entry)
    print(f"key, shown only now: {key}\nadd to API_KEYS:     {entry}")  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(run_command(main))
