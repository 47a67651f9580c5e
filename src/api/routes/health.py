"""GET /, /health, /health/live, /health/ready and /metrics: is it there, does it serve, and what."""

from datetime import datetime
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from src.api.problems import Problem
from src.api.service import Service, service_of

router = APIRouter()
VERSION = version("housecast")

Here = Annotated[Service, Depends(service_of)]


class Root(BaseModel):
    """What this is, and where to go on."""

    name: str
    version: str
    links: dict[str, str]


class Alive(BaseModel):
    """The process runs."""

    status: str


class LastSync(BaseModel):
    """The last look at the store."""

    at: datetime
    outcome: str
    version: str | None = None
    detail: str | None = None


class DatasetHealth(BaseModel):
    """What serves one data set, and how following the store goes."""

    version: str | None
    loaded_at: datetime | None
    evaluator: str | None
    last_sync: LastSync | None


class Health(BaseModel):
    """The state of the service."""

    status: str
    version: str
    ready: bool
    reason: str | None
    default_dataset: str
    store: LastSync
    datasets: dict[str, DatasetHealth]


class Latency(BaseModel):
    """Milliseconds of the newest thousand requests that were priced; None before the first."""

    p50: float | None
    p95: float | None
    p99: float | None


class DatasetStats(BaseModel):
    """A data set's requests since the start: `refused` with 4xx, `failed` with 5xx; `predictions` counts rows."""

    requests: int
    predictions: int
    last_prediction: datetime | None
    refused: int
    failed: int
    error_rate: float
    milliseconds: Latency


class LogStats(BaseModel):
    """Rows of the prediction log since the start."""

    waiting: int
    written: int
    dropped: int
    refused: int
    failures: int


class AllStats(BaseModel):
    """The service's numbers since it started."""

    since: datetime
    datasets: dict[str, DatasetStats]
    prediction_log: LogStats | None


@router.get("/", tags=["service"])
def root() -> Root:
    """Say what this is."""
    links = {"documentation": "/docs", "health": "/health", "datasets": "/datasets", "predict": "/predict"}
    return Root(name="housecast", version=VERSION, links=links)


@router.get("/health/live", tags=["service"])
async def live() -> Alive:
    """Tell that the process runs, whatever it serves."""
    return Alive(status="live")


@router.get("/health/ready", tags=["service"], responses={503: {"description": "not ready, with the reason"}})
async def ready(request: Request, here: Here) -> Alive:
    """Tell whether the default data set's model serves: loaded, with its golden rows priced right by this process."""
    reason = unready(request, here)
    if reason:
        raise Problem(503, "not-ready", f"Not ready: {reason}.", headers={"Retry-After": "2"})
    return Alive(status="ready")


@router.get("/health", tags=["service"])
async def health(request: Request, here: Here) -> Health:
    """Sum up what serves, since when, and how the last look at the store went."""
    reason, sync = unready(request, here), here.models.store_sync
    content: dict[str, Any] = {
        "status": "draining" if request.app.state.front.draining else "live",
        "version": VERSION,
        "ready": reason is None,
        "reason": reason,
        "default_dataset": here.settings.default_dataset,
        "store": {"at": sync.at, "outcome": sync.outcome, "detail": sync.detail or None},
        "datasets": here.models.summary(),
    }
    return Health.model_validate(content)


@router.get("/metrics", tags=["service"], response_class=Response)
async def metrics(here: Here) -> Response:
    """Give the metrics in Prometheus's text format."""
    here.telemetry.describe(here.models)
    if here.log is not None:
        here.telemetry.describe_log(here.log)
    return Response(generate_latest(here.telemetry.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/stats", tags=["service"])
async def stats(here: Here) -> AllStats:
    """Give what was asked and answered since the start, per data set."""
    log = here.log and {"waiting": here.log.waiting, **vars(here.log.counts)}
    found = {name: one.summary() for name, one in sorted(here.telemetry.stats.items())}
    content = {"since": here.telemetry.started_at, "datasets": found, "prediction_log": log}
    return AllStats.model_validate(content)


def unready(request: Request, here: Service) -> str | None:
    """Say why the service is not ready; None when it is."""
    if request.app.state.front.draining:
        return "the server is about to stop"
    name = here.settings.default_dataset
    return None if name in here.models.served else f"no model of {name} serves: {here.models.reason(name)}"
