"""The model store: where published versions live; `python -m src.core.store` is `store_cli.py`.

Layout: `models/<dataset>/<version>/...`, written once, `models/<dataset>/current.json`, which says what serves, and
`models/<dataset>/stages.json`, every other move.
"""

from pathlib import Path
from typing import Protocol

from src.core.address import place_of
from src.core.bundle import Manifest
from src.core.config import Settings
from src.core.errors import ConfigError
from src.core.folder_store import FolderStore
from src.core.pointer import UNSET, Pointer, Promotion, Unset, check_version, unknown
from src.core.stages import Event, Stage, Story

__all__ = ["UNSET", "FolderStore", "Pointer", "Promotion", "Store", "Unset", "open_store"]


class Store(Protocol):
    """What every model store can do; `str()` of it is where it is."""

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have a whole version."""

    def versions(self, dataset: str) -> list[str]:
        """Return the whole versions, oldest first."""

    def manifest(self, dataset: str, version: str) -> Manifest:
        """Read a version's manifest; its files are not checked."""

    def read(self, dataset: str, version: str, name: str) -> bytes:
        """Return one file of a version, checked against the manifest."""

    def current(self, dataset: str) -> Pointer | None:
        """Return the promoted version, None before the first promotion."""

    def story(self, dataset: str) -> Story:
        """Return every promotion and move of the versions, and with them each version's stage."""

    def publish(self, dataset: str, folder: Path) -> str:
        """Copy a sealed bundle into the store and return its version; it is visible once it is whole."""

    def promote(
        self, dataset: str, version: str, *, by: str, why: str, expected: str | Unset | None = UNSET
    ) -> Pointer:
        """Make a published version current; the loser of a race gets a StoreError that names both."""

    def rollback(self, dataset: str, *, to: str | None = None, by: str, why: str) -> Pointer:
        """Return to the version that served before, or to the version `to`."""

    def move(self, dataset: str, version: str, stage: Stage, *, by: str, why: str) -> Event:
        """Put a version into a stage; into production is `promote`."""

    def fetch(self, dataset: str, version: str, into: Path) -> Path:
        """Copy a version to the folder `into`, checked before it appears there."""


def open_store(uri: str | None, settings: Settings, default: Path, *, silence: float | None = None) -> Store:
    """Open the store at `uri`, else MODEL_STORE, else S3_BUCKET, else the folder `default`.

    `silence`: seconds without a byte after which an answer of S3 is given up; 30 if not given.

    Raises:
        ConfigError: the URI is neither a folder nor s3://bucket/prefix.
        StoreError: S3 cannot be set up, for example because AWS_PROFILE does not exist.
    """
    uri = uri or settings.models_uri
    place = default if uri is None else place_of(uri, "model store")
    if isinstance(place, Path):
        return FolderStore(place, public_key=settings.bundle_public_key)
    # botocore takes 0.3 s to import, which a folder store need not pay.
    from src.core.s3_store import SILENCE, S3Store, connect

    bucket, prefix = place
    return S3Store(connect(bucket, settings, silence or SILENCE), bucket, prefix, public_key=settings.bundle_public_key)


def typed_version(store: Store, dataset: str, version: str | None) -> str | None:
    """Check a version that was typed: an unknown one is the user's mistake (ConfigError), not the store's failure."""
    if version is not None:
        whole = store.versions(dataset)
        if check_version(version) not in whole:
            raise ConfigError(str(unknown(dataset, version, whole)))
    return version


if __name__ == "__main__":
    # The command line needs this module, and nothing that imports this module needs the command line.
    from src.core import cli, store_cli

    raise SystemExit(cli.run_command(store_cli.main))
