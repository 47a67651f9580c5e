"""The MLflow record of runs and model versions: the only module that knows MLflow, imported when a run starts.

Without `MLFLOW_TRACKING_URI` the record is `mlflow.db` with `mlruns/` in the workspace, which is where `mlflow ui`
started in that folder looks. A tracking server that fails costs the record and not the work: one warning names the
server and the cause, and later calls of that run do nothing.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from src.core.bundle import git_commit
from src.core.cli import user_name
from src.core.config import PROJECT, DatasetConfig, Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

T = TypeVar("T")
# The longest parameter value that MLflow's SQL store takes.
PARAM_LENGTH = 6000
BATCH = 900
STAGE_TAGS = ("stage", "stage_by", "stage_at", "stage_why", "promoted_by", "promoted_at", "promoted_why")


class Run:
    """One MLflow run to write to. `id` is None when there is no record; every call is then without effect."""

    def __init__(self, client: "MlflowClient | None", uri: str, run_id: str | None) -> None:
        self._client, self._uri, self.id = client, uri, run_id

    @property
    def is_recorded(self) -> bool:
        return self._client is not None

    def _attempt(self, work: "Callable[[MlflowClient, str], object]") -> None:
        if self._client is None or self.id is None:
            return
        try:
            work(self._client, self.id)
        except Exception as error:  # noqa: BLE001 - as in `_attempt` below
            _warn(self._uri, error)
            self._client = None

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; a parameter is written once and keeps its first value."""
        from mlflow.entities import Param

        def work(client: "MlflowClient", run_id: str) -> None:
            known = client.get_run(run_id).data.params
            new = [Param(k, str(v)[:PARAM_LENGTH]) for k, v in params.items() if k not in known]
            client.log_batch(run_id, params=new)

        self._attempt(work)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics at a step (0 if not given)."""
        self.log_curves({name: [value] for name, value in metrics.items()}, first_step=step or 0)

    def log_curves(self, curves: Mapping[str, list[float]], first_step: int = 1) -> None:
        """Record one value per step for each metric, for example RMSE after each round."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(n, float(v), now, i) for n, vs in curves.items() for i, v in enumerate(vs, first_step)]

        def work(client: "MlflowClient", run_id: str) -> None:
            for start in range(0, len(points), BATCH):
                client.log_batch(run_id, metrics=points[start : start + BATCH])

        self._attempt(work)

    def log_files(self, files: Path | list[Path], artifact_path: str | None = None) -> None:
        """Copy a folder's content, or the listed files, to the run's artifacts."""

        def work(client: "MlflowClient", run_id: str) -> None:
            if isinstance(files, Path) and files.is_dir():
                client.log_artifacts(run_id, str(files), artifact_path)
                return
            for path in [files] if isinstance(files, Path) else files:
                client.log_artifact(run_id, str(path), artifact_path)

        self._attempt(work)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, replacing earlier values."""
        from mlflow.entities import RunTag

        self._attempt(lambda client, run: client.log_batch(run, tags=[RunTag(k, str(v)) for k, v in tags.items()]))

    def finish(self, status: str = "FINISHED") -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._attempt(lambda client, run: client.set_terminated(run, status))


def tracking_uri(settings: Settings) -> str:
    """Return where runs are recorded."""
    return settings.mlflow_tracking_uri or f"sqlite:///{(settings.workspace / 'mlflow.db').resolve()}"


@contextmanager
def start(
    config: DatasetConfig, settings: Settings, name: str, *, run_id: str | None = None, parent: Run | None = None
) -> Iterator[Run]:
    """Open a run named `name` in the dataset's experiment, or continue `run_id`; an error ends it as FAILED.

    A run whose parent could not be recorded is not recorded either.

    A continued run that the record no longer has is replaced by a new one.
    """
    run = _open(config, settings, name, run_id, parent)
    try:
        yield run
    except BaseException as error:
        run.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.finish()


def register(
    config: DatasetConfig, settings: Settings, run: Run, bundle: Path, version: str, tags: Mapping[str, str]
) -> str | None:
    """Log a bundle to its run and make it a version of the dataset's registered model.

    Returns the registry's own version number, or None when there is no record. The tag `version` is the bundle's.
    """
    if run.id is None:
        return None
    run.log_files(bundle, "bundle")
    uri, run_id = tracking_uri(settings), run.id

    def work() -> str:
        client = _client(uri)
        if not client.search_registered_models(f"name = '{config.name}'"):
            client.create_registered_model(config.name, description=config.title)
        source = f"{client.get_run(run_id).info.artifact_uri}/bundle"
        return str(client.create_model_version(config.name, source, run_id, tags={"version": version, **tags}).version)

    return _attempt(uri, work)


@dataclass(frozen=True)
class Registered:
    """A version in MLflow's registry: its number there, the bundle's version, its aliases and tags."""

    number: str
    version: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


def registered(config: DatasetConfig, settings: Settings) -> list[Registered] | None:
    """Return the dataset's registered versions, the newest first; None, after a warning, when MLflow fails."""
    return _attempt(tracking_uri(settings), lambda: _registered(_client(tracking_uri(settings)), config.name))


def mirror(
    config: DatasetConfig,
    settings: Settings,
    aliases: Mapping[str, str | None],
    tags: Mapping[str, Mapping[str, str]],
) -> bool:
    """Give the registered versions these aliases (name -> version, None: nobody's) and stage tags (version -> tags).

    An alias of a version that MLflow does not have is taken away, with a warning: it must not name another one. Tells
    whether MLflow took it all; a server that fails costs a warning.
    """

    def work() -> bool:
        client = _client(tracking_uri(settings))
        found = _registered(client, config.name)
        for one in found:
            wanted = tags.get(one.version, {})
            for name in STAGE_TAGS:
                if name in wanted and one.tags.get(name) != wanted[name]:
                    client.set_model_version_tag(config.name, one.number, name, wanted[name])
                elif name in one.tags and name not in wanted:
                    client.delete_model_version_tag(config.name, one.number, name)
        for alias, version in aliases.items():
            number = next((one.number for one in found if one.version == version), None)
            held = next((one.number for one in found if alias in one.aliases), None)
            if number is None and held is not None:
                client.delete_registered_model_alias(config.name, alias)
            elif number is not None and number != held:
                client.set_registered_model_alias(config.name, alias, number)
        missing = [version for version in aliases.values() if version and version not in {one.version for one in found}]
        if missing:
            logger.warning("MLflow at %s has no %s %s: run sync", tracking_uri(settings), config.name, missing[0])
        return not missing

    return bool(_attempt(tracking_uri(settings), work))


def _registered(client: "MlflowClient", name: str) -> list[Registered]:
    named = {
        alias: str(number)
        for model in client.search_registered_models(f"name = '{name}'")
        for alias, number in model.aliases.items()
    }
    found = [
        Registered(
            str(made.version),
            made.tags.get("version", ""),
            tuple(sorted(alias for alias, number in named.items() if number == str(made.version))),
            made.tags,
        )
        for made in client.search_model_versions(f"name = '{name}'")
    ]
    return sorted(found, key=lambda one: int(one.number), reverse=True)


def _attempt(uri: str, work: Callable[[], T]) -> T | None:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever a server or its artifact store throws, the work goes on
        _warn(uri, error)
        return None


def _warn(uri: str, error: Exception) -> None:
    cause = str(error).strip().split("\n")[0]
    logger.warning("MLflow at %s: %s: %s; going on without a record", uri, type(error).__name__, cause)


def _open(config: DatasetConfig, settings: Settings, name: str, run_id: str | None, parent: Run | None) -> Run:
    uri = tracking_uri(settings)
    if parent and not parent.is_recorded:
        return Run(None, uri, None)

    def work() -> Run:
        client = _client(uri)
        experiment = _experiment(client, config, settings)
        if run_id and client.search_runs([experiment], f"attributes.run_id = '{run_id}'", max_results=1):
            client.update_run(run_id, "RUNNING")
            return Run(client, uri, run_id)
        tags = {
            "mlflow.user": user_name(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.source.git.commit": git_commit(PROJECT),
            "dataset": config.name,
            "config_sha256": config.digest,
        }
        if parent:
            tags["mlflow.parentRunId"] = str(parent.id)
        return Run(client, uri, client.create_run(experiment, run_name=name, tags=tags).info.run_id)

    return _attempt(uri, work) or Run(None, uri, None)


def _client(uri: str) -> "MlflowClient":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A server that is down must not hold a training run for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(uri, uri)


def _experiment(client: "MlflowClient", config: DatasetConfig, settings: Settings) -> str:
    found = client.get_experiment_by_name(config.name)
    if found is not None:
        return str(found.experiment_id)
    # A server knows where its artifacts go; a local record keeps them beside itself, wherever the command was started.
    local = None if settings.mlflow_tracking_uri else (settings.workspace / "mlruns" / config.name).resolve().as_uri()
    return client.create_experiment(config.name, artifact_location=local)
