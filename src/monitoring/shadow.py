"""Compare what the challenger said in shadow mode with what the champion answered, and with what came true.

The API writes both to the prediction log, where SHADOW_SHARE is above 0: this reads them from there.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from src.core.cli import parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig
from src.core.errors import ConfigError
from src.monitoring import duel, recorded
from src.monitoring.database import opened
from src.monitoring.duel import Duel
from src.monitoring.tables import requests

# The places where the two differ most are shown.
SHOWN = 5
DAYS = 30


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same requests; `rows` has a line for each prediction that both made.

    `rows`: at, key, month, champion, challenger, ratio (challenger / champion), value (what came true, if known).
    """

    dataset: str
    champion: str
    challenger: str
    requests: int
    failed: int
    rows: pl.DataFrame
    milliseconds: tuple[float | None, float | None]  # medians
    fought: Duel | None


def compare(config: DatasetConfig, engine: sa.Engine, since: datetime) -> Comparison:
    """Compare the newest challenger with the champion on the requests since a time that both have priced.

    Raises:
        ConfigError: classes are not compared, or no challenger has priced anything since.
    """
    if config.task == "classification":
        raise ConfigError(f"{config.name}: shadow mode compares prices; of classes the log has both answers")
    ours = (requests.c.dataset == config.name, requests.c.at >= since)
    shadowed = (*ours, requests.c.role == "challenger")
    with engine.connect() as connection:
        newest = sa.select(requests.c.version).where(*shadowed).order_by(requests.c.at.desc(), requests.c.id.desc())
        version = connection.execute(newest.limit(1)).scalar()
    if version is None:
        raise ConfigError(
            f"{config.name}: no challenger has priced a request since {since:%Y-%m-%d}: move a version to staging, and"
            " start the API with SHADOW_SHARE above 0"
        )
    theirs = (*shadowed, requests.c.version == version)
    with engine.connect() as connection:
        count, failed, took = _counts(connection, theirs)
        pairs = sa.select(requests.c.request_id).where(*theirs, requests.c.status < 500)
        champions = (*ours, requests.c.role == "champion", requests.c.request_id.in_(pairs))
        slow = _counts(connection, champions)[2]
    both = _predictions(engine, champions).join(
        _predictions(engine, theirs), on=["request_id", "row"], suffix="_challenger", maintain_order="left"
    )
    told = recorded.told(engine, config.name).select("key", "month", "value")
    rows = both.select(
        "at", "version", "key", "month", champion="estimate", challenger="estimate_challenger",
        ratio=pl.col("estimate_challenger") / pl.col("estimate"),
    ).join(told, on=["key", "month"], how="left", maintain_order="left")  # fmt: skip
    served = rows["version"].last() if rows.height else "none"
    return Comparison(config.name, str(served), version, count, failed, rows, (slow, took), _fought(rows, config))


def _counts(connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]]) -> tuple[int, int, float | None]:
    failures = sa.func.coalesce(sa.func.sum(sa.case((requests.c.status >= 500, 1), else_=0)), 0)
    total, failed = connection.execute(sa.select(sa.func.count(), failures).where(*where)).one()
    middle = sa.select(requests.c.milliseconds).where(*where).order_by(requests.c.milliseconds)
    return total, failed, connection.execute(middle.limit(1).offset(total // 2)).scalar() if total else None


def _predictions(engine: sa.Engine, where: Sequence[sa.ColumnElement[bool]]) -> pl.DataFrame:
    none = pl.DataFrame(schema=recorded.SCHEMA)
    names = ("request_id", "row", "at", "version", "key", "month", "estimate")
    # A caller may send an id twice: the last answer counts.
    return pl.concat(part.select(names) for part in (none, *recorded.frames(engine, where))).unique(
        ["request_id", "row"], keep="last", maintain_order=True
    )


def _fought(rows: pl.DataFrame, config: DatasetConfig) -> Duel | None:
    known = rows.filter(pl.col("value").is_not_null())
    if known["key"].n_unique() < duel.MIN_PLACES:
        return None
    told = known.select("month", place="key", actual="value")
    ours, theirs = known["champion"].to_numpy(), known["challenger"].to_numpy()
    return duel.judge(told, ours, theirs, config.retraining.confidence, config.model.seed)


def tables(found: Comparison, unit: str) -> list[Table]:
    """Lay the comparison out for a terminal."""
    made = Table(title=f"{found.dataset}: {found.challenger} beside {found.champion}", title_justify="left")
    made.add_column("on the same requests")
    made.add_column("", justify="right")
    ratio = found.rows["ratio"].to_numpy()
    off = np.abs(ratio - 1)
    facts = [
        ("requests that the challenger priced", f"{found.requests - found.failed:,}"),
        ("requests that it could not price", f"{found.failed:,}"),
        ("predictions of both", f"{found.rows.height:,}"),
    ]
    if found.rows.height:
        facts += [
            ("challenger / champion, median", f"{np.median(ratio):.3f}"),
            ("apart by, median", f"{np.median(off):.1%}"),
            ("apart by more than 10 %", f"{(off > 0.1).mean():.1%}"),
        ]
    facts += [
        (f"{name}'s milliseconds a request, median", "none" if one is None else f"{one:,.2f}")
        for name, one in zip(("champion", "challenger"), found.milliseconds, strict=True)
    ]
    for name, value in facts:
        made.add_row(name, value)
    shown = [made]
    if found.rows.height:
        most = Table(title="farthest apart", title_justify="left")
        for name in ("key", "month", f"champion, {unit}", f"challenger, {unit}"):
            most.add_column(name, justify="right" if unit in name else "left")
        for row in (
            found.rows.with_columns(off=pl.Series(off)).sort("off", descending=True).head(SHOWN).iter_rows(named=True)
        ):
            most.add_row(row["key"] or "", row["month"] or "", f"{row['champion']:,.0f}", f"{row['challenger']:,.0f}")
        shown.append(most)
    if found.fought:
        shown.append(found.fought.table(found.dataset, unit))
    return shown


def main(argv: Sequence[str] | None = None) -> None:
    """Compare at the command line."""
    made = parser(str(__doc__))
    made.add_argument("--days", type=_days, default=DAYS, help="requests of so many days back")
    args = made.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    with opened(settings) as engine:
        found = compare(config, engine, datetime.now(UTC) - timedelta(days=args.days))
    console = Console()
    for one in tables(found, config.target.unit):
        console.print(one)
    said = (
        found.fought.words(config.target.unit)
        if found.fought
        else (f"not enough data to say which is better: what came true is known of fewer than {duel.MIN_PLACES} places")
    )
    console.print(said, soft_wrap=True)


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
