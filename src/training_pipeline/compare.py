"""Compare every family of a config with each other and with baselines, on the same repeated splits.

Each family is fitted to everything but the holdout, with the config's parameters: there are no intervals here for eval
to calibrate, and no search, whose rows another split's holdout would hold. Prints one leaderboard for each kind of
split and leaves `leaderboard.json` and a picture of each in the reports, and a run for each family in MLflow.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from src.core import metrics, tables
from src.core.cli import add_output_dir, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.core.files import write_json
from src.core.sections import RandomSplit, TimeSplit
from src.core.workspace import Workspace
from src.feature_pipeline import feature_engineering, load, preprocess, sources, splits
from src.feature_pipeline.feature_engineering import Matrix
from src.training_pipeline import baselines, leaderboard, tracking, train
from src.training_pipeline.families import Array, estimates, family_of
from src.training_pipeline.leaderboard import Entrant, Leaderboard
from src.training_pipeline.progress import progress

logger = logging.getLogger(__name__)

Judge = Callable[[Matrix, Matrix], Array]
WIDE = 180


@dataclass(frozen=True)
class Round:
    """One split of the rows: those to fit and those that judge, as loaded."""

    fit: pl.DataFrame
    judge: pl.DataFrame


def rounds_of(frame: pl.DataFrame, config: DatasetConfig) -> dict[str, list[Round]]:
    """Cut typed rows in every way that `compare` lists; kind of split -> its rounds.

    Raises:
        DataError: a split is left without a row.
    """
    rule, compare = config.split, config.compare
    found = {}
    if isinstance(rule, TimeSplit):
        found["by time"] = [_round(frame, config)]
    elif compare.folds:
        found[f"{compare.folds}-fold cross-validation"] = _folds(frame, config, rule, compare.folds)
    else:
        seeds = compare.seeds or (rule.seed,)
        named = f"{1 - rule.holdout:.0%} to {rule.holdout:.0%} at random, seeds {', '.join(map(str, seeds))}"
        found[named] = [_round(frame, _with(config, rule.model_copy(update={"seed": seed}))) for seed in seeds]
    for name, other in compare.splits.items():
        found[name] = [_round(frame, _with(config, other))]
    return found


def _with(config: DatasetConfig, split: TimeSplit | RandomSplit) -> DatasetConfig:
    return config.model_copy(update={"split": split})


def _round(frame: pl.DataFrame, config: DatasetConfig) -> Round:
    parts = splits.split(frame, config)
    return Round(pl.concat([parts["train"], parts["eval"]]), parts["holdout"])


def _folds(frame: pl.DataFrame, config: DatasetConfig, rule: RandomSplit, count: int) -> list[Round]:
    part = splits.parts(frame, config, rule, count)
    if len(np.unique(part)) < count:
        raise DataError(f"compare.folds: {frame.height:,} rows make no {count} parts")
    return [Round(frame.filter(pl.Series(part != k)), frame.filter(pl.Series(part == k))) for k in range(count)]


def matrices(one: Round, config: DatasetConfig) -> tuple[Matrix, Matrix]:
    """Clean a round's rows and make their features, fitted on the rows to fit alone."""
    frames = preprocess.cleaned_splits({"train": one.fit, "holdout": one.judge}, config)[0]
    encoded, _ = feature_engineering.encoded_splits(frames, config)
    fit, judge = (feature_engineering.matrix_of(encoded[name], config, name) for name in ("train", "holdout"))
    return fit, judge


def candidates_of(config: DatasetConfig, settings: Settings) -> dict[str, tuple[DatasetConfig, Judge]]:
    """Return what is compared: name -> its config and the function that fits and answers."""
    names = [None, *config.families]
    variants = [config.variant(name) for name in names]
    return {
        variant.model.variant or variant.model.family: (variant, _fit_with(variant, settings)) for variant in variants
    }


def _fit_with(config: DatasetConfig, settings: Settings) -> Judge:
    def judge(fit: Matrix, rows: Matrix) -> Array:
        family = family_of(config)
        params = family.params_of(config, {}, family.threads_for(len(fit.y), settings.threads))
        return estimates(train.train(fit, config, params).model, rows.X, config)

    return judge


def baselines_of(config: DatasetConfig) -> dict[str, Judge]:
    """Return the baselines that need no history, as functions like those of the families."""
    if config.task == "classification":
        count = len(config.target.classes)

        def shares(fit: Matrix, rows: Matrix) -> Array:
            return np.tile(np.bincount(fit.y.astype(np.int64), minlength=count) / len(fit.y), (len(rows.y), 1))

        return {baselines.LABELS["majority"]: shares}
    transform = config.target.transform

    def linear(fit: Matrix, rows: Matrix) -> Array:
        return baselines.Linear.stronger(fit.X, fit.y, transform).predict(rows.X)

    return {
        baselines.LABELS["median"]: lambda fit, rows: baselines.median_of(fit.y, len(rows.y)),
        baselines.LABELS["linear"]: linear,
    }


def judged(name: str, rounds: Sequence[Round], config: DatasetConfig, settings: Settings) -> Leaderboard:
    """Fit and judge everything on one kind of split."""
    entrants = candidates_of(config, settings)
    functions: dict[str, tuple[DatasetConfig, Judge]] = {
        **{label: (config, judge) for label, judge in baselines_of(config).items()},
        **entrants,
    }
    scores: dict[str, list[dict[str, float]]] = {label: [] for label in functions}
    seconds, negative, rows = dict.fromkeys(functions, 0.0), dict.fromkeys(functions, 0), []
    with progress(f"comparing, {name}", len(rounds) * len(functions), log_every=len(functions)) as advance:
        for number, one in enumerate(rounds):
            fit, judge_on = matrices(one, config)
            rows.append((len(fit.y), len(judge_on.y)))
            for place, (label, (variant, judge)) in enumerate(functions.items(), 1):
                start = time.perf_counter()
                said = judge(_seen_by(variant, fit, config), _seen_by(variant, judge_on, config))
                seconds[label] += (time.perf_counter() - start) / len(rounds)
                scores[label].append(metrics.scores_of(config.task, judge_on.y, said))
                negative[label] += int((said < 0).sum()) if config.task == "regression" else 0
                advance(number * len(functions) + place, label)
    found = [Entrant(label, tuple(scores[label]), seconds[label], negative[label]) for label in functions]
    return leaderboard.ranked(name, config, found, rows)


def _seen_by(variant: DatasetConfig, matrix: Matrix, config: DatasetConfig) -> Matrix:
    if variant.feature_names == config.feature_names:
        return matrix
    columns = [config.feature_names.index(name) for name in variant.feature_names]
    return Matrix(np.ascontiguousarray(matrix.X[:, columns]), matrix.y, matrix.meta)


def run(config: DatasetConfig, settings: Settings, source: str | None, output_dir: Path) -> list[Leaderboard]:
    """Compare on every kind of split and write the leaderboards.

    Raises:
        ConfigError: the config lists no family to compare with, or a family's parameters are wrong.
        DataError: the source cannot be read, or a split is left without a row.
    """
    if not config.families:
        raise ConfigError(f"{config.name} lists no `families` to compare with its model")
    downloads = Workspace.of(config.name, settings).raw.parent / "downloads"
    chosen = sources.own_source(config, settings) if source is None else source
    frame = load.read(sources.resolve(chosen, config, settings, downloads), config)
    boards = []
    with tracking.start(config, settings, "compare") as record:
        for number, (name, rounds) in enumerate(rounds_of(frame, config).items(), 1):
            board = judged(name, rounds, config, settings)
            picture = output_dir / f"leaderboard_{number}.png"
            leaderboard.draw(board, config, picture)
            boards.append(board)
            _record(board, config, settings, record, name)
            record.log_files([picture])
        write_json(output_dir / "leaderboard.json", [board.plain() for board in boards])
        record.log_files([output_dir / "leaderboard.json"])
    return boards


def _record(board: Leaderboard, config: DatasetConfig, settings: Settings, record: tracking.Run, name: str) -> None:
    for one in board.entrants:
        with tracking.start(config, settings, one.name, parent=record) as run_:
            mean, low, high = board.difference(one)
            run_.set_tags({"splits": name, "difference": f"{mean:.6g} ({low:.6g} to {high:.6g}) {board.metric}"})
            run_.log_curves({metric: one.values(metric).tolist() for metric in one.scores[0]})
            run_.log_metrics({f"mean_{metric}": float(one.values(metric).mean()) for metric in one.scores[0]})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison from the command line."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--input", help="raw file, folder or URI; the config's own source if not given")
    add_output_dir(made, "folder of the leaderboards; the workspace's reports/compare if not given")
    args = made.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    output_dir = args.output_dir or Workspace.of(config.name, settings).reports / "compare"
    boards = run(config, settings, args.input, output_dir)
    shown = tables.console(WIDE)
    for board in boards:
        shown.print(leaderboard.table(board, config))
    logger.info("leaderboards in %s", output_dir)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
