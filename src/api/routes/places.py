"""GET /datasets/{name}/places and /datasets/{name}/recent: the places that a version knows, and a row to begin with."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from src.api.contract import examples
from src.api.problems import Problem
from src.api.routes.predictions import Names
from src.api.served import Served
from src.api.service import Service, service_of
from src.api.tags import headers_of, tag_of, unchanged
from src.core.recipes import LONGEST_TEXT

Here = Annotated[Service, Depends(service_of)]
Place = Annotated[str, Query(min_length=1, max_length=LONGEST_TEXT, description="spelled as the caller likes")]
Region = Annotated[
    str | None, Query(max_length=LONGEST_TEXT, description="needed only where several regions have such a place")
]


class Places(BaseModel):
    """The places of a region, sorted by name."""

    region: str | None = Field(description="null where places have no region")
    places: list[str]


class Known(BaseModel):
    """The places whose newest row is known, by region; none where rows have no place."""

    dataset: str
    version: str
    total: int
    regions: list[Places]


class Recent(BaseModel):
    """The newest row of a place, as `predict` takes it."""

    dataset: str
    version: str
    place: str
    region: str | None
    month: str | None = Field(description="YYYY-MM; null where rows have no date")
    row: dict[str, Any]


router = APIRouter(prefix="/datasets", tags=["data sets"], default_response_class=Response)


@router.get("/{name}/places", responses={200: {"model": Known}})
def places(name: str, request: Request, here: Here, region: Names = []) -> Response:  # noqa: B006  (FastAPI copies it)
    """List the places of a data set, or of some regions, whose newest row `recent` gives."""
    return _answer(request, here, name, lambda served: _known(served, region))


@router.get("/{name}/recent", responses={200: {"model": Recent}})
def recent(name: str, request: Request, here: Here, place: Place, region: Region = None) -> Response:
    """Give the newest real row of a place, as `predict` takes it."""
    return _answer(request, here, name, lambda served: _recent(served, place, region))


def _answer(request: Request, here: Service, name: str, ask: Callable[[Served], BaseModel]) -> Response:
    served = here.models.get(name)
    call = request.scope["call"]
    call.dataset, call.version = served.dataset, served.version
    # A version never changes.
    tag = tag_of(served.version, f"{request.url.path}?{request.url.query}")
    known = unchanged(request, tag)
    if known:
        return known
    return Response(to_json(ask(served)), headers=headers_of(tag), media_type="application/json")


def _known(served: Served, regions: list[str]) -> Known:
    found = served.recent.places(regions) if served.recent else {}
    listed = [Places(region=region, places=names) for region, names in found.items()]
    total = sum(map(len, found.values()))
    return Known(dataset=served.dataset, version=served.version, total=total, regions=listed)


def _recent(served: Served, place: str, region: str | None) -> Recent:
    found = served.recent.of(place, region) if served.recent else None
    if found is None:
        said = place[:64] if region is None else f"{place[:64]} in {region[:64]}"
        text = f"No recent row of {said!r} is known in {served.dataset}: /datasets/{served.dataset}/places lists them."
        raise Problem(404, "no-place", text)
    row = examples([found.row], served.config)[0]
    about = {"dataset": served.dataset, "version": served.version}
    return Recent(**about, place=found.place, region=found.region, month=found.month, row=row)
