"""The Open Inference Protocol, version 2, as bytes: a request to rows, an answer to a response.

The protocol is kserve/open-inference-protocol's (specification/protocol/inference_rest.md) with Triton's binary tensor
data. Every raw column is an input tensor of its name, of shape [n] or [n, 1], and every column that a predictions file
adds is an output tensor of shape [n].
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic_core import from_json, to_json

from src.api.contract import Row, shown
from src.api.front import too_large
from src.api.problems import Problem
from src.api.tensors import OUTPUTS, Tail, member, parameters_of, raw, refusal, values_of
from src.core.config import DatasetConfig

EXTENSIONS = ("binary_tensor_data",)
REQUEST = "the request"
# Digits of a header's length: more bytes than that are in no body.
MOST_DIGITS = 12


@dataclass(frozen=True)
class Output:
    """An output that is asked for, as raw bytes or in the JSON."""

    name: str
    binary: bool


@dataclass(frozen=True)
class Asked:
    """An inference request: its rows, not held against the row contract yet, and what is to be answered."""

    id: str | None
    rows: list[Row]
    outputs: tuple[Output, ...]


def metadata(config: DatasetConfig, version: str, produced: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model: the tensors that it needs, and those that it gives (`produced`: name -> type in a frame)."""
    inputs = {name: "FP64" if config.columns[name].type == "number" else "BYTES" for name in config.raw_inputs}
    outputs = {name: OUTPUTS[kind] for name, kind in produced.items()}
    return {
        "name": config.name,
        "versions": [version],
        "platform": f"housecast_{config.model.family}",
        "inputs": [_tensor(name, datatype) for name, datatype in inputs.items()],
        "outputs": [_tensor(name, datatype) for name, datatype in outputs.items()],
    }


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding.

    Raises:
        Problem: 415 for any but gzip and deflate, 413 for more than `limit` bytes, 400 for what is not compressed so.
    """
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "deflate"):
        raise Problem(415, "encoding", f"Content-Encoding {shown(encoding)} is not gzip or deflate.")
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either of the two, by its first bytes
    try:
        plain = reader.decompress(body, limit + 1)
    except zlib.error:
        raise refusal("the body is not compressed as Content-Encoding says") from None
    if len(plain) > limit:
        raise too_large(limit)
    if not reader.eof:
        raise refusal("the compressed body ends too early")
    return plain


def read(
    body: bytes, header_length: str | None, config: DatasetConfig, produced: Mapping[str, Any], most_rows: int
) -> Asked:
    """Read an inference request.

    Args:
        body: JSON, and raw tensor data after it.
        header_length: what Inference-Header-Content-Length says; None where all of the body is JSON.
        config: the dataset, whose raw columns are the inputs.
        produced: the outputs that there are, by name.
        most_rows: that one request may hold.

    Raises:
        Problem: 413 for too many rows, 400 for all else that is not such a request; says which part of it.
    """
    head, tail = _parted(body, header_length)
    try:
        content = from_json(head)
    except ValueError as error:
        raise refusal(f"the request is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise refusal(f"the request must be an object, not {shown(content)}")
    columns = _columns(content, tail, config, most_rows)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Asked(member(content, "id", str, REQUEST), rows, _outputs(content, produced))


def _parted(body: bytes, header_length: str | None) -> tuple[bytes, Tail | None]:
    if header_length is None:
        return body, None
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) <= MOST_DIGITS):
        raise refusal(f"Inference-Header-Content-Length must be a number of bytes, not {shown(header_length)}")
    length = int(header_length)
    if length > len(body):
        raise refusal(f"Inference-Header-Content-Length is {length:,}, and the body has {len(body):,} bytes")
    return body[:length], Tail(memoryview(body)[length:])


def _columns(content: dict[str, Any], tail: Tail | None, config: DatasetConfig, most_rows: int) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for position, tensor in enumerate(member(content, "inputs", list, REQUEST) or []):
        if not isinstance(tensor, dict):
            raise refusal(f"inputs[{position}] must be an object, not {shown(tensor)}")
        name = member(tensor, "name", str, f"inputs[{position}]")
        if name not in config.columns:
            raise refusal(f"inputs[{position}]: {shown(name)} is not a column of {config.name}")
        if name in columns:
            raise refusal(f"input {name} comes twice")
        columns[name] = values_of(tensor, tail, config.columns[name], f"input {name}", most_rows)
    missing = [name for name in config.raw_inputs if name not in columns]
    if missing:
        raise refusal(f"the input{'s' if len(missing) > 1 else ''} {', '.join(missing)} must be given")
    if tail:
        tail.end()
    first = next(iter(columns))
    for name, values in columns.items():
        if len(values) != len(columns[first]):
            raise refusal(f"input {name} is of {len(values):,} rows, and {first} of {len(columns[first]):,}")
    return columns


def _outputs(content: dict[str, Any], produced: Mapping[str, Any]) -> tuple[Output, ...]:
    binary = member(parameters_of(content, REQUEST), "binary_data_output", bool, REQUEST) or False
    found: dict[str, Output] = {}
    for position, one in enumerate(member(content, "outputs", list, REQUEST) or []):
        where = f"outputs[{position}]"
        if not isinstance(one, dict):
            raise refusal(f"{where} must be an object, not {shown(one)}")
        name, parameters = member(one, "name", str, where), parameters_of(one, where)
        if name not in produced:
            raise refusal(f"{where}: {shown(name)} is not an output ({', '.join(produced)})")
        if name in found:
            raise refusal(f"output {name} is asked for twice")
        if parameters.get("classification") is not None:
            raise refusal(f"{where}: the parameter classification is not supported")
        own = member(parameters, "binary_data", bool, where)
        found[name] = Output(name, binary if own is None else own)
    return tuple(found.values()) or tuple(Output(name, binary) for name in produced)


def write(asked: Asked, dataset: str, version: str, answer: pl.DataFrame) -> tuple[bytes, dict[str, str]]:
    """Write the response to a request, whose answer has a column for each output; returns body and headers."""
    outputs, tail = [], []
    for one in asked.outputs:
        values = answer[one.name]
        entry: dict[str, Any] = {"name": one.name, "datatype": OUTPUTS[values.dtype], "shape": [len(values)]}
        if one.binary:
            tail.append(raw(values))
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = values.to_list()
        outputs.append(entry)
    named = {} if asked.id is None else {"id": asked.id}
    head = to_json({"model_name": dataset, "model_version": version, **named, "outputs": outputs})
    if not tail:
        return head, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return b"".join((head, *tail)), headers
