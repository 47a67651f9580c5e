"""Train a challenger on the newest data when it is due, and let it take the champion's place only if it is better.

Due: an alert of one of `retraining.after` is open, or the champion's training data have become old, and the last
decision is some months of data ago; `--force` asks for one now. The challenger is the YAML's recipe with what the
champion's search chose, trained on all but the newest months. Those are priced by both, and the champion gives way only
if the confidence interval of the difference in MAE lies below 0 and the gate passes. The model that was judged is the
one that serves: it is not fitted again with the months that judged it.

Everything is made in a folder of its own, and the pointer is moved last and only if the champion is still the current
version: whatever fails, the champion serves. Each decision is a row of the table `retrainings`, which is there from the
start: one that was killed is on record as failed. A challenger that was refused stays in the store.

Exit codes: 0 where nothing was due, the challenger was promoted, or the champion is as good; 1 where the gate alone
stopped a better challenger or a first model, a store or database failed, or somebody else promoted meanwhile; 2 where
the data or the config do not allow it.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console, Group, RenderableType
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from src.core import lineage
from src.core.cli import add_store, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings, parse_config
from src.core.errors import ConfigError, GateError, HousecastError
from src.core.sections import TimeSplit
from src.core.store import Store, open_store
from src.core.workspace import Workspace
from src.feature_pipeline import load, sources
from src.monitoring import decisions
from src.monitoring.attempt import Attempt, Newest
from src.monitoring.database import opened
from src.monitoring.decisions import Champion
from src.monitoring.duel import Duel
from src.training_pipeline import challenger

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """What a retraining came to: not due, promoted or refused; what fails is raised."""

    outcome: str
    reason: str
    due: str
    champion: str | None
    challenger: str | None = None
    duel: Duel | None = None

    def require(self) -> None:
        """Raise GateError where the gate alone stopped the challenger: a better model, or the first one."""
        if self.outcome == "refused" and (self.duel is None or self.duel.is_won):
            raise GateError(f"{self.challenger} is not promoted: {self.reason}")


def newest_data(config: DatasetConfig, settings: Settings, source: str | None, space: Workspace) -> Newest:
    """Read the source, and move the split forward to its newest months (ConfigError, DataError)."""
    challenger.require_months(config)
    chosen = sources.own_source(config, settings) if source is None else source
    path = sources.resolve(chosen, config, settings, space.downloads)
    logger.info("reading %s", path.name)
    rows = load.read(path, config)
    newest = challenger.newest_of(rows, config)
    loaded = load.Loaded(config.name, sources.recorded(chosen, settings), load.fingerprint(path), rows.height, {})
    return Newest(challenger.forwarded(config, newest), rows, loaded, f"{newest:%Y-%m}")


def champion_of(config: DatasetConfig, store: Store) -> Champion | None:
    """Return the version that serves, None where there is none.

    Raises:
        ConfigError: it was trained on rows drawn at random, so that it may have seen any month.
        StoreError, BundleError: the store or the version cannot be read.
    """
    pointer = store.current(config.name)
    if pointer is None:
        return None
    text = lineage.config_of(store, config.name, pointer.version)
    split = parse_config(text, f"{pointer.version}/config.yaml").split
    if not isinstance(split, TimeSplit):
        raise ConfigError(
            f"{config.name}: the current {pointer.version} was trained on rows drawn at random, so no month is unseen"
            " by it: publish one that is cut by time with `python -m src.pipeline` first"
        )
    return Champion(pointer.version, split.eval_from)


def run(
    config: DatasetConfig,
    settings: Settings,
    store: Store,
    engine: sa.Engine,
    source: str | None = None,
    *,
    force: bool = False,
    check: bool = False,
    now: datetime | None = None,
) -> Decision:
    """Retrain if it is due; with `check` only tell whether it is.

    Args:
        config: the data set, whose split is moved forward to the newest data.
        settings: the deployment; its workspace is left as it is, but for MLflow's record.
        store: of the models.
        engine: the monitoring database, from `database.opened`.
        source: of the newest rows, what `load` reads; the config's own if None.
        force: due in any case.
        check: decide nothing, file nothing.
        now: when; this moment if None.

    Raises:
        ConfigError, DataError: config or data do not allow a comparison.
        StoreError: a store failed, or somebody else promoted meanwhile.
        SQLAlchemyError: the database failed.
    """
    with tempfile.TemporaryDirectory(prefix="housecast-", dir=settings.cache) as scratch:
        space = Workspace(Path(scratch), config.name)
        data = newest_data(config, settings, source, space)
        champion = champion_of(config, store)
        version = champion.version if champion else None
        asked = decisions.due(config, engine, champion, data.month, force=force)
        logger.info("%s: %s", "due" if asked.is_due else "not due", asked.why)
        if check or not asked.is_due:
            return Decision("due" if asked.is_due else "not due", asked.why, asked.why, version)
        number = decisions.begin(engine, config.name, now or datetime.now(UTC), data.month, asked.why, champion)
        attempt = Attempt(settings, store, engine, data, champion, number)
        try:
            outcome, reason, fought = attempt.decide(space)
        except Exception as error:
            _file_failure(attempt, error)
            raise
        logger.info("%s: %s", outcome, reason)
        decisions.file(engine, number, attempt.found | {"outcome": outcome, "reason": reason})
    return Decision(outcome, reason, asked.why, version, attempt.found["challenger"], fought)


def _file_failure(attempt: Attempt, error: Exception) -> None:
    said = str(error) if isinstance(error, HousecastError) else f"{type(error).__name__}: {error}"
    try:
        decisions.file(attempt.engine, attempt.number, attempt.found | {"outcome": "failed", "reason": said})
    except SQLAlchemyError:
        logger.warning("the database does not take the reason either; it says: %s", decisions.UNFINISHED)


def summary(decision: Decision, config: DatasetConfig) -> RenderableType:
    """Lay out for a terminal: both models on each judged month, the difference, and what was decided."""
    lines: list[RenderableType] = []
    if decision.duel:
        lines += [decision.duel.table(config.name, config.target.unit), Text()]
    lines += [Text(f"{name:<11}{value}") for name, value in _facts(decision)]
    return Group(*lines)


def _facts(decision: Decision) -> list[tuple[str, str]]:
    facts = [("champion", decision.champion or "none")]
    if decision.challenger:
        facts += [("challenger", decision.challenger), ("due", decision.due)]
    return [*facts, (decision.outcome, decision.reason)]


def main(argv: Sequence[str] | None = None) -> None:
    """Retrain from the command line."""
    made = parser(__doc__)
    made.add_argument("--data", help="newest rows: file, folder or address; the config's own source if not given")
    add_store(made)
    made.add_argument("--force", action="store_true", help="now, whether it is due or not")
    made.add_argument("--check", action="store_true", help="only tell whether it is due, and why")
    args = made.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    store = open_store(args.store, settings, Workspace.of(config.name, settings).store)
    with opened(settings) as engine:
        decision = run(config, settings, store, engine, args.data, force=args.force, check=args.check)
    Console(soft_wrap=True).print(summary(decision, config))
    decision.require()


if __name__ == "__main__":
    raise SystemExit(run_command(main))
