"""Universal Binary JSON (draft 12), as XGBoost saves models: typed arrays of numbers become NumPy arrays.

Text would take ten times as long, in one call that no other Python thread can interrupt.
"""

import struct
from typing import Any

import numpy as np

from src.core.errors import BundleError

_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_FORMATS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


def read(data: bytes) -> Any:
    """Read one value (BundleError when it is not UBJSON)."""
    try:
        return _Reader(data).value()
    except (struct.error, ValueError, RecursionError, KeyError) as error:
        raise BundleError(f"not UBJSON ({type(error).__name__}: {error})") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self) -> Any:
        marker = self._take(1)
        if marker == b"{":
            return self._object()
        if marker == b"[":
            return self._array()
        if marker == b"S":
            return self._text()
        return _CONSTANTS[marker] if marker in _CONSTANTS else self._number(marker)

    def _object(self) -> dict[str, Any]:
        found = {}
        while self._next() != b"}":
            name = self._text()
            found[name] = self.value()
        self._at += 1
        return found

    def _array(self) -> Any:
        kind = self._optional(b"$")
        if self._optional(b"#") is not None:
            self._at -= 1
            count = self._count()
            if kind is None:
                return [self.value() for _ in range(count)]
            dtype = np.dtype(_NUMBERS[kind])
            typed = np.frombuffer(self._take(count * dtype.itemsize), dtype)
            return typed.astype(dtype.newbyteorder("="))
        found = []
        while self._next() != b"]":
            found.append(self.value())
        self._at += 1
        return found

    def _optional(self, marker: bytes) -> bytes | None:
        """Take a marker and what follows it if it is there."""
        if self._next() != marker:
            return None
        self._at += 1
        return self._take(1)

    def _text(self) -> str:
        return self._take(self._count()).decode()

    def _count(self) -> int:
        count = self._number(self._take(1))
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"{count} is no length")
        return count

    def _number(self, marker: bytes) -> Any:
        layout = _FORMATS[marker]
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _next(self) -> bytes:
        return self._data[self._at : self._at + 1]

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise ValueError(f"it ends at byte {len(self._data):,}")
        self._at += size
        return taken
