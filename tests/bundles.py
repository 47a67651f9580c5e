"""Sealed bundles with contents that nothing parses, for tests of the bundle and the store."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from src.core.bundle import CONTENTS, MANIFEST, seal
from src.core.manifest import RECENT

V1, V2, V3 = (f"2026010{day}T000000Z-0000000{day}" for day in (1, 2, 3))

# The files of a bundle of XGBoost's trees and of a data set with places, without and with the manifest.
BUNDLED = ("model.ubj", *CONTENTS, RECENT)
FILES = (*BUNDLED, MANIFEST)


def sealed(
    folder: Path,
    version: str = V1,
    *,
    dataset: str = "housets",
    salt: str = "",
    size: int = 1000,
    private_key: str | None = None,
    files: dict[str, bytes] | None = None,
) -> Path:
    """Write a whole bundle; another salt makes other bytes, and `files` replaces some of the contents."""
    folder.mkdir(parents=True)
    for name in BUNDLED:
        text = f"{name} {version} {salt} ".encode()
        (folder / name).write_bytes((files or {}).get(name, (text * (size // len(text) + 1))[:size]))
    seal(
        folder,
        dataset=dataset,
        version=version,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        git_commit="abc",
        data_fingerprint="f" * 64,
        private_key=private_key,
    )
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def ed25519_keys() -> tuple[str, str]:
    """Make a private and a public key, in hex."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes_raw().hex(), key.public_key().public_bytes_raw().hex()
