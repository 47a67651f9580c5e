"""A model version on disk: an immutable folder whose manifest vouches for every file."""

import errno
import logging
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from src.core import signature
from src.core.errors import BundleError, StoreError, why
from src.core.files import replacing, sha256
from src.core.manifest import (
    CONTENTS,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MODELS,
    RECENT,
    Manifest,
    check_listed,
    check_names,
    first_problem,
    installed_packages,
    new_version,
    parse_manifest,
)

__all__ = ["CONTENTS", "MANIFEST", "Manifest", "assembling", "git_commit", "new_version", "seal", "verify"]

logger = logging.getLogger(__name__)


@contextmanager
def assembling(final: Path) -> Iterator[Path]:
    """Yield an empty folder beside `final`, renamed to `final` when the block succeeds and removed when it fails.

    Everything is on the disk before the rename. An existing `final` that is not empty is never replaced (OSError).
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            sync(path)
        temporary.rename(final)
        sync(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file's or a folder's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(
    folder: Path,
    *,
    dataset: str,
    version: str,
    created: datetime,
    git_commit: str,
    data_fingerprint: str,
    private_key: str | None = None,
) -> Manifest:
    """Write `manifest.json` over the other files; an earlier manifest is replaced.

    `private_key` (Ed25519, 64 hex digits) signs it.

    Raises:
        BundleError: a file is missing, extra, a link or too large, or dataset or version is not a proper name.
        ConfigError: the key is wrong, or signing is not installed.
    """
    for left in folder.glob(f".{Path(MANIFEST).stem}.*.tmp.json"):
        left.unlink()  # by a process that was killed while it sealed
    _check_entries(folder, optional={MANIFEST})
    names = [name for name in (*MODELS, *CONTENTS, RECENT) if (folder / name).is_file()]
    content = {
        "dataset": dataset,
        "version": version,
        "created": created,
        "git_commit": git_commit,
        "data_fingerprint": data_fingerprint,
        "packages": installed_packages(),
        "files": {name: {"sha256": sha256(folder / name), "size": _size(folder / name)} for name in names},
    }
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(f"{folder} cannot be sealed: {first_problem(error)}") from error
    if private_key:
        signed = signature.sign(manifest.signed_bytes(), private_key)
        manifest = manifest.model_copy(update={"signature": signed})
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def verify(folder: Path, *, public_key: str | None = None) -> Manifest:
    """Check a bundle before any other file of it is parsed.

    With a `public_key` (Ed25519, 64 hex digits) the manifest must carry that key's signature.

    Raises:
        BundleError: a file is missing, extra, truncated, altered or a link (named); the signature is missing
            or wrong; the model was made by another XGBoost (a model of 3.1 loads silently wrong in 3.0).
        ConfigError: the key is not a key.
    """
    there = _check_entries(folder)
    with (folder / MANIFEST).open("rb") as stream:
        manifest = parse_manifest(stream.read(MAX_MANIFEST_BYTES + 1), f"{folder}/{MANIFEST}", public_key)
    check_listed(there, manifest, str(folder))
    for name, entry in manifest.files.items():
        size = _size(folder / name)
        if size != entry.size:
            fault = "truncated" if size < entry.size else "altered"
            raise BundleError(f"{folder}: {name} is {fault}: {size:,} bytes, the manifest says {entry.size:,}")
        if sha256(folder / name) != entry.sha256:
            raise BundleError(f"{folder}: {name} is altered: its SHA-256 is not the manifest's. Fetch it again")
    _check_packages(folder, manifest)
    return manifest


def verify_as(folder: Path, dataset: str, version: str | None = None, *, public_key: str | None = None) -> Manifest:
    """Check a bundle as `verify` does, and that it is this dataset's (and this version), not a renamed other."""
    manifest = verify(folder, public_key=public_key)
    if manifest.dataset != dataset or version not in (None, manifest.version):
        wanted = dataset if version is None else f"{dataset} {version}"
        brief = "what has the version's name is another version or another data set's"
        raise BundleError(f"{folder} holds {manifest.dataset} {manifest.version} and not {wanted}", brief=brief)
    return manifest


def receive(
    into: Path, dataset: str, version: str, fill: Callable[[Path], None], *, public_key: str | None = None
) -> Path:
    """Let `fill` write a version into a folder beside `into`, check it and rename it; a copy that is there is kept.

    Raises:
        BundleError: what came, or what `into` holds already, is not that version whole.
        StoreError: `into` cannot be written, for example because the disk is full; nothing of it stays.
    """
    try:
        if not _holds_something(into):
            try:
                with assembling(into) as temporary:
                    fill(temporary)
                    verify_as(temporary, dataset, version, public_key=public_key)
            except OSError:
                # Another process may have brought the same version meanwhile.
                if not _holds_something(into):
                    raise
            else:
                return into
        verify_as(into, dataset, version, public_key=public_key)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreError(
            f"{dataset} {version} cannot be written to {into}: {error.strerror or error}",
            brief="the disk is full" if full else f"the version cannot be copied ({why(error)})",
        ) from error
    return into


def git_commit(root: Path) -> str:
    """Return the checkout's commit, `+dirty` after it when the work tree has changes, `unknown` outside a checkout."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}+dirty" if _git(root, "status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    # Without optional locks a status in the background never stands in the way of someone's commit.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)  # noqa: S603
    return done.stdout.strip()


def _check_entries(folder: Path, optional: Iterable[str] = ()) -> set[str]:
    if folder.is_symlink() or not folder.is_dir():
        raise BundleError(f"{folder} is not a folder: a bundle is a folder of files")
    with os.scandir(folder) as entries:
        there = list(entries)
    for entry in there:
        if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
            raise BundleError(f"{folder}: {entry.name} is not a plain file; a bundle has no links and no folders")
    names = {entry.name for entry in there}
    check_names(names, str(folder), optional)
    return names


def _check_packages(folder: Path, manifest: Manifest) -> None:
    here = installed_packages()
    model, package = next((name, MODELS[name]) for name in MODELS if name in manifest.files)
    made_with, running = manifest.packages.get(package, "absent"), here[package]
    if made_with.split(".")[:2] != running.split(".")[:2]:
        raise BundleError(
            f"{folder}: {model} was made with {package} {made_with} and {running} is installed. Models load silently"
            f" wrong across versions: install {package} {made_with} or train again",
            brief="the version was made with other software than is installed here",
        )
    # The other kind of model's package does not matter to this one.
    unused = {other for other in MODELS.values() if other != package}
    pairs = {name: (manifest.packages.get(name, "absent"), now) for name, now in here.items() if name not in unused}
    changed = ", ".join(f"{name} {then} -> {now}" for name, (then, now) in pairs.items() if then != now)
    if changed:
        logger.warning("%s was made with other package versions: %s", manifest.version, changed)


def _holds_something(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _size(path: Path) -> int:
    return path.stat().st_size
