"""Stage: search for better parameters inside train, judged by folds. Eval and holdout are never read.

Reads `features/train.parquet`; writes `params.json` (the best) and `study.db`, from which a stopped search resumes.
The first trial is the config's own parameters, and they stay unless the best is better by more than the folds differ.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from src.core import metrics
from src.core.cli import add_family, add_input, add_output_dir, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError
from src.core.files import write_json
from src.core.workspace import Workspace
from src.feature_pipeline import feature_engineering
from src.feature_pipeline.feature_engineering import Matrix, read_matrix
from src.training_pipeline import study as searches
from src.training_pipeline import tracking
from src.training_pipeline.families import Params, Rows, check_rows, estimates, family_of
from src.training_pipeline.folds import Fold, tuning_folds
from src.training_pipeline.progress import progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """One candidate on one fold: the metric in the target's unit and the rounds that early stopping chose."""

    value: float
    rounds: int


Judge = Callable[[Params, int], Judged]
Nested = Callable[[str], AbstractContextManager[tracking.Run]]


def judge_with(data: Matrix, config: DatasetConfig, folds: list[Fold]) -> Judge:
    """Make the function that judges parameters on one fold, by number.

    The judged rows also stop the fit: one fit for each fold instead of two, and the same optimism for every
    candidate. That is good for ranking; eval, which no candidate has seen, says how good the winner is.
    """
    family, rows = family_of(config), Rows(data.X, data.y)
    contests = [family.contest(rows[fold.fit], rows[fold.judge], config) for fold in folds]

    def judge(params: Params, number: int) -> Judged:
        stop, judged = contests[number](params), folds[number].judge
        said = estimates(stop.model, data.X[judged], config)
        return Judged(metrics.scores_of(config.task, data.y[judged], said)[config.tuning.metric], stop.rounds)

    return judge


@dataclass(frozen=True)
class Search:
    """What a search works on: the study, the judge and its number of folds, and the parameters it varies around.

    `at_once` folds are judged side by side: one fit of few rows keeps a single core busy.
    """

    config: DatasetConfig
    study: optuna.Study
    judge: Judge
    folds: int
    base: Params
    at_once: int = 1


def search(job: Search, trials: int, nested: Nested) -> None:
    """Judge candidates until the study holds `trials` finished ones; each is a run of its own, named by number."""
    study, space = job.study, searches.distributions(job.config)
    if not searches.default_trial(study) and not searches.default_trial(study, waiting=True):
        study.enqueue_trial(searches.own_values(job.config, job.base), user_attrs={searches.DEFAULT: True})
    done = len(searches.finished(study))
    with progress("tuning", trials, done=done) as advance:
        while done < trials:
            trial = study.ask(space)
            with _failed_when_stopped(study, trial), nested(f"trial {trial.number}") as record:
                _judge_trial(job, trial, record)
            done += 1
            advance(done, _so_far(study, job.config))


@contextmanager
def _failed_when_stopped(study: optuna.Study, trial: Trial) -> Iterator[None]:
    try:
        yield
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise


def _judge_trial(job: Search, trial: Trial, record: tracking.Run) -> None:
    metric, is_default = job.config.tuning.metric, bool(trial.user_attrs.get(searches.DEFAULT))
    record.log_params(trial.params)
    judged: list[Judged] = []
    pruned = False
    for one in _judged(job, {**job.base, **trial.params}):
        judged.append(one)
        value = float(np.mean([one.value for one in judged]))
        trial.report(value, len(judged) - 1)
        pruned = not is_default and len(judged) < job.folds and trial.should_prune()
        if pruned:
            break
    trial.set_user_attr("folds", [one.value for one in judged])
    trial.set_user_attr("rounds", [one.rounds for one in judged])
    record.log_metrics({f"fold_{number}_{metric}": one.value for number, one in enumerate(judged, 1)})
    record.log_metrics({"rounds": float(np.mean([one.rounds for one in judged]))} | ({} if pruned else {metric: value}))
    record.set_tags({"state": "pruned" if pruned else "complete", searches.DEFAULT: is_default})
    job.study.tell(trial, None if pruned else value, TrialState.PRUNED if pruned else None)


def _judged(job: Search, params: Params) -> Iterator[Judged]:
    """Judge the folds in order; a group of `at_once` begins when the one before it has been asked for whole."""
    with ThreadPoolExecutor(job.at_once) as pool:
        for start in range(0, job.folds, job.at_once):
            yield from pool.map(lambda fold: job.judge(params, fold), range(job.folds)[start : start + job.at_once])


def _so_far(study: optuna.Study, config: DatasetConfig) -> str:
    best, default = study.best_trial, searches.default_trial(study)
    first = f", default {_written(default.value, config)}" if default and default.value else ""
    return f"best {_written(best.value, config)} in trial {best.number}{first}"


def _written(value: float | None, config: DatasetConfig) -> str:
    metric = config.tuning.metric
    label = metrics.LABELS_OF[config.task][metric]
    if config.task == "classification":
        return f"{label} {value:.4f}"
    number = f"{value:,.0f} {config.target.unit}" if metric in metrics.IN_UNIT else f"{100 * (value or 0):.3f} %"
    return f"{label} {number}"


def outcome(study: optuna.Study, config: DatasetConfig, run_id: str | None) -> dict[str, Any]:
    """Sum up a study as `params.json`: the best parameters, their value, the default's, and how many were judged."""
    best, default, judged = study.best_trial, searches.default_trial(study), searches.finished(study)
    if default and best.number != default.number and not _clearly_better(best, default):
        logger.info("trial %d is better by less than the folds differ: the config's own parameters stay", best.number)
        best = default
    return {
        "model": config.model.variant or config.model.family,
        "params": best.params,
        "metric": config.tuning.metric,
        "value": best.value,
        "baseline": default.value if default else None,
        "best": study.best_value,
        "folds": best.user_attrs["folds"],
        "rounds": best.user_attrs["rounds"],
        "trials": len(judged),
        "pruned": sum(trial.state == TrialState.PRUNED for trial in judged),
        "study": study.study_name,
        "run_id": run_id,
    }


def _clearly_better(best: FrozenTrial, default: FrozenTrial) -> bool:
    """Apply the one-standard-error rule (Breiman et al. 1984) to the folds' paired differences.

    On few rows the best of many trials is mostly the luckiest, and does worse than the default on rows to come.
    """
    gains = np.array(default.user_attrs["folds"]) - np.array(best.user_attrs["folds"])
    if len(gains) < 2:
        return bool(gains.mean() > 0)
    return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains)))


def draw(study: optuna.Study, folder: Path, metric: str) -> list[Path]:
    """Write the parallel coordinates, the history and (from four judged candidates on) the importance as HTML."""
    show = optuna.visualization
    figures = {
        "parallel_coordinates": show.plot_parallel_coordinate(study, target_name=metric),
        "history": show.plot_optimization_history(study, target_name=metric),
    }
    values = [trial.value for trial in searches.finished(study) if trial.state == TrialState.COMPLETE]
    if len(values) >= 4 and len(set(values)) > 1:
        figures["importance"] = show.plot_param_importances(study, target_name=metric)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.write_html(folder / f"{name}.html", include_plotlyjs=True)
    return [folder / f"{name}.html" for name in figures]


def prepare(data: Matrix, config: DatasetConfig, settings: Settings, study_file: Path) -> Search:
    """Check the data and the space, cut the folds, and open the study that belongs to them."""
    family = family_of(config)
    threads = family.threads_for(len(data.y), settings.threads)
    base = family.params_of(config, {}, threads)
    family.check_params(base, config)
    searches.distributions(config)
    check_rows(Rows(data.X, data.y), config)
    folds, parts = tuning_folds(data, config)
    if len(folds) < config.tuning.folds:
        what = f"folds of {config.tuning.fold_months} months" if folds[0].months else "folds"
        logger.warning("train is short: %s number %d instead of %d", what, len(folds), config.tuning.folds)
    family.check_params({**base, **searches.own_values(config, base)}, config)
    name = searches.study_name(config, data, parts, folds, base)
    study = searches.open_study(study_file, name, config.model.seed)
    cores = settings.threads or os.cpu_count() or 1
    return Search(config, study, judge_with(data, config, folds), len(folds), base, max(1, cores // (threads or cores)))


def run(
    config: DatasetConfig, settings: Settings, input_dir: Path, output_dir: Path, trials: int | None = None
) -> dict[str, Any]:
    """Search until `trials` are finished in all (the config's number if not given); returns `params.json`.

    Stopped by Ctrl-C, it keeps the finished trials and writes the best of them.
    """
    wanted = trials or config.tuning.trials
    job = prepare(read_matrix(input_dir / "train.parquet", config), config, settings, output_dir / "study.db")
    study, done = job.study, len(searches.finished(job.study))
    if done:
        logger.info("resuming %s: %d of %d trials are already done", study.study_name, done, wanted)
    with tracking.start(config, settings, "tune", run_id=study.user_attrs.get("run_id")) as record:
        study.set_user_attr("run_id", record.id)
        record.log_params(_described(job))
        try:
            search(job, wanted, lambda name: tracking.start(config, settings, name, parent=record))
        except KeyboardInterrupt:
            kept = len(searches.finished(study))
            logger.warning("stopped: %d of %d trials are kept; the same command goes on from there", kept, wanted)
            if searches.default_trial(study):
                write_json(output_dir / "params.json", outcome(study, config, record.id))
            raise
        found = outcome(study, config, record.id)
        write_json(output_dir / "params.json", found)
        record.log_metrics({key: found[key] for key in ("value", "baseline", "trials", "pruned")})
        record.log_files([output_dir / "params.json", *draw(study, output_dir / "plots", config.tuning.metric)])
    logger.info("%d trials, %d pruned: %s", found["trials"], found["pruned"], _so_far(study, config))
    return found


def _described(job: Search) -> dict[str, Any]:
    space = {f"space.{name}": spec.model_dump() for name, spec in job.config.tuning.space.items()}
    fixed = {name: value for name, value in job.base.items() if name not in job.config.tuning.space}
    return {"study": job.study.study_name, "folds": job.folds, "metric": job.config.tuning.metric, **space, **fixed}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args_parser = parser(__doc__.splitlines()[0])
    add_input(args_parser, "folder of the features; the workspace's data/features if not given")
    add_output_dir(args_parser, "folder of params.json and study.db; the workspace's data/model if not given")
    add_family(args_parser)
    args_parser.add_argument("--trials", type=int, help="trials in all, those of a stopped search included")
    args = args_parser.parse_args(argv)
    if args.trials is not None and args.trials < 1:
        raise ConfigError(f"--trials must be at least 1, not {args.trials}")
    settings = read_settings()
    config = read_dataset(args, settings).variant(args.family)
    workspace = Workspace.of(config.name, settings)
    if args.input is None:
        feature_engineering.ensure(config, workspace, settings)
    output_dir = args.output_dir or workspace.model
    run(config, settings, args.input or workspace.features, output_dir, args.trials)
    logger.info("best parameters in %s", output_dir / "params.json")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
