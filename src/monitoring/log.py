"""The prediction log at the command line: look at its newest rows, export it, remove what is old."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from rich.table import Table

from src.core import tables
from src.core.cli import EXIT_CODES, HelpFormatter, environment, read_settings, run_command
from src.core.config import Settings
from src.core.errors import ConfigError
from src.core.files import replacing
from src.monitoring.database import opened, writing
from src.monitoring.recorded import SCHEMA, Configs, frames, predictions_of, read
from src.monitoring.tables import requests

# Removed in one go.
CHUNK = 5_000
# Columns of the table of the newest predictions.
WIDTH = 150


def chosen(dataset: str | None, since: datetime | None, version: str | None) -> list[sa.ColumnElement[bool]]:
    """Make the conditions that choose requests; None stands for all."""
    conditions: list[sa.ColumnElement[bool]] = []
    if dataset:
        conditions.append(requests.c.dataset == dataset)
    if since:
        conditions.append(requests.c.at >= since)
    if version:
        conditions.append(requests.c.version == version)
    return conditions


def newest(engine: sa.Engine, conditions: Sequence[sa.ColumnElement[bool]], count: int) -> list[dict[str, Any]]:
    """Return the newest predictions, the oldest of them first."""
    configs, found = Configs(), list[dict[str, Any]]()
    latest = (requests.c.at.desc(), requests.c.id.desc())
    for request in read(engine, [*conditions, requests.c.inputs.is_not(None)], latest, count):
        found += predictions_of(request, configs.of(request["dataset"]))[::-1]
    return found[:count][::-1]


def export(engine: sa.Engine, conditions: Sequence[sa.ColumnElement[bool]], path: Path) -> int:
    """Write the rows to a Parquet or CSV file, whole or not at all, and return how many they are.

    Raises:
        ConfigError: the file's name ends otherwise.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{path}: write its name with .parquet or .csv at the end")
    count = 0
    with tempfile.TemporaryDirectory(prefix="housecast-") as folder, replacing(path) as temporary:
        parts = [Path(folder) / "000000.parquet"]
        pl.DataFrame(schema=SCHEMA).write_parquet(parts[0])  # a file of no rows has its columns too
        for frame in frames(engine, conditions):
            parts.append(Path(folder) / f"{len(parts):06}.parquet")
            frame.write_parquet(parts[-1])
            count += frame.height
        whole = pl.scan_parquet(parts, glob=False)
        (whole.sink_csv if path.suffix == ".csv" else whole.sink_parquet)(temporary)
    return count


def prune(engine: sa.Engine, before: datetime) -> int:
    """Remove the requests from before a time, some thousands at a time so that the log's writer need not wait long."""
    removed = 0
    while True:
        some = sa.select(requests.c.id).where(requests.c.at < before).limit(CHUNK)
        with writing(engine) as connection:
            count = connection.execute(sa.delete(requests).where(requests.c.id.in_(some))).rowcount
        removed += count
        if count < CHUNK:
            return removed


def _tail(args: argparse.Namespace, engine: sa.Engine) -> None:
    rows = newest(engine, chosen(args.dataset, args.since, args.version), args.rows)
    if args.json:
        for row in rows:
            sys.stdout.write(json.dumps(row, default=str) + "\n")
        return
    table = Table(title=f"The newest {len(rows):,} recorded predictions" if rows else "No prediction is recorded yet")
    for name in ("time (UTC)", "request", "row", "data set", "version", "role", "key", "month", "answer", "ms"):
        table.add_column(name, justify="right" if name in ("row", "answer", "ms") else "left", overflow="fold")
    for row in rows:
        answer = row["label"] if row["estimate"] is None else f"{row['estimate']:,.2f}"
        key = ", ".join(map(str, json.loads(row["key"]))) if row["key"] else ""
        table.add_row(
            f"{row['at']:%Y-%m-%d %H:%M:%S}", row["request_id"], str(row["row"]), row["dataset"], row["version"],
            row["role"], key, row["month"] or "", answer, f"{row['milliseconds']:,.2f}",
        )  # fmt: skip
    tables.console(WIDTH).print(table)


def _export(args: argparse.Namespace, engine: sa.Engine) -> None:
    count = export(engine, chosen(args.dataset, args.since, args.version), args.output)
    print(f"{count:,} predictions -> {args.output}")  # noqa: T201


def _prune(args: argparse.Namespace, engine: sa.Engine) -> None:
    before = datetime.now(UTC) - timedelta(days=args.days)
    count = prune(engine, before)
    print(f"{count:,} requests from before {before:%Y-%m-%d %H:%M} UTC are removed")  # noqa: T201


def _time(text: str) -> datetime:
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write it as 2023-05-31 or 2023-05-31T12:00") from None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _parser(settings: Settings) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m src.monitoring.log",
        description=__doc__.splitlines()[0],
        epilog=f"{environment()}\n\n{EXIT_CODES}",
        formatter_class=HelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True)
    tail = commands.add_parser("tail", help="show the newest predictions", formatter_class=HelpFormatter)
    tail.add_argument("--rows", type=_positive, default=20, help="how many")
    tail.add_argument("--json", action="store_true", help="a line of JSON for each, with all columns")
    whole = commands.add_parser("export", help="write predictions to a file", formatter_class=HelpFormatter)
    whole.add_argument("output", type=Path, help="the file, .parquet or .csv")
    for one in (tail, whole):
        one.add_argument("--dataset", default=None, help="of this data set only")
        one.add_argument("--version", default=None, help="of this model version only")
        one.add_argument("--since", type=_time, default=None, help="from this time on, UTC: 2023-05-31 or with T12:00")
    old = commands.add_parser("prune", help="remove old requests", formatter_class=HelpFormatter)
    old.add_argument("--days", type=_positive, default=settings.predictions_kept_days, help="how old is kept")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command on the log."""
    settings = read_settings()
    args = _parser(settings).parse_args(argv)
    with opened(settings) as engine:
        {"tail": _tail, "export": _export, "prune": _prune}[args.command](args, engine)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
