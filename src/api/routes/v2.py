"""The Open Inference Protocol over REST: models as tensors, for clients written for Triton, KServe or MLServer.

`src/api/v2.py` reads and writes the bytes; the rows between are held to the row contract of POST /predict.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from src.api import v2
from src.api.answers import content_of, written
from src.api.contract import shown
from src.api.front import MB, Call
from src.api.problems import Problem, invalid_rows
from src.api.routes.health import VERSION, unready
from src.api.routes.predict import FEW_BYTES, keep, read_body
from src.api.served import Served
from src.api.service import Service, service_of
from src.core.errors import InvalidRowsError

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
Here = Annotated[Service, Depends(service_of)]


class Server(BaseModel):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """The process runs."""

    live: bool


class Ready(BaseModel):
    """The default data set's model serves."""

    ready: bool


class ModelReady(BaseModel):
    """A model serves."""

    name: str
    ready: bool


class TensorAbout(BaseModel):
    """A tensor that a model takes or gives; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelAbout(BaseModel):
    """A model: its version, the columns that it needs and those that it answers with."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorAbout]
    outputs: list[TensorAbout]


class InputTensor(BaseModel):
    """One raw column, of shape [n] or [n, 1]."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class RequestedOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """A request; raw tensor data may follow it in the body."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[InputTensor]
    outputs: list[RequestedOutput] | None = None


class OutputTensor(TensorAbout):
    """One column of the answer, of shape [n]."""

    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferResponse(BaseModel):
    """An answer; raw tensor data may follow it in the body."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def _request_schema() -> dict[str, Any]:
    """Return the schema of `InferRequest` without references, which would point nowhere in the API's document."""
    schema = InferRequest.model_json_schema()
    parts = schema.pop("$defs")
    schema["properties"]["inputs"]["items"] = parts["InputTensor"]
    schema["properties"]["outputs"]["anyOf"][0]["items"] = parts["RequestedOutput"]
    return schema


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "not a request of the protocol"},
    404: {"description": "no such model, or this version is not the one that serves"},
    413: {"description": "too many rows or bytes"},
    415: {"description": "a Content-Encoding other than gzip and deflate"},
    422: {"description": "rows that cannot be priced"},
    503: {"description": "no model serves yet"},
}
# JSON with raw tensor data after it.
RAW, RAW_SCHEMA = "application/octet-stream", {"schema": {"type": "string", "format": "binary"}}
INFER: dict[str, Any] = {
    "responses": {200: {"model": InferResponse, "content": {RAW: RAW_SCHEMA}}, **REFUSALS},
    "response_class": Response,
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _request_schema()},
                RAW: RAW_SCHEMA,
            },
        }
    },
}


@router.get("")
async def server() -> Server:
    """Say what this server is and which extensions it has."""
    return Server(name="housecast", version=VERSION, extensions=list(v2.EXTENSIONS))


@router.get("/health/live")
async def live() -> Live:
    """Tell that the process runs, whatever it serves."""
    return Live(live=True)


@router.get("/health/ready", responses={503: {"description": "not ready, with the reason"}})
async def ready(request: Request, here: Here) -> Ready:
    """Tell whether the default data set's model serves."""
    reason = unready(request, here)
    if reason:
        raise Problem(503, "not-ready", f"Not ready: {reason}.", headers={"Retry-After": "2"})
    return Ready(ready=True)


@router.get("/models/{name}", responses=REFUSALS)
async def model(name: str, here: Here) -> ModelAbout:
    """Describe a model's tensors."""
    return _about(_served(here, name))


@router.get("/models/{name}/versions/{version}", responses=REFUSALS)
async def model_version(name: str, version: str, here: Here) -> ModelAbout:
    """Describe a model's tensors, of the version that serves."""
    return _about(_served(here, name, version))


@router.get("/models/{name}/ready", responses=REFUSALS)
async def model_ready(name: str, here: Here) -> ModelReady:
    """Tell whether a model serves."""
    return ModelReady(name=_served(here, name).dataset, ready=True)


@router.get("/models/{name}/versions/{version}/ready", responses=REFUSALS)
async def model_version_ready(name: str, version: str, here: Here) -> ModelReady:
    """Tell whether a version serves."""
    return ModelReady(name=_served(here, name, version).dataset, ready=True)


@router.post("/models/{name}/infer", **INFER)
async def infer(name: str, request: Request, here: Here) -> Response:
    """Price rows that come as a tensor for each raw column."""
    return await _infer(request, here, _served(here, name))


@router.post("/models/{name}/versions/{version}/infer", **INFER)
async def infer_version(name: str, version: str, request: Request, here: Here) -> Response:
    """Price rows by the version that serves, which must be the one that is named."""
    return await _infer(request, here, _served(here, name, version))


def _served(here: Service, name: str, version: str | None = None) -> Served:
    found = here.models.get(name)
    if version not in (None, found.version):
        raise Problem(404, "no-version", f"Version {shown(version)} of {name} does not serve: {found.version} does.")
    return found


def _about(served: Served) -> ModelAbout:
    return ModelAbout.model_validate(v2.metadata(served.config, served.version, served.produced))


async def _infer(request: Request, here: Service, served: Served) -> Response:
    call: Call = request.scope["call"]
    call.dataset, call.version = served.dataset, served.version
    encoding = request.headers.get("content-encoding", "")
    length = request.headers.get("inference-header-content-length")
    body = await read_body(request.receive)
    most = int(here.settings.max_body_mb * MB)
    if encoding or len(body) > FEW_BYTES:
        answer, headers = await here.work.run(_answer, served, body, length, encoding, most, call)
    else:
        answer, headers = _answer(served, body, length, encoding, most, call)
    return Response(answer, headers={**headers, "cache-control": "no-store"})


def _answer(
    served: Served, body: bytes, header_length: str | None, encoding: str, most_bytes: int, call: Call
) -> tuple[bytes, dict[str, str]]:
    plain = v2.decompressed(body, encoding, most_bytes)
    asked = v2.read(plain, header_length, served.config, served.produced, served.contract.most_rows)
    try:
        rows = served.contract.check(asked.rows)
    except InvalidRowsError as error:
        problem = invalid_rows(error)
        # Clients of the protocol show nothing else.
        problem.members["error"] = str(error)
        raise problem from None
    said = served.predictor.predict(rows)
    keep(call, served, rows, to_json(rows, inf_nan_mode="null"), written(content_of(said, rows, served)))
    return v2.write(asked, served.dataset, served.version, said.frame(served.config.target.column))
