"""`create_app`: the whole service, composed of its parts."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from src.api.drain import Drain
from src.api.front import App, Front, Receive, Scope, Send
from src.api.lines import LINES
from src.api.openapi import document
from src.api.problems import MEDIA_TYPE, Problem, of_error
from src.api.routes import admin, batch, comparables, datasets, docs, health, monitoring, places, predictions, v2
from src.api.routes.predict import Predict
from src.api.routes.score import Score
from src.api.service import Service
from src.api.shadow import Shadow
from src.core.config import Settings
from src.core.errors import HousecastError
from src.core.store import Store, open_store

logger = logging.getLogger(__name__)

PREDICT, SCORE, DATASETS = "/predict", "/score", "/datasets/"
# S3 that has not sent a byte for so long is asked again, or given up: nobody waits for it, but `/health` must tell.
SILENCE = 10.0
# In which the prediction log's last rows are written; with a drain and its grace below the 30 s after which ECS kills.
LOG_SECONDS = 5.0
# After so long a thread that computes lets another one have its turn: a request has several turns to wait for.
SWITCH_SECONDS = 0.001


def create_app(settings: Settings, store: Store | None = None) -> Front:
    """Compose the service; nothing runs before its lifespan starts.

    Raises:
        ConfigError: the store or the keys in the settings are wrong.
    """
    store = store or open_store(None, settings, settings.workspace / "models", silence=SILENCE)
    service = Service(settings, store)
    api = FastAPI(
        title="housecast",
        version=health.VERSION,
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    api.state.service = service
    for module in (health, docs, datasets, places, comparables, v2, predictions, monitoring, batch, admin):
        api.include_router(module.router)
    api.mount(docs.ASSETS, docs.assets())
    api.openapi = lambda: document(api, service.models)  # type: ignore[method-assign]
    for kind in (Problem, HTTPException, RequestValidationError, HousecastError, Exception):
        api.add_exception_handler(kind, _problem)
    inner: App = _routed(Predict(service), Score(service.models, settings), api)
    if settings.cors_origins:
        inner = CORSMiddleware(
            inner, allow_origins=settings.cors_origins.split(), allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    front = Front(inner, settings, service.telemetry, service.log)
    if settings.shadow_share and service.log is not None:
        front.shadow = Shadow(settings.shadow_share, service.models.challengers, service.log)
    api.state.front = front
    return front


def _routed(predict: Predict, score: Score, api: App) -> App:
    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path == PREDICT:
            await predict(scope, receive, send, None)
        elif path.endswith(PREDICT) and path.startswith(DATASETS):
            await predict(scope, receive, send, path[len(DATASETS) : -len(PREDICT)])
        elif path.endswith(SCORE) and path.startswith(DATASETS):
            await score(scope, receive, send, path[len(DATASETS) : -len(SCORE)])
        else:
            await api(scope, receive, send)

    return route


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    service: Service = api.state.service
    front: Front = api.state.front
    service.models.start()
    tasks = [asyncio.create_task(front.keep_time())]
    drain = Drain(front, service.settings.drain_seconds)
    if drain.install():  # the process is the service's own
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.collect()
        gc.freeze()
        tasks.append(asyncio.create_task(_settle(service)))
    try:
        yield
    finally:
        drain.remove()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(service.jobs.stop)
        service.models.stop()
        service.work.close()
        if front.shadow is not None:
            await front.shadow.stop()
        front.hand_over()
        if service.log is not None:
            await asyncio.to_thread(service.log.stop, LOG_SECONDS)
        LINES.flush()


async def _settle(service: Service) -> None:
    """Take what the start and the first model have made out of the garbage collector's sight.

    Looking through all of it stops every thread for a tenth of a second, and loading a version brings that about.
    """
    while service.settings.default_dataset not in service.models.served:
        await asyncio.sleep(1)
    gc.freeze()


async def _problem(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, RequestValidationError):
        listed = [{"field": ".".join(map(str, one["loc"])), "detail": one["msg"]} for one in error.errors()]
        problem = Problem(422, "request", "The request does not fit the endpoint.", errors=listed)
    elif isinstance(error, HTTPException):
        problem = Problem(error.status_code, "http", str(error.detail), headers=error.headers)
    elif isinstance(error, HousecastError):
        problem = of_error(error)
        if problem.status >= 500:
            logger.warning("request %s: %s", request.scope["call"].id, error)
    else:
        problem = Problem(500, "internal", "The request failed; the log says why.")
    problem.at(request.url.path)
    return Response(
        problem.body(request.scope["call"].id), problem.status, problem.headers, media_type=MEDIA_TYPE.decode()
    )
