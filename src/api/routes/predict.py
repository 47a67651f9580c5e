"""POST /predict and /datasets/{name}/predict: rows in, prices out.

Plain ASGI beside FastAPI's router: an answer takes some 100 microseconds, and routing one would take as long again.
FastAPI documents them (`openapi.py`).
"""

from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

import polars as pl
from pydantic_core import to_json

from src.api.contract import Row
from src.api.front import Call, ClientGone, Receive, Scope, Send
from src.api.problems import Problem
from src.api.served import Models, Served
from src.api.together import Together
from src.api.work import Work
from src.inference_pipeline.inference import bulk_threads
from src.inference_pipeline.predictor import Classification, Explanation, Prediction

# Reasons cost milliseconds a row.
MOST_EXPLAINED = 1_000
TOP = 5
# Above so many bytes even the reading of a body is worth a thread.
FEW_BYTES = 64_000
JSON_HEADER = (b"content-type", b"application/json")


class Predict:
    """The handler, over what serves now."""

    def __init__(self, models: Models, work: Work) -> None:
        self._models = models
        self._work = work
        self._together = Together()
        self._threads = bulk_threads(models.settings)

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
            answer = await self._work.run(_answer, served, body, explain, call, self._threads)
        else:
            rows, _ = served.contract.read(body)
            said = await self._together.price(served, rows)
            call.rows = len(rows)
            answer = _written(content_of(said, rows, served))
        headers = [JSON_HEADER, (b"content-length", str(len(answer)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def _answer(served: Served, body: bytes, explain: bool, call: Call, threads: int) -> bytes:
    rows = served.contract.read_many(body)
    if explain and len(rows) > MOST_EXPLAINED:
        text = f"At most {MOST_EXPLAINED:,} rows are explained at once, not {len(rows):,}."
        raise Problem(422, "too-many-rows", text)
    said = served.predictor.predict(rows, threads)
    call.rows = len(rows)
    content = content_of(said, rows, served)
    if explain:
        content["explanations"] = _explanations(served.predictor.explain(rows))
    return _written(content)


def _written(content: dict[str, Any]) -> bytes:
    return to_json(content, inf_nan_mode="null")


def content_of(said: Prediction | Classification, rows: list[Row] | pl.DataFrame, served: Served) -> dict[str, Any]:
    """Make the answer to rows, in their order."""
    check_priced(said)
    flags = [one.split(";") if one else [] for one in said.flags]
    content: dict[str, Any]
    if isinstance(said, Classification):
        shares = [dict(zip(said.classes, row, strict=True)) for row in said.probabilities.tolist()]
        content = {"predictions": said.labels, "probabilities": shares}
    else:
        content = {"predictions": said.estimate.tolist(), "intervals": {}}
        for level in said.lower:
            ends = zip(said.lower[level].tolist(), said.upper[level].tolist(), strict=True)
            content["intervals"][f"{100 * level:g}"] = list(ends)
    content |= {"flags": flags, "model": served.about}
    target = served.config.target.column
    if isinstance(rows, pl.DataFrame):
        actuals = rows[target].to_list() if target in rows.columns else []
    else:
        actuals = [row.get(target) for row in rows]
    if any(actual is not None for actual in actuals):
        content["actuals"] = actuals
    return content


def check_priced(said: Prediction | Classification) -> None:
    """Refuse an answer that is none: numbers so large that their price is not finite (Problem)."""
    # Of few numbers a list is looked through faster than an array.
    ends = [] if isinstance(said, Classification) else [*said.upper.values()]
    if not all(isfinite(one) for values in (said.estimate.ravel(), *ends) for one in values.tolist()):
        raise Problem(422, "no-price", "A row's values are so far from any that the model knows that it has no price.")


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
