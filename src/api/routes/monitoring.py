"""GET /datasets/{name}/measures and /alerts: what the monthly reports measured, and which rules are broken."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field, StringConstraints

from src.api.problems import Problem
from src.api.service import Service, service_of
from src.core.errors import HousecastError

if TYPE_CHECKING:
    import sqlalchemy as sa

logger = logging.getLogger(__name__)

T = TypeVar("T")
Here = Annotated[Service, Depends(service_of)]
Names = Annotated[
    list[Annotated[str, StringConstraints(max_length=64)]],
    Query(max_length=50, description="names of measures, for example mdape; all if none is given"),
]
Segment = Annotated[str, Query(max_length=200, description="name=value, for example column=inventory; empty: all rows")]
# Nobody is kept waiting by a database for longer.
SECONDS = 10.0
# Besides those that are open.
MOST_ALERTS = 50


class Measured(BaseModel):
    """One measure of a month, of the version that was measured last."""

    month: str = Field(description="YYYY-MM, or all")
    version: str
    name: str
    segment: str
    value: float
    rows: int = Field(description="how many rows it rests on")
    at: datetime


class Measures(BaseModel):
    """A data set's measures, by month."""

    dataset: str
    rows: list[Measured]


class Alert(BaseModel):
    """A broken rule of the config's `monitoring`, from the look that saw it first."""

    rule: str
    subject: str
    month: str | None
    value: float
    threshold: float
    message: str
    opened_at: datetime
    resolved_at: datetime | None


class Alerts(BaseModel):
    """A data set's alerts, the newest first: the open ones, and the last ones that are over."""

    dataset: str
    alerts: list[Alert]


router = APIRouter(prefix="/datasets", tags=["monitoring"])
ABSENT: dict[int | str, dict[str, Any]] = {503: {"description": "the monitoring database does not answer"}}


@router.get("/{name}/measures", responses=ABSENT)
async def measures(name: str, request: Request, here: Here, measure: Names = [], segment: Segment = "") -> Measures:  # noqa: B006  (FastAPI copies it)
    """Give what the monthly reports have measured."""
    from src.monitoring import measures as table

    def read(engine: "sa.Engine") -> list[dict[str, Any]]:
        return table.read(engine, name, names=measure, segment=segment).to_dicts()

    return Measures(dataset=name, rows=[Measured.model_validate(row) for row in await _read(name, request, here, read)])


@router.get("/{name}/alerts", responses=ABSENT)
async def alerts(name: str, request: Request, here: Here) -> Alerts:
    """Give the rules that are broken now, and those that were."""
    import sqlalchemy as sa

    from src.monitoring.tables import alerts as table

    def read(engine: sa.Engine) -> list[dict[str, Any]]:
        ours = sa.select(table).where(table.c.dataset == name)
        newest = (table.c.opened_at.desc(), table.c.id.desc())
        with engine.connect() as connection:
            found = connection.execute(ours.where(table.c.resolved_at.is_(None)).order_by(*newest)).mappings().all()
            over = ours.where(table.c.resolved_at.is_not(None)).order_by(*newest).limit(MOST_ALERTS)
            return [dict(row) for row in (*found, *connection.execute(over).mappings())]

    return Alerts(dataset=name, alerts=[Alert.model_validate(row) for row in await _read(name, request, here, read)])


async def _read(name: str, request: Request, here: Service, ask: "Callable[[sa.Engine], list[T]]") -> list[T]:
    served = here.models.get(name)
    call = request.scope["call"]
    call.dataset, call.version = served.dataset, served.version

    def read() -> list[T]:
        from src.monitoring import database

        if not database.is_there(here.settings):  # a question makes no database
            return []
        with database.opened(here.settings) as engine:
            return ask(engine)

    try:
        return await here.aside.run(SECONDS, read)
    except HousecastError as error:
        logger.warning("request %s: %s", call.id, error)
        text = "The monitoring database does not answer; the log says why."
        raise Problem(503, "database", text, headers={"Retry-After": "10"}) from None
