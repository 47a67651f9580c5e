"""The document behind /docs: FastAPI's, with the real rows of what is served, and problem documents everywhere."""

import copy
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from src.api.media import GIVEN, TAKEN
from src.api.routes.comparables import COMPARABLES, MOST_COMPARABLES
from src.api.served import Models, Served
from src.inference_pipeline.prediction_file import Layout
from src.inference_pipeline.priced_rows import summary_columns

Content = dict[str, Any]

PROBLEM: Content = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457: what was refused and why.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:housecast:problem:invalid-rows"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": "integer", "description": "counted from 0"},
                    "field": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
REFUSED: Content = {
    "description": "Refused, with the reason",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
SECURITY: Content = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
EXPLAIN: Content = {
    "name": "explain",
    "in": "query",
    "description": "add the five features that moved each price most, and by how much",
    "schema": {"type": "boolean", "default": False},
}
DESCRIPTION = """What is a home in this place worth in this month, how sure are we, and why?

Rows are raw: the columns of the data set's file, in its units. A value that is not known is written as the file writes
it (most columns of HouseTS: 0). Nothing is filled in: a row with a missing, unknown or impossible value is refused.
"""


def document(api: FastAPI, models: Models) -> Content:
    """Return the OpenAPI document of what is served now."""
    made: Content = get_openapi(title=api.title, version=api.version, description=DESCRIPTION, routes=api.routes)
    served = models.served
    default = served.get(models.settings.default_dataset)
    paths = {"/predict": _predict(default, "the default data set")}
    for name, one in sorted(served.items()):
        paths[f"/datasets/{name}/predict"] = _predict(one, name)
        paths[f"/datasets/{name}/score"] = _score(one)
        paths[f"/datasets/{name}/comparables"] = _comparables(one)
    made["paths"] = paths | made["paths"]
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    for name, one in served.items():
        schemas[f"{name}_row"] = one.contract.schema()
        schemas[f"{name}_prices"] = answer_schema(one)
        schemas[f"{name}_comparables"] = comparables_schema(one)
    _name_choices(made["paths"], list(served.values()))
    made["components"]["securitySchemes"] = SECURITY
    made["security"] = [{}, *({name: []} for name in SECURITY)]
    for operations in made["paths"].values():
        for operation in operations.values():
            operation["responses"] = _responses(operation["responses"])
    return made


def _name_choices(paths: Content, served: list[Served]) -> None:
    """Say which data sets there are, and by which of their columns the batch's output can be sorted."""
    layouts = [Layout(one.config) for one in served]
    rows = dict.fromkeys(name for one in layouts for name in one.kinds)
    scores = dict.fromkeys(name for one in layouts for name in summary_columns(one))
    names = [one.dataset for one in served]
    choices = {
        "/datasets/{name}": {"name": names},
        "/datasets/{name}/places": {"name": names},
        "/datasets/{name}/recent": {"name": names},
        "/datasets/{name}/predictions": {"name": names, "sort": list(rows)},
        "/datasets/{name}/summary": {"name": names, "sort": list(scores)},
    }
    for path, named in choices.items():
        for parameter in paths[path]["get"]["parameters"]:
            if named.get(parameter["name"]):
                parameter["schema"] = {"type": "string", "enum": named[parameter["name"]]}


def _responses(responses: Mapping[str, Any]) -> Content:
    kept = {code: copy.deepcopy(said) for code, said in responses.items() if code != "422"}
    for code, said in kept.items():
        if not code.startswith("2"):
            said["content"] = REFUSED["content"]
    return {**kept, "default": REFUSED}


def _predict(served: Served | None, title: str) -> Content:
    operation: Content = {
        "tags": ["prices"],
        "summary": f"Price rows of {title}",
        "operationId": f"predict_{title.replace(' ', '_')}",
        "parameters": [EXPLAIN],
        "requestBody": {"required": True, "content": {"application/json": _body(served)}},
        "responses": {"200": {"description": "As many prices as rows, in their order", "content": _answer(served)}},
    }
    return {"post": operation}


def _body(served: Served | None) -> Content:
    if served is None:
        return {"schema": {"type": "object", "description": "No model serves yet, so no row can be described."}}
    row = {"$ref": f"#/components/schemas/{served.dataset}_row"}
    rows = {"type": "array", "items": row, "maxItems": served.contract.most_rows}
    return {
        "schema": {"anyOf": [row, rows]},
        "examples": {
            "one": {"summary": "one row", "value": served.example},
            "several": {"summary": "a list of rows", "value": [served.example]},
        },
    }


def _answer(served: Served | None) -> Content:
    schema = {"$ref": f"#/components/schemas/{served.dataset}_prices"} if served else {"type": "object"}
    return {"application/json": {"schema": schema}}


def _score(served: Served) -> Content:
    name, added = served.dataset, ", ".join(("...", *served.produced, "error"))
    file: Content = {"schema": {"type": "string", "format": "binary"}}
    given = dict.fromkeys(GIVEN, file)
    operation: Content = {
        "tags": ["prices"],
        "summary": f"Price a file of {name}",
        "description": "CSV, NDJSON, Parquet or Arrow IPC, by `Content-Type`; the answer is of the type in `Accept`, "
        "else of the body's. All rows come back in their order; one that cannot be priced says why in `error`.",
        "operationId": f"score_{name}",
        "requestBody": {"required": True, "content": dict.fromkeys(TAKEN, file)},
        "responses": {"200": {"description": f"The file's columns and {added}", "content": given}},
    }
    return {"post": operation}


def _comparables(served: Served) -> Content:
    name = served.dataset
    row = {"schema": {"$ref": f"#/components/schemas/{name}_row"}, "example": served.example}
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_COMPARABLES, "default": COMPARABLES}
    asked: Content = {"name": "limit", "in": "query", "schema": limit}
    answer = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}_comparables"}}}
    common = {
        "tags": ["prices"],
        "summary": f"Find the known rows of {name} that are most like a row",
        "responses": {"200": {"description": "Known rows, the most similar first", "content": answer}},
    }
    in_query = {"name": "row", "in": "query", "required": True, "content": {"application/json": row}}
    body = {"required": True, "content": {"application/json": row}}
    return {
        "get": {**common, "operationId": f"comparables_of_{name}", "parameters": [in_query, asked]},
        "post": {**common, "operationId": f"comparables_{name}", "parameters": [asked], "requestBody": body},
    }


def comparables_schema(served: Served) -> Content:
    """Return the schema of the known rows that are like a row of a data set."""
    config = served.config
    number: Content = {"type": "number", "description": config.target.unit}
    value = {"enum": list(config.target.classes)} if config.task == "classification" else number
    properties = {
        "similarity": {"type": "number", "minimum": 0, "maximum": 1},
        "actual": value,
        "estimate": value,
        "row": {"type": "object", "description": "what tells it apart, and its first numbers"},
    }
    one = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    model = {"type": "object", "additionalProperties": {"type": "string"}}
    said = {"comparables": _list(one), "model": model}
    return {"type": "object", "title": f"{config.name} comparables", "properties": said, "required": list(said)}


def answer_schema(served: Served) -> Content:
    """Return the schema of an answer to rows of a data set."""
    config = served.config
    number, text = {"type": "number"}, {"type": "string"}
    pair = {"type": "array", "items": number, "minItems": 2, "maxItems": 2, "description": "lower and upper bound"}
    if config.task == "classification":
        classes = list(config.target.classes)
        shares = {"type": "object", "properties": dict.fromkeys(classes, number), "required": classes}
        said: Content = {"predictions": _list({"enum": classes}), "probabilities": _list(shares)}
        actual: Content = {"type": ["string", "null"]}
    else:
        levels = {f"{100 * level:g}": _list(pair) for level in config.levels}
        intervals = {"type": "object", "properties": levels, "required": list(levels)}
        said = {"predictions": _list({**number, "description": config.target.unit}), "intervals": intervals}
        actual = {"type": ["number", "null"]}
    amount = {"type": "object", "properties": {"feature": text, "amount": number}, "required": ["feature", "amount"]}
    reasons = {"base": number, "contributions": _list(amount), "rest": number, "unit": text}
    model = dict.fromkeys(("dataset", "version", "target", "unit", "created"), text)
    properties = {
        **said,
        "flags": _list(_list(text)),
        "model": {"type": "object", "properties": model, "required": list(model)},
        "actuals": _list(actual),
        "explanations": _list({"type": "object", "properties": reasons, "required": list(reasons)}),
    }
    return {
        "type": "object",
        "title": f"{config.name} prices",
        "properties": properties,
        "required": [*said, "flags", "model"],
        "additionalProperties": False,
    }


def _list(items: Content) -> Content:
    return {"type": "array", "items": items}
