"""A model store in a folder: below `<root>/<dataset>/` the versions' folders, `current.json` and `stages.json`."""

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from src.core.bundle import MANIFEST, Manifest, assembling, receive, sync, verify_as
from src.core.errors import StoreError, why
from src.core.files import replacing
from src.core.manifest import DATASET, MAX_MANIFEST_BYTES, VERSION, parse_manifest
from src.core.moves import MovesVersions
from src.core.pointer import MAX_POINTER_BYTES, check_dataset, check_version, unknown

LOCK_SECONDS = 30.0


class FolderStore(MovesVersions):
    """Versions are folders renamed into place; a lock that dies with its process guards what changes."""

    def __init__(self, root: Path, *, public_key: str | None = None) -> None:
        self.root = root
        self.public_key = public_key

    def __str__(self) -> str:
        return str(self.root)

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have a whole version."""
        with self._explained():
            names = _folders(self.root)
        return [name for name in names if DATASET.fullmatch(name) and self.versions(name)]

    def versions(self, dataset: str) -> list[str]:
        """Return the whole versions, oldest first."""
        folder = self.root / check_dataset(dataset)
        with self._explained():
            names = [name for name in _folders(folder) if VERSION.fullmatch(name)]
            return [name for name in names if (folder / name / MANIFEST).is_file()]

    def manifest(self, dataset: str, version: str) -> Manifest:
        """Read a version's manifest; its files are not checked (StoreError, BundleError)."""
        path = self._version(dataset, version) / MANIFEST
        with self._explained(), path.open("rb") as stream:
            return parse_manifest(stream.read(MAX_MANIFEST_BYTES + 1), str(path), self.public_key)

    def publish(self, dataset: str, folder: Path) -> str:
        """Copy a sealed bundle into the store and return its version; it is visible once it is whole.

        Raises:
            BundleError: the bundle is not whole, or another dataset's.
            StoreError: the version exists, or the copy cannot be written.
        """
        check_dataset(dataset)
        version = verify_as(folder, dataset, public_key=self.public_key).version
        with self._explained(), self._locked(dataset, "publish"):
            final = self.root / dataset / version
            if final.exists():
                raise StoreError(f"{dataset}: version {version} is in {self.root} already, and versions never change")
            # Nobody else can be publishing while the lock is held: these are what killed publishers left.
            for left in final.parent.glob(".*Z-*.tmp"):
                shutil.rmtree(left)
            with assembling(final) as temporary:
                _copy(folder, temporary)
                verify_as(temporary, dataset, version, public_key=self.public_key)
        return version

    def fetch(self, dataset: str, version: str, into: Path) -> Path:
        """Copy a version to the folder `into`, checked before it appears there.

        A whole copy that is there already is kept.

        Raises:
            BundleError: the version in the store is not whole, or what `into` holds is not that version.
            StoreError: no such version, or `into` cannot be written.
        """
        source = self._version(dataset, version)

        def fill(folder: Path) -> None:
            verify_as(source, dataset, version, public_key=self.public_key)
            _copy(source, folder)

        return receive(into, dataset, version, fill, public_key=self.public_key)

    def _version(self, dataset: str, version: str) -> Path:
        whole = self.versions(dataset)
        if check_version(version) not in whole:
            raise unknown(dataset, version, whole)
        return self.root / dataset / version

    def _get(self, key: str, limit: int) -> tuple[bytes, str] | None:
        with self._explained():
            try:
                with (self.root / key).open("rb") as stream:
                    content = stream.read(limit + 1)
            except FileNotFoundError:
                return None
        return content, hashlib.sha256(content).hexdigest()

    def _swap(self, key: str, body: bytes, token: str) -> bool:
        path = self.root / key
        with self._explained(), self._locked(path.parent.name, "promote"):
            now = self._get(key, MAX_POINTER_BYTES)
            if (now[1] if now else "") != token:
                return False
            # As in publish: under the lock, what is left here is a killed promoter's.
            for left in path.parent.glob(f".{path.stem}.*.tmp{path.suffix}"):
                left.unlink()
            with replacing(path) as temporary:
                temporary.write_bytes(body)
                sync(temporary)
            sync(path.parent)
        return True

    @contextmanager
    def _locked(self, dataset: str, task: str) -> Iterator[None]:
        path = self.root / dataset / f".{task}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            deadline = time.monotonic() + LOCK_SECONDS
            while not _try_lock(stream):
                if time.monotonic() > deadline:
                    raise StoreError(f"{path} is held by another process for {LOCK_SECONDS:.0f} s: end it, try again")
                time.sleep(0.02)
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # A failed copy names its source, which has nothing to do with the store.
            where = f" ({error.filename})" if str(error.filename).startswith(str(self.root)) else ""
            raise StoreError(
                f"model store {self.root}: {error.strerror or error}{where}",
                brief=f"the store cannot be read or written ({why(error)})",
            ) from error


def _try_lock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    for path in source.iterdir():  # verified: the files of a bundle and no others
        shutil.copyfile(path, target / path.name)


def _folders(parent: Path) -> list[str]:
    """Return the names of the real folders in a folder, sorted; a parent that is not there has none."""
    if not parent.is_dir():
        return []
    return sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
