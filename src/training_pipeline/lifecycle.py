"""Move model versions between development, staging, production and archived, in the store and then in MLflow.

The store is the truth. MLflow shows it: the alias `champion` is the version in production, `challenger` the one that
came to staging last (the newest version, where staging is empty), and each registered version is tagged with its stage,
who moved it there, when and why. `sync` mends MLflow after a move that it missed.
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from src.core import lineage
from src.core.cli import add_store, add_why, parser, read_dataset, read_settings, run_command, user_name
from src.core.config import DatasetConfig, Settings
from src.core.errors import HousecastError
from src.core.stages import STAGE_NAMES, Story, entered
from src.core.store import Store, open_store, typed_version
from src.core.tables import cells, print_table, table
from src.core.workspace import Workspace
from src.training_pipeline import tracking

logger = logging.getLogger(__name__)


def mirror(config: DatasetConfig, settings: Settings, store: Store) -> bool:
    """Show in MLflow what is where in the store; whatever fails costs a warning, since the move itself is done."""
    try:
        story, versions = store.story(config.name), store.versions(config.name)
    except HousecastError as error:
        logger.warning("MLflow does not show the store's stages: %s; run sync once that is mended", error)
        return False
    return tracking.mirror(config, settings, _aliases(story, versions), {v: _tags(story, v) for v in versions})


def sync(config: DatasetConfig, settings: Settings, store: Store) -> None:
    """Register the versions that MLflow does not have, then show what is where in the store.

    Raises:
        HousecastError: MLflow or the store failed (the warnings say how), so MLflow does not show the store.
    """
    known = tracking.registered(config, settings)
    if known is not None:
        there = {one.version for one in known}
        for version in store.versions(config.name):
            if version not in there:
                _register(config, settings, store, version)
    if known is None or not mirror(config, settings, store):
        raise HousecastError(f"MLflow at {tracking.tracking_uri(settings)} does not show {store}: see the warnings")


def _register(config: DatasetConfig, settings: Settings, store: Store, version: str) -> None:
    """Log a version's bundle to the run that trained it, or to a new run if that is gone."""
    try:
        known = lineage.of(store, config.name, version)
        tags = {"gate": "passed" if known["gate"].get("passed") else "failed"} if known["gate"] else {}
        with tempfile.TemporaryDirectory() as scratch:
            folder = store.fetch(config.name, version, Path(scratch) / version)
            with tracking.start(config, settings, "sync", run_id=known["mlflow_run_id"]) as run:
                tracking.register(config, settings, run, folder, version, tags)
    except HousecastError as error:
        # One damaged version must not keep the others from being shown.
        logger.warning("%s %s stays out of MLflow: %s", config.name, version, error)


def _aliases(story: Story, versions: Sequence[str]) -> dict[str, str | None]:
    newest = versions[-1] if versions else None
    return {
        "champion": story.pointer.version if story.pointer else None,
        "challenger": story.newest("staging", versions) or newest,
    }


def _tags(story: Story, version: str) -> dict[str, str]:
    events = story.of(version)
    promoted = next((event for event in events if event.stage == "production"), None)
    tags: dict[str, str] = {"stage": story.stage(version)}
    for prefix, event in (("stage", events[0] if events else None), ("promoted", promoted)):
        if event:
            at = f"{event.at:%Y-%m-%dT%H:%M:%SZ}"
            tags |= {f"{prefix}_by": event.by, f"{prefix}_at": at, f"{prefix}_why": event.why}
    return tags


def _show(config: DatasetConfig, settings: Settings, store: Store) -> None:
    story, versions = store.story(config.name), store.versions(config.name)
    known = tracking.registered(config, settings)
    beside = {one.version: one for one in reversed(known or [])}
    made = table(f"{config.name} in {store}, beside MLflow", "version", "stage", "MLflow", "its stage", "aliases")
    for version in reversed(versions):
        there = beside.get(version)
        shown = [there.number, there.tags.get("stage", "-"), ", ".join(there.aliases)] if there else ["-", "-", ""]
        made.add_row(*cells(version, story.stage(version), *shown))
    print_table(made, f"no versions of {config.name} in {store} yet: run the pipeline, or name another with --store")


def main(argv: Sequence[str] | None = None) -> None:
    """Move a version, roll production back, mend MLflow's record, or show both."""
    args = _arguments(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    store = open_store(args.store, settings, Workspace.of(config.name, settings).store)
    version = typed_version(store, config.name, args.to if args.command == "rollback" else args.version)
    if args.command == "show":
        _show(config, settings, store)
        return
    if args.command == "sync":
        sync(config, settings, store)
        said = f"MLflow at {tracking.tracking_uri(settings)} shows {store}"
    else:
        if args.command == "move":
            event = store.move(config.name, args.version, args.to, by=user_name(), why=args.why)
        else:
            event = entered(store.rollback(config.name, to=version, by=user_name(), why=args.why))
        mirror(config, settings, store)
        said = f"{event.version} is in {event.stage} in {store}"
    Console(soft_wrap=True).print(Text(f"{config.name}: {said}"))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__.splitlines()[0])
    made.add_argument("command", choices=["move", "rollback", "sync", "show"])
    made.add_argument("version", nargs="?", default=None, help="move: the version (see show)")
    made.add_argument("--to", default=None, help=f"move: {', '.join(STAGE_NAMES)}; rollback: a version, else the last")
    add_store(made)
    add_why(made, "move, rollback: the reason, kept in the store")
    args = made.parse_args(argv)
    if args.command == "move" and not (args.version and args.to in STAGE_NAMES):
        made.error(f"move needs a VERSION and --to {'|'.join(STAGE_NAMES)}")
    if args.command != "move" and args.version:
        made.error(f"{args.command} takes no VERSION" + (": use --to" if args.command == "rollback" else ""))
    if args.command in ("move", "rollback") and not args.why:
        made.error(f"{args.command} needs --why: the reason, for the record")
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
