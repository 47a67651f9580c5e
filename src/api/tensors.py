"""One tensor of the Open Inference Protocol: its elements from JSON or raw bytes to values of a column, and back.

Raw bytes are as in Triton's docs/protocol/extension_binary_data.md: little-endian elements without anything between
them, a text with its length before it in four bytes.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from src.api.contract import shown
from src.api.problems import Problem
from src.core.config import Column

FLOATS = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2"}
INTEGERS = {f"{sign}INT{8 * size}": f"<{kind}{size}" for sign, kind in (("", "i"), ("U", "u")) for size in (8, 4, 2, 1)}
NUMBERS = FLOATS | INTEGERS
OUTPUTS = {pl.Float64(): "FP64", pl.String(): "BYTES"}
_LENGTH = struct.Struct("<I")
_WORDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number"}


def refusal(text: str) -> Problem:
    """Make the refusal of a request that is not one of the protocol."""
    return Problem(400, "inference", f"{text[:1].upper()}{text[1:]}.")


def member(content: dict[str, Any], name: str, kind: type, where: str) -> Any:
    """Return a member, or None where it is absent or null (Problem when it is of another kind)."""
    value = content.get(name)
    if value is not None and type(value) is not kind:
        raise refusal(f"{where}: {name} must be {_WORDS[kind]}, not {shown(value)}")
    return value


def parameters_of(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters of a request or a tensor (Problem when its elements are in shared memory)."""
    parameters = member(content, "parameters", dict, where) or {}
    if parameters.get("shared_memory_region") is not None:
        raise refusal(f"{where}: shared memory is not supported")
    return parameters


class Tail:
    """What follows the JSON of a request: raw elements, taken tensor by tensor in the order of the inputs."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def take(self, size: int, where: str) -> memoryview:
        """Take one tensor's bytes (Problem when there are not so many)."""
        if not 0 <= size <= len(self._data):
            said = f"binary_data_size is {shown(size)}, and {len(self._data):,} bytes are left in the body"
            raise refusal(f"{where}: {said}")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def end(self) -> None:
        """Hold that nothing is left (Problem)."""
        if len(self._data):
            raise refusal(f"the body has {len(self._data):,} bytes more than the inputs' binary_data_size say")


def values_of(tensor: dict[str, Any], tail: Tail | None, column: Column, where: str, most_rows: int) -> list[Any]:
    """Return the elements of an input tensor, which are of the datatype that it names; null is None.

    Raises:
        Problem: 400 for what is not such a tensor or not of the column's type, 413 for too many rows.
    """
    datatype, taken = member(tensor, "datatype", str, where), _datatypes(column)
    if datatype not in taken:
        raise refusal(f"{where}: datatype must be one of {', '.join(taken)}, not {shown(datatype)}")
    shape = member(tensor, "shape", list, where)
    rows = _rows(shape, where, most_rows)
    data = member(tensor, "data", list, where)
    size = member(parameters_of(tensor, where), "binary_data_size", int, where)
    if (size is None) == (data is None):
        raise refusal(f"{where} needs either data or, for binary data, the parameter binary_data_size")
    if data is not None:
        return _of_json(data, datatype, len(shape), rows, where)
    if tail is None:
        raise refusal(f"{where} is said to be binary, and Inference-Header-Content-Length is not given")
    return _of_bytes(tail.take(size, where), datatype, rows, where)


def _datatypes(column: Column) -> tuple[str, ...]:
    if column.type == "number":
        return tuple(NUMBERS)
    return ("BYTES", *INTEGERS) if column.pad else ("BYTES",)


def _rows(shape: Any, where: str, most_rows: int) -> int:
    whole = isinstance(shape, list) and all(type(one) is int and one >= 0 for one in shape)
    if not whole or len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise refusal(f"{where}: shape must be [n] or [n, 1]")
    rows: int = shape[0]
    if rows > most_rows:
        raise Problem(413, "too-many-rows", f"A request holds at most {most_rows:,} rows, not {shown(rows)}.")
    return rows


def _of_json(data: list[Any], datatype: str, dimensions: int, rows: int, where: str) -> list[Any]:
    if dimensions == 2:  # written flat or row by row
        data = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]
    if len(data) != rows:
        raise refusal(f"{where}: shape says {rows:,} elements, and data holds {len(data):,}")
    fits = _test_of(datatype)
    for one in data:
        # Null is for the row contract to judge, which knows the columns that may be empty.
        if one is not None and not fits(one):
            raise refusal(f"{where}: {shown(one)} is not of datatype {datatype}")
    return data


def _test_of(datatype: str) -> Callable[[Any], bool]:
    if datatype == "BYTES":
        return lambda one: type(one) is str
    if datatype in FLOATS:
        return lambda one: type(one) in (float, int)
    ends = np.iinfo(INTEGERS[datatype])
    low, high = int(ends.min), int(ends.max)
    return lambda one: type(one) is int and low <= one <= high


def _of_bytes(data: memoryview, datatype: str, rows: int, where: str) -> list[Any]:
    if datatype == "BYTES":
        return _texts(data, rows, where)
    kind = np.dtype(NUMBERS[datatype])
    if len(data) != rows * kind.itemsize:
        said = f"shape says {rows * kind.itemsize:,} bytes of {datatype}, and binary_data_size {len(data):,}"
        raise refusal(f"{where}: {said}")
    values: list[Any] = np.frombuffer(data, kind).tolist()
    return values


def _texts(data: memoryview, rows: int, where: str) -> list[Any]:
    texts: list[str] = []
    at = 0
    while len(texts) < rows and at + _LENGTH.size <= len(data):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0]
        try:
            texts.append(str(data[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise refusal(f"{where}: element {len(texts)} is not UTF-8") from None
    if len(texts) != rows or at != len(data):
        raise refusal(f"{where}: shape says {rows:,} elements, and the binary data are not so many lengths and texts")
    return texts


def raw(values: pl.Series) -> bytes:
    """Write an output's elements as raw bytes."""
    if values.dtype == pl.Float64:
        return values.to_numpy().astype("<f8").tobytes()
    texts = [one.encode() for one in values]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
