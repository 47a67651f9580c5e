"""Requests of the Open Inference Protocol, written by Triton's client or by hand."""

from typing import Any

import numpy as np
import polars as pl
from tritonclient.http import InferenceServerClient, InferInput

from src.api import tensors, v2
from src.api.contract import RowContract
from src.core.config import load_config

CONFIG = load_config("housets")
CONTRACT = RowContract(CONFIG)
TYPES = {"number": "FP64", "text": "BYTES", "date": "BYTES"}
VALUES = {"number": 0.5, "text": "x", "date": "2021-05-31"}
ROW = {name: VALUES[CONFIG.columns[name].type] for name in CONFIG.raw_inputs} | {"zipcode": "00501"}
PRODUCED = {"predicted_price": pl.Float64(), "lower_80": pl.Float64(), "flags": pl.String()}
MOST = 1_000


def tensor(
    name: str, values: list[Any], datatype: str | None = None, *, binary: bool = True, deep: bool = False
) -> Any:
    datatype = datatype or TYPES[CONFIG.columns[name].type]
    kind = object if datatype == "BYTES" else np.dtype(tensors.NUMBERS[datatype])
    array = np.array(values, dtype=kind).reshape((-1, 1) if deep else (-1,))
    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def request(rows: list[dict[str, Any]], outputs: Any = None, *, binary: bool = True, deep: bool = False, **more: Any):
    """Write a request with Triton's client: its bytes, and the header that goes with them."""
    made = [tensor(name, [row[name] for row in rows], binary=binary, deep=deep) for name in rows[0]]
    body, length = InferenceServerClient.generate_request_body(made, outputs=outputs, **more)
    return body, None if length is None else str(length)


def read(body: bytes, length: str | None = None) -> v2.Asked:
    return v2.read(body, length, CONFIG, PRODUCED, MOST)


def plain(**changed: Any) -> dict[str, Any]:
    """Write a request of one row by hand; `changed` replaces members of its first input."""
    inputs = [{"name": n, "shape": [1], "datatype": TYPES[CONFIG.columns[n].type], "data": [v]} for n, v in ROW.items()]
    at = next(i for i, one in enumerate(inputs) if one["name"] == "inventory")
    inputs.insert(0, inputs.pop(at) | changed)
    return {"inputs": inputs}
