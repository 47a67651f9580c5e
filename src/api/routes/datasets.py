"""GET /datasets and /datasets/{name}: what each data set takes, what serves it, and how good that is."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from src.api.problems import Problem
from src.api.served import Served
from src.api.service import Service, service_of
from src.core import lineage
from src.core.errors import HousecastError

router = APIRouter(prefix="/datasets", tags=["data sets"])
Here = Annotated[Service, Depends(service_of)]
# Who asks for a data set waits no longer for what only the store knows.
STORE_SECONDS = 3.0


class Summary(BaseModel):
    """One data set in a line."""

    name: str
    title: str
    task: str
    target: str
    unit: str
    version: str
    loaded_at: datetime


class Listed(BaseModel):
    """The data sets that are served."""

    default: str
    datasets: list[Summary]


class Version(BaseModel):
    """A version in the store."""

    version: str
    stage: str


class Examples(BaseModel):
    """Rows that can be sent to be priced."""

    rows: list[dict[str, Any]]


class OfVersion(BaseModel):
    """A version in the store: where it comes from, and everything that was measured of it."""

    lineage: dict[str, Any]
    metrics: dict[str, Any]


class Detail(Summary):
    """A data set with its row, its model and what is known of both."""

    columns: dict[str, Any]
    row_schema: dict[str, Any]
    example: dict[str, Any]
    keys: list[str]
    place: str | None
    region: str | None
    date: str | None
    levels: list[float]
    coordinates: dict[str, list[float]] = Field(description="latitude and longitude of regions whose place is known")
    metrics: dict[str, Any]
    lineage: dict[str, Any] | None
    versions: list[Version] | None


@router.get("")
def listed(here: Here) -> Listed:
    """List the data sets that are served."""
    found = [_summary(served) for _, served in sorted(here.models.served.items())]
    return Listed(default=here.settings.default_dataset, datasets=[Summary.model_validate(one) for one in found])


@router.get("/{name}")
async def detail(name: str, here: Here) -> Detail:
    """Describe a data set: schema, model, metrics, coverage, lineage, versions.

    Lineage and versions are the store's; they are null while it does not answer.
    """
    served = here.models.get(name)
    origin, versions = await asyncio.gather(
        _of_store(here, lambda: lineage.of(here.store, name, served.version)),
        _of_store(here, lambda: _versions(here, name)),
    )
    config = served.config
    content = {
        **_summary(served),
        "columns": {one: column.model_dump(exclude_defaults=True) for one, column in config.columns.items()},
        "row_schema": served.row_schema,
        "example": served.example,
        "keys": config.keys,
        "place": config.place,
        "region": config.region,
        "date": config.date,
        "levels": config.levels,
        "coordinates": served.predictor.coordinates,
        "metrics": served.metrics,
        "lineage": origin,
        "versions": versions,
    }
    return Detail.model_validate(content)


@router.get("/{name}/examples")
def examples(name: str, here: Here) -> Examples:
    """Give real rows, of different prices, places and months, as `predict` takes them."""
    return Examples(rows=here.models.get(name).examples)


@router.get("/{name}/versions/{version}")
async def version(name: str, version: str, here: Here) -> OfVersion:
    """Describe any version in the store, whichever serves."""
    here.models.get(name)

    def read() -> OfVersion:
        if version not in here.store.versions(name):
            raise Problem(404, "no-version", f"No version {version[:64]!r} of {name} is in the store.")
        origin = lineage.of(here.store, name, version)
        return OfVersion(lineage=origin, metrics=lineage.metrics_of(here.store, name, version))

    return await here.aside.run(STORE_SECONDS, read)


def _summary(served: Served) -> dict[str, Any]:
    config = served.config
    return {
        "name": config.name,
        "title": config.title,
        "task": config.task,
        "target": config.target.column,
        "unit": config.target.unit,
        "version": served.version,
        "loaded_at": served.loaded_at,
    }


def _versions(here: Service, name: str) -> list[dict[str, str]]:
    story = here.store.story(name)
    return [{"version": one, "stage": story.stage(one)} for one in reversed(here.store.versions(name))]


async def _of_store(here: Service, read: Callable[[], Any]) -> Any:
    try:
        return await here.aside.run(STORE_SECONDS, read)
    except (HousecastError, OSError, Problem):
        return None
