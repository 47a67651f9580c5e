"""`python -m src.core.store`: list, show, promote, roll back, and tell where a version came from."""

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.core import cli, lineage
from src.core.bundle import Manifest
from src.core.config import load_config
from src.core.errors import ConfigError
from src.core.stages import Story
from src.core.store import Store, open_store, typed_version
from src.core.tables import cells, print_table, table
from src.core.workspace import Workspace

COMMANDS = ("list", "show", "lineage", "promote", "rollback")


def main(argv: Sequence[str] | None = None) -> None:
    """List, show, promote or roll back the versions of a model store, or print one's lineage."""
    args = _arguments(argv)
    settings = cli.read_settings()
    # A store may hold data sets that have no YAML here, so a name is taken as it is.
    named = args.dataset or settings.default_dataset
    dataset = load_config(named).name if named.endswith((".yaml", ".yml")) else named
    store = open_store(args.store, settings, Workspace.of(dataset, settings).store)
    if args.command == "list":
        _list(store, [dataset] if args.dataset else store.datasets(), as_json=args.json)
        return
    version = typed_version(store, dataset, args.version)
    if args.command == "show":
        _show(store, dataset, version, as_json=args.json)
    elif args.command == "lineage":
        _lineage(store, dataset, version, as_json=args.json, config=args.config)
    else:
        if args.command == "promote":
            moved = store.promote(dataset, args.version, by=cli.user_name(), why=args.why)
        else:
            moved = store.rollback(dataset, to=version, by=cli.user_name(), why=args.why)
        Console(soft_wrap=True).print(Text(f"{dataset}: {moved.version} is current in {store}"))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = cli.parser(
        "List the versions of a model store with their stages, show one, tell where one came from (lineage),"
        " promote one, or roll back to the one that served before."
    )
    made.add_argument("command", choices=COMMANDS)
    made.add_argument("version", nargs="?", default=None, help="show, lineage, rollback: optional; promote: needed")
    cli.add_store(made)
    cli.add_why(made, "promote, rollback: the reason, kept in the history")
    made.add_argument("--json", action="store_true", help="list, show, lineage: print JSON")
    made.add_argument("--config", action="store_true", help="lineage: print the config's YAML, or add it to the JSON")
    args = made.parse_args(argv)
    if args.command == "promote" and not args.version:
        made.error("promote needs a VERSION: see list")
    if args.command == "list" and args.version:
        made.error("list takes no VERSION: use show")
    if args.command in ("promote", "rollback") and not args.why:
        made.error(f"{args.command} needs --why: the reason, for the history")
    return args


def _list(store: Store, datasets: Sequence[str], *, as_json: bool) -> None:
    stories = {dataset: store.story(dataset) for dataset in datasets}
    versions = {dataset: store.versions(dataset) for dataset in datasets}
    if as_json:
        _print_json({dataset: _stages(stories[dataset], versions[dataset]) for dataset in datasets})
        return
    if not any(versions.values()):
        print_table(table(""), f"no versions in {store} yet: run the pipeline, or look elsewhere with --store")
    for dataset, story in stories.items():
        listed = table(f"{dataset} in {store}", "version", "stage", "since", "by", "why")
        for version in reversed(versions[dataset]):
            last = [[f"{event.at:%Y-%m-%d %H:%M}", event.by, event.why] for event in story.of(version)[:1]]
            listed.add_row(*cells(version, story.stage(version), *(last[0] if last else [])))
        print_table(listed)


def _stages(story: Story, versions: Sequence[str]) -> dict[str, object]:
    current = story.pointer.version if story.pointer else None
    return {"current": current, "versions": versions, "stages": {version: story.stage(version) for version in versions}}


def _show(store: Store, dataset: str, version: str | None, *, as_json: bool) -> None:
    story = store.story(dataset)
    events = story.of(version) if version else story.events
    version = version or (story.pointer.version if story.pointer else None)
    manifest = store.manifest(dataset, version) if version else None
    if as_json:
        parts = {"current": story.pointer, "manifest": manifest}
        plain = {name: part.model_dump(mode="json") if part else None for name, part in parts.items()}
        stage = story.stage(version) if version else None
        _print_json({**plain, "stage": stage, "moves": [event.model_dump(mode="json") for event in events]})
        return
    title, none = f"{dataset} in {store}: the latest move first", f"{dataset} {version} was not moved yet"
    if version is None:
        none = f"{dataset} has no current version in {store}: promote one (see list)"
    print_table(lineage.moves(title, events), none)
    if manifest:
        print_table(_about(manifest, story))


def _about(manifest: Manifest, story: Story) -> Table:
    about = table(f"Version {manifest.version}", "", "")
    about.show_header = False
    about.add_row(*cells("stage", story.stage(manifest.version)))
    for label in ("created", "git_commit", "data_fingerprint"):
        about.add_row(*cells(label.removeprefix("data_").replace("_", " "), str(getattr(manifest, label))))
    about.add_row(*cells("packages", ", ".join(f"{name} {v}" for name, v in sorted(manifest.packages.items()))))
    about.add_row(*cells("files", ", ".join(f"{name} {entry.size:,} B" for name, entry in manifest.files.items())))
    about.add_row(*cells("signed", "yes" if manifest.signature else "no"))
    return about


def _lineage(store: Store, dataset: str, version: str | None, *, as_json: bool, config: bool) -> None:
    pointer = store.current(dataset)
    version = version or (pointer.version if pointer else None)
    if version is None:
        raise ConfigError(f"{dataset} has no current version in {store}: name one (see list)")
    if config and not as_json:
        sys.stdout.write(lineage.config_of(store, dataset, version))
        return
    found = lineage.of(store, dataset, version)
    if as_json:
        _print_json({**found, "config_yaml": lineage.config_of(store, dataset, version)} if config else found)
        return
    for part in lineage.tables(found):
        print_table(part)


def _print_json(content: object) -> None:
    sys.stdout.write(json.dumps(content, indent=2) + "\n")
