"""Stage: judge the trained model on eval and holdout, pass or fail it at the gate, publish it to the store.

Writes the report (`index.html`, `scores.json`, plots). A model that fails the gate is kept in the store and tagged, and
not promoted; the exit code is then 1.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from src.core.cli import add_input, add_output_dir, add_store, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.store import Store, open_store
from src.core.workspace import Workspace
from src.feature_pipeline import feature_engineering
from src.training_pipeline import candidate as candidates
from src.training_pipeline import charts, gate, lifecycle, publish, report, scorecard, tracking, train
from src.training_pipeline.candidate import Candidate
from src.training_pipeline.gate import Verdict
from src.training_pipeline.model_card import comparison, confusion
from src.training_pipeline.scorecard import NOT_ENOUGH, Scorecard

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """The folders that the stage reads, and the one that it writes its report to."""

    model: Path
    features: Path
    raw: Path
    reports: Path


@dataclass(frozen=True)
class Evaluation:
    """Scorecards by split, the gate's verdict, and where things are; `version` is None if nothing was published."""

    config: DatasetConfig
    cards: dict[str, Scorecard]
    verdict: Verdict
    report: Path
    store: str
    version: str | None
    promoted: bool

    def require(self) -> None:
        """Raise GateError when the gate stopped the model."""
        self.verdict.require(self.version or "the model")


def run(
    config: DatasetConfig,
    settings: Settings,
    places: Places,
    store: Store,
    *,
    publishing: bool,
    promoting: bool = True,
) -> Evaluation:
    """Judge the trained model and, if `publishing`, put it into the store and promote it when the gate passes.

    A failed gate is in the result, not raised: see `Evaluation.require`. Without `promoting` the version is only put
    into the store, for somebody else to decide about.

    Raises:
        DataError: a stage before this one has not run, or a split cannot be judged.
        GateError: the bundle does not serve what was evaluated.
        StoreError: the store refused, or somebody else promoted meanwhile.
    """
    candidate = candidates.load(config, places.model, places.features, places.raw)
    config = candidate.config
    logger.info("judging %s", ", ".join(f"{len(m.y):,} rows of {s}" for s, m in candidate.matrices.items()))
    said = candidates.judged(candidate)
    cards = {one.split: scorecard.judge(one, config) for one in said}
    current, note, expected = publish.compare_current(candidate, store, settings)
    verdict = gate.judge(config, cards, current, note)
    drawn = charts.charts(said, candidates.curves(candidate), config)
    page = report.write(places.reports, config, cards, verdict, drawn)
    version, promoted = None, False
    with tracking.start(config, settings, "evaluate", run_id=candidate.training.get("run_id")) as record:
        record.log_metrics({f"{c.split}_{name}": v for c in cards.values() for name, v in c.values().items()})
        record.log_files(places.reports, "evaluation")
        record.set_tags(publish.gate_tags([line.text for line in verdict.failed]))
        if publishing:
            version = _publish(candidate, cards, verdict, store, settings, record)
            try:
                promoted = promoting and publish.promote(store, config, version, verdict, expected)
            finally:
                lifecycle.mirror(config, settings, store)
    return Evaluation(config, cards, verdict, page, str(store), version, promoted)


def _publish(
    candidate: Candidate,
    cards: dict[str, Scorecard],
    verdict: Verdict,
    store: Store,
    settings: Settings,
    record: tracking.Run,
) -> str:
    config = candidate.config
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        scores = {**report.as_plain(cards, verdict), "training": publish.training_section(candidate, record.id)}
        version = publish.assemble(candidate, cards, scores, folder, settings)
        publish.check_serving(candidate, folder, settings)
        store.publish(config.name, folder)
        tags = publish.gate_tags([line.text for line in verdict.failed])
        tracking.register(config, settings, record, folder, version, tags)
    return version


def summary(result: Evaluation) -> RenderableType:
    """Lay out for a terminal: scores beside baselines, coverage beside nominal, the gate, and where things are."""
    tables: list[RenderableType] = []
    tables += [_scores(card, result.config.target.unit) for card in result.cards.values()]
    if result.config.task == "classification":
        tables += [_confusion(card, result.config.target.classes) for card in result.cards.values()]
    else:
        tables.append(_coverage(result))
    tables.append(gate.table(result.verdict))
    version = result.version or "not published"
    state = "current" if result.promoted else "kept, not promoted" if result.version else "--no-publish"
    return Group(*tables, Text(f"model   {version} ({state}) in {result.store}"), Text(f"report  {result.report}"))


def _scores(card: Scorecard, unit: str) -> Table:
    """Put the model and its baselines side by side, a score a line: that fits a terminal of 80 columns."""
    made = Table(title=": ".join(filter(None, (card.split, card.dates))))
    made.add_column("")
    who = list(comparison(card, unit))
    for position, column in enumerate(who):
        made.add_column(column[0], justify="right", style="bold" if position == 0 else None)
    for line, name in enumerate(["rows", *card.labels.values()], start=1):
        cells = [column[line] for column in who]
        in_unit = any(text.endswith(f" {unit}") for text in cells)
        made.add_row(f"{name}, {unit}" if in_unit else name, *(text.removesuffix(f" {unit}") for text in cells))
    return made


def _confusion(card: Scorecard, classes: tuple[str, ...]) -> Table:
    made = Table(title=f"{card.split}: rows by actual (down) and predicted class")
    made.add_column("")
    for name in classes:
        made.add_column(name, justify="right")
    for row in confusion(card, classes):
        made.add_row(*row)
    return made


def _coverage(result: Evaluation) -> Table:
    made = Table(title="Intervals: observed coverage (mean width / estimate)")
    made.add_column("nominal", justify="right")
    for split in result.cards:
        made.add_column(f"{split}, cross-fitted" if split == "eval" else split, justify="right")
    for level in result.config.levels:
        cells = []
        for card in result.cards.values():
            held = next((c for c in card.coverage if c.level == level), None)
            cells.append(f"{100 * held.observed:.1f} % ({100 * held.width:.1f} %)" if held else NOT_ENOUGH)
        made.add_row(f"{100 * level:g} %", *cells)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    made = parser(__doc__.splitlines()[0])
    add_input(made, "folder of the features; the workspace's data/features if not given")
    made.add_argument("--model", type=Path, default=None, help="folder of model.ubj; else the workspace's data/model")
    made.add_argument("--raw", type=Path, default=None, help="folder of the raw splits; else the workspace's data/raw")
    add_output_dir(made, "folder of the report; the workspace's reports/evaluation if not given")
    add_store(made)
    made.add_argument("--no-publish", action="store_true", help="judge only: nothing enters the store")
    args = made.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    workspace = Workspace.of(config.name, settings)
    places = Places(
        args.model or workspace.model,
        args.input or workspace.features,
        args.raw or workspace.raw,
        args.output_dir or workspace.reports / "evaluation",
    )
    store = open_store(args.store, settings, workspace.store)
    if args.model is None and args.input is None and not (workspace.model / "train.json").is_file():
        logger.info("no model in %s yet: training one", workspace.model)
        feature_engineering.ensure(config, workspace, settings)
        train.run(config, settings, workspace.features, workspace.model)
    result = run(config, settings, places, store, publishing=not args.no_publish)
    Console().print(summary(result))
    result.require()


if __name__ == "__main__":
    raise SystemExit(run_command(main))
