"""Run every stage in order: load, validate, preprocess, features, tune, train, evaluate and publish, monthly batch.

A stage whose inputs, config, arguments and code have not changed since it last succeeded is skipped.
"""

import hashlib
import logging
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from src.batch import run_monthly
from src.core.address import shown
from src.core.cli import add_store, parser, read_dataset, read_settings, run_command
from src.core.config import PROJECT, DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.core.files import read_json, replacing, write_json
from src.core.predictions_store import open_predictions
from src.core.store import Store, open_store
from src.core.workspace import SPLITS, Workspace
from src.feature_pipeline import feature_engineering, load, preprocess, sources, validate
from src.inference_pipeline.models import file_of
from src.training_pipeline import eval as evaluation
from src.training_pipeline import train, tune
from src.training_pipeline.tracking import tracking_uri

logger = logging.getLogger(__name__)

SUMMARY = "summary.txt"


@dataclass(frozen=True)
class Stage:
    """One step: `inputs` and `arguments` decide whether it must run, `outputs` are what it leaves."""

    name: str
    run: Callable[[], Any]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    arguments: Callable[[], str] = lambda: ""


@cache
def code_version() -> str:
    """Return a digest of the package's source and of the locked dependencies."""
    digest = hashlib.sha256()
    files = [*sorted((PROJECT / "src").rglob("*.py")), *sorted((PROJECT / "src").rglob("*.pyx"))]
    for path in [*files, *(lock for lock in [PROJECT / "uv.lock"] if lock.is_file())]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _content(path: Path) -> str:
    return load.fingerprint(path) if path.exists() else "absent"


def _key(stage: Stage, config: DatasetConfig) -> str:
    parts = [stage.name, config.digest, code_version(), stage.arguments(), *(_content(path) for path in stage.inputs)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _unchanged(stage: Stage, key: str, stamp: Path) -> bool:
    """Tell whether the stage last succeeded on the same things and its outputs are still as it left them."""
    try:
        last = read_json(stamp)
    except (FileNotFoundError, DataError):
        return False
    return bool(last["key"] == key and last["outputs"] == {str(path): _content(path) for path in stage.outputs})


def run_stages(stages: Sequence[Stage], config: DatasetConfig, stamps: Path, *, force: bool = False) -> None:
    """Run the stages in order, skipping the unchanged; the first error ends it, and what was done stays done."""
    for number, stage in enumerate(stages, 1):
        where, key, stamp = f"[{number}/{len(stages)}]", _key(stage, config), stamps / f"{stage.name}.json"
        if not force and _unchanged(stage, key, stamp):
            logger.info("%s %s: skipped, nothing has changed since it last ran", where, stage.name)
            continue
        logger.info("%s %s ...", where, stage.name)
        stamp.unlink(missing_ok=True)
        start = time.perf_counter()
        stage.run()
        # The key is taken anew: publishing and the batch change what the stores hold.
        key = _key(stage, config)
        write_json(stamp, {"key": key, "outputs": {str(path): _content(path) for path in stage.outputs}})
        logger.info("%s %s: done in %.1f s", where, stage.name, time.perf_counter() - start)


def _files(folder: Path, suffix: str = ".parquet") -> tuple[Path, ...]:
    return tuple(folder / f"{split}{suffix}" for split in SPLITS)


def stages_of(
    config: DatasetConfig, settings: Settings, store: Store, source: str | None = None, trials: int | None = None
) -> list[Stage]:
    """List the stages of one dataset in its workspace.

    Args:
        config: the dataset.
        settings: the deployment.
        store: where the model is published, and from where the batch takes it.
        source: what `load` reads; the config's own source if None.
        trials: of the search; the config's number if None.
    """
    space = Workspace.of(config.name, settings)
    chosen = source or sources.own_source(config, settings)
    file = (Path(chosen),) if Path(chosen).exists() else ()
    summary, record = space.reports / SUMMARY, space.reports / "published.json"
    beside = (config.lookup_file,) if config.lookup_file else ()
    predictions = open_predictions(config.name, settings)
    model = (space.model / file_of(config), space.model / "train.json")

    def evaluate() -> None:
        places = evaluation.Places(space.model, space.features, space.raw, space.reports / "evaluation")
        result = evaluation.run(config, settings, places, store, publishing=True)
        write_json(record, {"version": result.version, "store": result.store})
        with replacing(summary) as path, path.open("w", encoding="utf-8") as stream:
            Console(file=stream, width=80).print(evaluation.summary(result))
        if not result.promoted:
            print_summary(config, settings, source)
        result.require()

    def published() -> str:
        version = read_json(record)["version"] if record.is_file() else None
        return f"{store} {version if version in store.versions(config.name) else 'nothing'}"

    def current() -> str:
        pointer = store.current(config.name)
        return f"{store} {pointer.version if pointer else None}"

    def priced() -> str:
        return " ".join([current(), str(predictions), *(f"{file.name} {file.tag}" for file in predictions.files())])

    stages = [
        Stage(
            "load",
            lambda: load.run(config, source, settings, space.raw, csv=True),
            file,
            (*_files(space.raw), *_files(space.raw, ".csv"), space.raw / "load.json"),
            # What is fetched from elsewhere may have changed, so it is fetched each time.
            lambda: chosen if file or chosen.startswith(("simulate:", "sklearn:")) else f"{chosen} {time.time()}",
        ),
        Stage(
            "validate",
            lambda: validate.run(config, space.raw, space.reports / "quality"),
            _files(space.raw),
            tuple(space.reports / "quality" / f"{split}.json" for split in SPLITS),
        ),
        Stage(
            "preprocess",
            lambda: preprocess.run(config, space.raw, space.processed),
            (*_files(space.raw), *beside),
            (*_files(space.processed), space.processed / "preprocess.json"),
        ),
        Stage(
            "features",
            lambda: feature_engineering.run(config, space.processed, space.features),
            (*_files(space.processed), *beside),
            (*_files(space.features), space.features / "encoders.pkl", space.features / "features.json"),
        ),
        Stage(
            "tune",
            lambda: tune.run(config, settings, space.features, space.model, trials),
            (space.features / "train.parquet",),
            (space.model / "params.json",),
            lambda: str(trials),
        ),
        Stage(
            "train",
            lambda: train.run(config, settings, space.features, space.model),
            (space.features / "train.parquet", space.model / "params.json"),
            model,
        ),
        Stage(
            "evaluate", evaluate, (*model, *_files(space.features), *_files(space.raw)), (summary, record), published
        ),
        Stage(
            "batch",
            lambda: run_monthly.run(config, space.raw / "holdout.parquet", predictions, store, settings),
            (space.raw / "holdout.parquet",),
            (),
            priced,
        ),
    ]
    # Without a space the config's own parameters stay; trials that are asked for then are an error, which tune says.
    return [stage for stage in stages if stage.name != "tune" or config.tuning.space or trials]


def print_summary(config: DatasetConfig, settings: Settings, source: str | None = None) -> None:
    """Print the scores beside their baselines, where everything is, and what to run next."""
    space = Workspace.of(config.name, settings)
    console = Console(soft_wrap=True)
    console.print((space.reports / SUMMARY).read_text(encoding="utf-8").rstrip(), markup=False)
    here: dict[str, Any] = {
        "quality": space.reports / "quality" / "index.html",
        "predictions": open_predictions(config.name, settings),
        "splits": space.raw,
    }
    for name, path in here.items():
        console.print(f"{name:<12}{path}", markup=False, highlight=False)
    console.print("\nwhat next", highlight=False)
    for command, why in next_commands(config, settings, source).items():
        console.print(f"  {command}{f'  # {why}' if why else ''}", markup=False, highlight=False)


def next_commands(config: DatasetConfig, settings: Settings, source: str | None = None) -> dict[str, str]:
    """Return commands that work as they stand in the environment of this run, each with what it is for."""
    flag = "" if config.argument == settings.default_dataset else f" --dataset {shlex.quote(config.argument)}"
    rows = shlex.quote(str(Workspace.of(config.name, settings).raw / "holdout.csv"))
    commands = {". .venv/bin/activate": ""}
    # A tracking server is open already, and its address may hold a password.
    if settings.mlflow_tracking_uri is None:
        # MLflow itself looks for the database in the working folder only.
        where = "" if settings.workspace == Path() else f" --backend-store-uri {shlex.quote(tracking_uri(settings))}"
        commands[f"mlflow ui{where}"] = "runs, metrics and plots on http://127.0.0.1:5000"
    commands[f"python -m src.core.store list{flag}"] = "versions and their stages"
    commands[f"python src/inference_pipeline/inference.py{flag} --input {rows} --output predictions.csv"] = ""
    if config.families:
        data = f" --input {shlex.quote(shown(source))}" if source else ""
        commands[f"python -m src.training_pipeline.compare{flag}{data}"] = "every family beside the model"
    return commands


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stages from the command line."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--data", help="raw file, folder or address; the config's own source if not given")
    add_store(made)
    made.add_argument("--trials", type=int, default=None, help="trials of the search; the config's number if not given")
    made.add_argument("--force", action="store_true", help="run every stage, changed or not")
    args = made.parse_args(argv)
    if args.trials is not None and args.trials < 1:
        raise ConfigError(f"--trials {args.trials}: at least 1 is needed")
    settings = read_settings()
    config = read_dataset(args, settings)
    space = Workspace.of(config.name, settings)
    store = open_store(args.store, settings, space.store)
    start = time.perf_counter()
    run_stages(stages_of(config, settings, store, args.data, args.trials), config, space.stages, force=args.force)
    print_summary(config, settings, args.data)
    logger.info("everything done in %.0f s", time.perf_counter() - start)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
