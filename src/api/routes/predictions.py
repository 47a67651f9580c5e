"""GET /datasets/{name}/predictions, /datasets/{name}/summary and /latest_predictions: what the monthly batch left.

As JSON, or as an Arrow IPC stream to whoever accepts one; with an ETag, by which an unchanged answer is not sent again.
"""

from io import BytesIO
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints
from pydantic_core import to_json

from src.api.service import Service, service_of
from src.api.tags import headers_of, tag_of, unchanged
from src.inference_pipeline.priced_rows import By, Page, PricedRows, Selection

ARROW = "application/vnd.apache.arrow.stream"
MOST_ROWS = 10_000
# An address with so many and so long ones is within what the server takes for headers.
MOST_NAMES, LONGEST_NAME = 100, 100

Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME)]
Names = Annotated[list[Name], Query(max_length=MOST_NAMES)]
Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS)]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
Sort = Annotated[str | None, Query(max_length=200, description="a column of the answer; equal ones keep their order")]
Order = Literal["asc", "desc"]
Here = Annotated[Service, Depends(service_of)]


class LeftOut(BaseModel):
    """A month whose file cannot be read."""

    file: str
    problem: str


class Answer(BaseModel):
    """Rows `offset` and following of `total`, with what they are about."""

    dataset: str
    target: str
    unit: str
    months: list[str] = Field(description="all months that there are, in time order")
    total: int
    offset: int
    rows: list[dict[str, Any]]
    left_out: list[LeftOut] = Field(description="months whose file is damaged or cannot be read")


SAID: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Answer,
        "description": "The rows, in JSON or as an Arrow stream; of those, `X-Total-Count` says the total",
        "content": {ARROW: {"schema": {"type": "string", "format": "binary"}}},
    }
}
router = APIRouter(tags=["batch"], responses=SAID, default_response_class=Response)


def selection_of(
    region: Names = [],  # noqa: B006  (FastAPI copies it)
    place: Names = [],  # noqa: B006
    first: Annotated[Month | None, Query(alias="from", description="YYYY-MM, included")] = None,
    last: Annotated[Month | None, Query(alias="to", description="YYYY-MM, included")] = None,
) -> Selection:
    """Read which rows are asked about; regions and places are spelled as the caller likes."""
    return Selection(tuple(region), tuple(place), first, last)


Selected = Annotated[Selection, Depends(selection_of)]


@router.get("/datasets/{name}/predictions")
def predictions(
    name: str,
    request: Request,
    here: Here,
    selection: Selected,
    sort: Sort = None,
    order: Order = "asc",
    limit: Limit = 100,
    offset: Offset = 0,
    spread: Annotated[bool, Query(description="rows from all over, evenly, instead of the first")] = False,
) -> Response:
    """Give rows of the batch's output: keys, estimate, interval, actual where it is known, model version."""
    return _answer(
        request,
        here,
        name,
        lambda rows: rows.page(
            selection, sort=sort, descending=order == "desc", offset=offset, limit=limit, spread=spread
        ),
    )


@router.get("/datasets/{name}/summary")
def summary(
    name: str,
    request: Request,
    here: Here,
    selection: Selected,
    by: By = "month",
    sort: Sort = None,
    order: Order = "asc",
    limit: Limit = MOST_ROWS,
    offset: Offset = 0,
) -> Response:
    """Say how good the estimates were: overall, or for each month, year, region, place, or tenth of the actual values.

    Errors (mae, rmse, mape, mdape, bias) and coverage are of the rows whose actual is known, means of all; null where
    no row counts. mape, mdape and coverage are shares: 0.1 is 10 %.
    """
    return _answer(
        request,
        here,
        name,
        lambda rows: rows.summary_page(
            by, selection, sort=sort, descending=order == "desc", offset=offset, limit=limit
        ),
    )


@router.get("/datasets/{name}/errors")
def errors(name: str, request: Request, here: Here, selection: Selected) -> Response:
    """Count relative errors (estimate over actual value, less 1) by bins of 2.5 points; the first and last are open."""

    def counted(rows: PricedRows) -> Page:
        frame = rows.errors(selection)
        return Page(frame, frame.height)

    return _answer(request, here, name, counted)


@router.get("/latest_predictions")
def latest_predictions(request: Request, here: Here, limit: Limit = 100) -> Response:
    """Give rows of the default data set's newest month."""
    return _answer(request, here, here.settings.default_dataset, lambda rows: rows.latest(limit))


def _answer(request: Request, here: Service, dataset: str, ask: Any) -> Response:
    served = here.models.get(dataset)
    call = request.scope["call"]
    call.dataset, call.version = served.dataset, served.version
    rows = here.outputs.of(served.predictor).now()
    is_arrow = ARROW in request.headers.get("accept", "")
    # Whatever the rows and the question are, so is the answer.
    tag = tag_of(rows.tag, served.version, f"{request.url.path}?{request.url.query}", str(is_arrow))
    known = unchanged(request, tag)
    if known:
        return known
    page: Page = ask(rows)
    headers = {**headers_of(tag), "X-Total-Count": str(page.total)}
    if is_arrow:
        return Response(_arrow(page.frame), headers=headers, media_type=ARROW)
    return Response(_json(rows, page), headers=headers, media_type="application/json")


def _json(rows: PricedRows, page: Page) -> bytes:
    config = rows.layout.config
    about = {
        "dataset": config.name,
        "target": config.target.column,
        "unit": config.target.unit,
        "months": rows.months,
        "total": page.total,
        "offset": page.offset,
        "left_out": [{"file": file, "problem": problem} for file, problem in sorted(rows.problems.items())],
    }
    # Polars writes ten thousand rows in the time in which Python would make their dictionaries.
    return to_json(about)[:-1] + b',"rows":' + page.frame.write_json().encode() + b"}"


def _arrow(frame: pl.DataFrame) -> bytes:
    stream = BytesIO()
    # Plain strings: not every reader knows Polars' own.
    frame.write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    return stream.getvalue()
