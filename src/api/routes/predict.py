"""POST /predict and /datasets/{name}/predict: rows in, prices out.

Plain ASGI beside FastAPI's router: an answer takes some 100 microseconds, and routing one would take as long again.
FastAPI documents them (`openapi.py`).
"""

from typing import Any
from urllib.parse import parse_qsl

import polars as pl

from src.api.answers import content_of, written
from src.api.contract import Row
from src.api.front import Call, ClientGone, Receive, Scope, Send
from src.api.problems import Problem
from src.api.served import Served
from src.api.service import Service
from src.api.together import Together
from src.inference_pipeline.inference import bulk_threads
from src.inference_pipeline.predictor import Explanation

# Reasons cost milliseconds a row.
MOST_EXPLAINED = 1_000
TOP = 5
# Above so many bytes even the reading of a body is worth a thread.
FEW_BYTES = 64_000
JSON_HEADER = (b"content-type", b"application/json")


class Predict:
    """The handler, over what serves now."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._models = service.models
        self._together = Together()
        self._threads = bulk_threads(service.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, dataset: str | None) -> None:
        """Answer one request; `dataset` is None at /predict."""
        call: Call = scope["call"]
        call.route = "/predict" if dataset is None else "/datasets/{name}/predict"
        if scope["method"] != "POST":
            raise Problem(405, "method", "Prices are asked for by POST.", headers={"Allow": "POST"})
        explain = _explain(scope["query_string"])
        check_type(scope)
        served = self._models.get(self._models.settings.default_dataset if dataset is None else dataset)
        call.dataset, call.version = served.dataset, served.version
        body = await read_body(receive)
        if explain or len(body) > FEW_BYTES:
            answer = await self._service.work.run(self._answer, served, body, explain, call)
        else:
            rows, single = served.contract.read(body)
            said = await self._together.price(served, rows)
            answer = written(content_of(said, rows, served))
            keep(call, served, rows, b"[%b]" % body if single else body, answer)
        headers = [JSON_HEADER, (b"content-length", str(len(answer)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, served: Served, body: bytes, explain: bool, call: Call) -> bytes:
        rows = served.contract.read_many(body)
        if explain and len(rows) > MOST_EXPLAINED:
            text = f"At most {MOST_EXPLAINED:,} rows are explained at once, not {len(rows):,}."
            raise Problem(422, "too-many-rows", text)
        said = served.predictor.predict(rows, self._threads)
        content = content_of(said, rows, served)
        answer = written(content)
        if explain:
            content["explanations"] = _explanations(served.predictor.explain(rows))
        is_single = body.lstrip(b" \t\r\n")[:1] == b"{"
        keep(call, served, rows, b"[%b]" % body if is_single else body, answer)
        return written(content) if explain else answer


def keep(call: Call, served: Served, rows: list[Row] | pl.DataFrame, asked: bytes, answered: bytes) -> None:
    """Note for the prediction log what is answered: `asked` is the rows' JSON list, `answered` as `content_of`'s."""
    call.rows, call.asked, call.answered = len(rows), asked, answered
    date = served.config.date
    if date is None:
        return
    dates = [rows[date].min(), rows[date].max()] if isinstance(rows, pl.DataFrame) else [row[date] for row in rows]
    months = [str(one)[:7] for one in dates if one is not None]
    if months:
        call.months = min(months), max(months)


def _explanations(why: Explanation) -> list[dict[str, Any]]:
    made = []
    for row in range(len(why.base)):
        leading = why.top(row, TOP)
        rest = float(why.amounts[row].sum()) - sum(amount for _, amount in leading)
        top = [{"feature": name, "amount": amount} for name, amount in leading]
        made.append({"base": float(why.base[row]), "contributions": top, "rest": rest, "unit": why.unit})
    return made


async def read_body(receive: Receive) -> bytes:
    """Take a body whole (ClientGone when the caller hangs up)."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        return body
    parts = [body]
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    if message["type"] == "http.disconnect":
        raise ClientGone
    return b"".join(parts)


def _explain(query: bytes) -> bool:
    if not query:
        return False
    said = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("explain", "false").lower()
    if said not in ("true", "false", "1", "0"):
        raise Problem(422, "query", "explain must be true or false.")
    return said in ("true", "1")


def check_type(scope: Scope) -> None:
    """Refuse a body that says of itself that it is not JSON (Problem)."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.split(b";")[0].strip().lower()
            if kind != b"application/json" and not kind.endswith(b"+json"):
                raise Problem(415, "media-type", "Rows are taken as application/json here; files at .../score.")
