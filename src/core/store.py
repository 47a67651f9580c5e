"""The model store: where published versions live, and the command that lists, shows, promotes and rolls back.

Layout: `models/<dataset>/<version>/...`, written once, and `models/<dataset>/current.json`.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.core import cli
from src.core.bundle import Manifest
from src.core.config import Settings
from src.core.errors import ConfigError
from src.core.folder_store import FolderStore
from src.core.pointer import UNSET, Pointer, Promotion, Unset, check_version, unknown
from src.core.workspace import Workspace

__all__ = ["UNSET", "FolderStore", "Pointer", "Promotion", "Store", "Unset", "open_store"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


class Store(Protocol):
    """What every model store can do; `str()` of it is where it is."""

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have a whole version."""

    def versions(self, dataset: str) -> list[str]:
        """Return the whole versions, oldest first."""

    def manifest(self, dataset: str, version: str) -> Manifest:
        """Read a version's manifest; its files are not checked."""

    def current(self, dataset: str) -> Pointer | None:
        """Return the promoted version, None before the first promotion."""

    def publish(self, dataset: str, folder: Path) -> str:
        """Copy a sealed bundle into the store and return its version; it is visible once it is whole."""

    def promote(
        self, dataset: str, version: str, *, by: str, why: str, expected: str | Unset | None = UNSET
    ) -> Pointer:
        """Make a published version current; the loser of a race gets a StoreError that names both."""

    def rollback(self, dataset: str, *, to: str | None = None, by: str, why: str) -> Pointer:
        """Return to the version that served before, or to the version `to`."""

    def fetch(self, dataset: str, version: str, into: Path) -> Path:
        """Copy a version to the folder `into`, checked before it appears there."""


def open_store(uri: str | None, settings: Settings, default: Path) -> Store:
    """Open the store at `uri`, else MODEL_STORE, else S3_BUCKET, else the folder `default`.

    Raises:
        ConfigError: the URI is neither a folder nor s3://bucket/prefix.
        StoreError: S3 cannot be set up, for example because AWS_PROFILE does not exist.
    """
    uri = uri or settings.model_store or (f"s3://{settings.s3_bucket}" if settings.s3_bucket else None)
    if uri is None:
        return FolderStore(default, public_key=settings.bundle_public_key)
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        return _open_s3(bucket, prefix, settings)
    if uri.startswith("file:"):
        return FolderStore(Path(unquote(urlsplit(uri).path)), public_key=settings.bundle_public_key)
    if separator:
        raise ConfigError(f"model store: {scheme}:// is not supported: give a folder or s3://bucket/prefix")
    return FolderStore(Path(uri).expanduser(), public_key=settings.bundle_public_key)


def _open_s3(bucket: str, prefix: str, settings: Settings) -> Store:
    if not _BUCKET.fullmatch(bucket):
        # Not repeated: people have put keys in front of an @ here.
        raise ConfigError("model store: what follows s3:// is not a bucket's name: write s3://bucket/prefix")
    # botocore takes 0.3 s to import, which a folder store need not pay.
    from src.core.s3_store import S3Store, connect

    return S3Store(connect(bucket, settings), bucket, prefix, public_key=settings.bundle_public_key)


def main(argv: Sequence[str] | None = None) -> None:
    """List, show, promote or roll back the versions of a model store."""
    args = _arguments(argv)
    settings = cli.read_settings()
    dataset = args.dataset or settings.default_dataset
    store = open_store(args.store, settings, Workspace.of(dataset, settings).store)
    if args.command == "list":
        _list(store, [args.dataset] if args.dataset else store.datasets(), as_json=args.json)
        return
    version = _typed_version(store, dataset, args.version)
    if args.command == "show":
        _show(store, dataset, version, as_json=args.json)
        return
    if args.command == "promote":
        moved = store.promote(dataset, args.version, by=cli.user_name(), why=args.why)
    else:
        moved = store.rollback(dataset, to=version, by=cli.user_name(), why=args.why)
    Console(soft_wrap=True).print(Text(f"{dataset}: {moved.version} is current in {store}"))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = cli.parser(
        "List the versions of a model store, show one, promote one, or roll back to the one that served before."
    )
    made.add_argument("command", choices=["list", "show", "promote", "rollback"])
    made.add_argument("version", nargs="?", default=None, help="show, rollback: optional; promote: needed")
    cli.add_store(made)
    made.add_argument("--why", default=None, help="promote, rollback: the reason, kept in the history")
    made.add_argument("--json", action="store_true", help="list, show: print JSON")
    args = made.parse_args(argv)
    if args.command == "promote" and not args.version:
        made.error("promote needs a VERSION: see list")
    if args.command == "list" and args.version:
        made.error("list takes no VERSION: use show")
    if args.command in ("promote", "rollback") and not (args.why or "").strip():
        made.error(f"{args.command} needs --why: the reason, for the history")
    return args


def _typed_version(store: Store, dataset: str, version: str | None) -> str | None:
    """Check a version that was typed: an unknown one is the user's mistake, not the store's failure."""
    if version is not None:
        whole = store.versions(dataset)
        if check_version(version) not in whole:
            raise ConfigError(str(unknown(dataset, version, whole)))
    return version


def _list(store: Store, datasets: Sequence[str], *, as_json: bool) -> None:
    pointers = {dataset: store.current(dataset) for dataset in datasets}
    versions = {dataset: store.versions(dataset) for dataset in datasets}
    if as_json:
        current = {dataset: pointer.version if pointer else None for dataset, pointer in pointers.items()}
        _print_json({d: {"current": current[d], "versions": versions[d]} for d in datasets})
        return
    table = _table(f"Versions in {store}", "dataset", "version", "current", "promoted", "by", "why")
    for dataset, pointer in pointers.items():
        for version in reversed(versions[dataset]):
            is_current = pointer is not None and pointer.version == version
            table.add_row(*_cells(dataset, version, *(["yes", *_move(pointer)] if pointer and is_current else [])))
    _print_table(table, f"no versions in {store} yet: run the pipeline, or look elsewhere with --store")


def _show(store: Store, dataset: str, version: str | None, *, as_json: bool) -> None:
    pointer = store.current(dataset)
    version = version or (pointer.version if pointer else None)
    manifest = store.manifest(dataset, version) if version else None
    if as_json:
        parts = {"current": pointer, "manifest": manifest}
        _print_json({name: part.model_dump(mode="json") if part else None for name, part in parts.items()})
        return
    history = _table(f"{dataset} in {store}: the current version first", "version", "promoted", "by", "why")
    for move in (pointer, *pointer.history) if pointer else ():
        history.add_row(*_cells(move.version, *_move(move)))
    _print_table(history, f"{dataset} has no current version in {store}: promote one (see list)")
    if manifest:
        _print_table(_about(manifest), "")


def _about(manifest: Manifest) -> Table:
    about = _table(f"Version {manifest.version}", "", "")
    about.show_header = False
    for label in ("created", "git_commit", "data_fingerprint"):
        about.add_row(*_cells(label.replace("_", " "), str(getattr(manifest, label))))
    about.add_row(*_cells("packages", ", ".join(f"{name} {v}" for name, v in sorted(manifest.packages.items()))))
    about.add_row(*_cells("files", ", ".join(f"{name} {entry.size:,} B" for name, entry in manifest.files.items())))
    about.add_row(*_cells("signed", "yes" if manifest.signature else "no"))
    return about


def _move(move: Promotion) -> list[str]:
    why = f"rolled back: {move.why}" if move.rollback else move.why
    return [f"{move.promoted_at:%Y-%m-%d %H:%M}", move.by, why]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=column in ("dataset", "version"), overflow="fold")
    return table


def _cells(*values: str) -> list[Text]:
    """Wrap texts that people typed, so that square brackets stay brackets."""
    return [Text(value) for value in values]


def _print_table(table: Table, empty: str) -> None:
    Console().print(table if table.row_count else Text(empty))


def _print_json(content: object) -> None:
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(cli.run_command(main))
