"""GET and POST /datasets/{name}/comparables: the known rows that are most like a row, with what they cost.

`openapi.py` documents them with the real row of each data set.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from src.api.front import Call
from src.api.problems import Problem
from src.api.routes.predict import check_type, read_body
from src.api.served import Served
from src.api.service import Service, service_of

COMPARABLES, MOST_COMPARABLES = 5, 100

router = APIRouter(prefix="/datasets", include_in_schema=False)
Here = Annotated[Service, Depends(service_of)]
Limit = Annotated[int, Query(ge=1, le=MOST_COMPARABLES)]


class Comparable(BaseModel):
    """A known row: how like it is, its true target, the model's estimate of it, and what it is."""

    similarity: float
    actual: float | str
    estimate: float | str
    row: dict[str, Any]


class Comparables(BaseModel):
    """The known rows that are most like a row, best first, and the model that says so."""

    comparables: list[Comparable]
    model: dict[str, str]


# One route for both, so that a refusal of other methods names both.
@router.api_route("/{name}/comparables", methods=["GET", "POST"])
async def comparables(
    name: str, request: Request, here: Here, row: str | None = None, limit: Limit = COMPARABLES
) -> Comparables:
    """Find known rows like the one in the body or, asked by GET, in the query: a JSON object."""
    call: Call = request.scope["call"]
    served = here.models.get(name)
    call.dataset, call.version = served.dataset, served.version
    if request.method == "POST":
        check_type(request.scope)
        content = await read_body(request.receive)
    elif row is not None:
        content = row.encode()
    else:
        raise Problem(422, "query", "The row is missing: add ?row= with a JSON object, or send it by POST.")
    # In a thread: the first question prepares thousands of rows.
    found = await here.work.run(_comparables, served, content, limit)
    return Comparables.model_validate({"comparables": found, "model": served.about})


def _comparables(served: Served, body: bytes, limit: int) -> list[dict[str, Any]]:
    rows, single = served.contract.read(body)
    if not single:
        raise Problem(422, "one-row", "Comparables are of one row: send one JSON object, not a list.")
    return [asdict(one) for one in served.predictor.comparables(rows[0], limit)]
