"""/admin/...: reload, promote, roll back, log level. Needs an admin key, also where other callers need none."""

import logging
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from src.api.problems import Problem
from src.api.service import Service, service_of
from src.core.errors import ConfigError, StoreError
from src.core.pointer import Pointer

logger = logging.getLogger(__name__)


def admin_of(request: Request) -> str:
    """Return the name of the admin key that was sent (Problem 403 for any other caller)."""
    call = request.scope["call"]
    if not call.is_admin:
        raise Problem(403, "scope", "An API key of the scope admin is needed: see `python -m src.api.keys --help`.")
    return str(call.caller)


router = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(admin_of)])
Here = Annotated[Service, Depends(service_of)]
Admin = Annotated[str, Depends(admin_of)]
Reason = Annotated[str, Field(min_length=1, max_length=1000, examples=["better on every segment"])]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,63}$", examples=["housets"])]
VersionName = Annotated[str, Field(pattern=r"^\d{8}T\d{6}Z-[0-9a-f]{8}$", examples=["20261120T231500Z-1a2b3c4d"])]


class Body(BaseModel):
    """A body without unknown members."""

    model_config = ConfigDict(extra="forbid")


class Promote(Body):
    """Which version is to serve, and why."""

    dataset: Name
    version: VersionName
    why: Reason


class Rollback(Body):
    """Which data set goes back to the version before, or to a named one, and why."""

    dataset: Name
    to: VersionName | None = None
    why: Reason


class LogLevel(Body):
    """How much is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@router.post("/reload")
async def reload(here: Here) -> dict[str, Any]:
    """Look at the store now, and try again what failed; returns what serves.

    `complete` is false where the store has not answered in time; what it says is followed when it does.
    """
    complete = await here.models.look(_patience(here))
    sync = here.models.store_sync
    store = {"outcome": sync.outcome, "detail": sync.detail or None}
    return {"complete": complete, "store": store, "datasets": here.models.summary()}


@router.post("/promote")
async def promote(body: Promote, here: Here, admin: Admin) -> dict[str, Any]:
    """Make a published version the current one and serve it."""
    return await _moved(
        here, body.dataset, lambda: here.store.promote(body.dataset, body.version, by=admin, why=body.why)
    )


@router.post("/rollback")
async def rollback(body: Rollback, here: Here, admin: Admin) -> dict[str, Any]:
    """Return to the version that served before, or to a named one, and serve it."""
    return await _moved(
        here, body.dataset, lambda: here.store.rollback(body.dataset, to=body.to, by=admin, why=body.why)
    )


@router.post("/log-level")
def log_level(body: LogLevel, admin: Admin) -> LogLevel:
    """Change how much is logged, until the process ends."""
    logger.warning("%s set the log level to %s", admin, body.level)
    for name in ("src", "uvicorn"):
        logging.getLogger(name).setLevel(body.level)
    return body


async def _moved(here: Service, dataset: str, move: Callable[[], Pointer]) -> dict[str, Any]:
    try:
        pointer = await here.aside.run(_patience(here), move)
    except (StoreError, ConfigError) as error:
        if error.__cause__ is not None:  # the store itself failed, and its text may name places
            raise
        raise Problem(409, "move", str(error).replace(str(here.store), "the store")) from error
    await here.models.look(_patience(here))
    now = here.models.served.get(dataset)
    return {
        "dataset": dataset,
        "version": pointer.version,
        "promoted_at": pointer.promoted_at,
        "serves": now.version if now else None,
    }


def _patience(here: Service) -> float:
    """Seconds for the store's part of a request, so that the request can say itself that it took too long."""
    return min(12.0, 0.4 * here.settings.request_seconds)
