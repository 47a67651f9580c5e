"""Hold what is known against the rules of each config, tell of breaches, and exit with 1 while there is one.

For schedulers: a breach is told once to each channel (the log, ALERT_WEBHOOK, ALERT_TOPIC), and once when it is over.
"""

import argparse
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from rich.table import Table

from src.core import tables
from src.core.cli import EXIT_CODES, HelpFormatter, environment, read_settings, run_command
from src.core.config import DatasetConfig, Settings, load_config
from src.core.errors import ConfigError, GateError
from src.monitoring import alerts, rules
from src.monitoring.alerts import Changes
from src.monitoring.channels import channels_of
from src.monitoring.database import opened
from src.monitoring.rules import Finding
from src.monitoring.tables import measures, requests

logger = logging.getLogger(__name__)

WIDTH = 140


def run(
    config: DatasetConfig, settings: Settings, engine: sa.Engine, now: datetime | None = None
) -> tuple[list[Finding], Changes]:
    """Look once at a data set: evaluate, open and resolve, tell.

    Args:
        config: its `monitoring` section.
        settings: the channels.
        engine: the monitoring database, from `database.opened`.
        now: when; this moment if None.

    Raises:
        ConfigError: the webhook's address is none.
        SQLAlchemyError: the database failed; what was to be told is told at the next look.
    """
    at = now or datetime.now(UTC)
    channels = channels_of(settings)
    found = rules.findings(config, engine, at)
    opened_now, resolved = alerts.update(engine, config.name, found, list(channels), at, rules.on(config.monitoring))
    told, untold = alerts.deliver(engine, channels, at)
    return found, Changes(tuple(opened_now), tuple(resolved), told, untold)


def datasets(engine: sa.Engine) -> list[str]:
    """Return the data sets of which something is known."""
    asked = sa.union(sa.select(measures.c.dataset), sa.select(requests.c.dataset))
    with engine.connect() as connection:
        return sorted(connection.execute(asked).scalars())


def table(config: DatasetConfig, found: Sequence[Finding]) -> Table:
    """Lay the rules out for a terminal, the breaches first."""
    made = Table(title=f"{config.name}: the rules of `monitoring`", title_justify="left")
    for name in ("rule", "of", "month", "state", "what"):
        made.add_column(name, overflow="fold", no_wrap=name in ("rule", "month"))
    order = {"beyond its limit": 0, "not enough data": 1, "ok": 2}
    styles = {"beyond its limit": "bold red", "not enough data": "dim", "ok": None}
    for one in sorted(found, key=lambda one: order[one.state]):
        text = one.text.removeprefix(f"{one.month}: ")
        made.add_row(one.rule, one.subject, one.month or "now", one.state, text, style=styles[one.state])
    return made


def lasting(config: DatasetConfig, engine: sa.Engine, found: Sequence[Finding]) -> list[str]:
    """Say of each alert that lasts how it stands now."""
    now = {(one.rule, one.subject): one.text for one in rules.beyond(found)}
    known = alerts.still_open(engine, config.name)
    return [
        now.get(which, f"{text} (since then too little is known to say that it is over)")
        for which, text in known.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Look at data sets from the command line."""
    made = argparse.ArgumentParser(
        prog="python -m src.monitoring.check",
        description=str(__doc__),
        epilog=f"{environment()}\n\n{EXIT_CODES}",
        formatter_class=HelpFormatter,
    )
    made.add_argument("--dataset", action="append", help="name or YAML, repeatable; all that are known if not given")
    args = made.parse_args(argv)
    settings = read_settings()
    channels_of(settings)  # what is wrong with them is said before anything is looked at
    console = tables.console(WIDTH)
    broken, unknown, untold = list[str](), list[str](), dict[str, str]()
    with opened(settings) as engine:
        for name in args.dataset or datasets(engine):
            try:
                config = load_config(name)
            except ConfigError as error:
                if args.dataset:
                    raise
                logger.warning("%s is left out: %s", name, error)
                unknown.append(name)
                continue
            found, changes = run(config, settings, engine)
            console.print(table(config, found) if found else f"{config.name}: nothing is known yet")
            broken += [f"{config.name}: {text}" for text in lasting(config, engine, found)]
            untold |= changes.untold
    for channel, reason in untold.items():
        console.print(f"{channel}: {reason}; it is told at the next look", markup=False, soft_wrap=True)
    if broken:
        raise GateError(f"{len(broken)} {'rule is' if len(broken) == 1 else 'rules are'} broken: {'; '.join(broken)}")
    if unknown:
        raise ConfigError(f"nobody checks {', '.join(unknown)}, whose YAML is not here: name it with --dataset PATH")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
