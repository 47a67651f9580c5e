"""Read the few fields of a flatbuffer that Arrow's headers are asked for.

Each access is within the buffer, or raises struct.error or IndexError.
"""

import struct


class Table:
    """A table of a flatbuffer: fields by position; an absent number is 0."""

    def __init__(self, buffer: bytes, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._fields = position - self._at("<i", position)

    @classmethod
    def root(cls, buffer: bytes) -> "Table":
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def _at(self, kind: str, place: int) -> int:
        if place < 0:  # which Python would count from the end
            raise IndexError(place)
        return int(struct.unpack_from(kind, self._buffer, place)[0])

    def _place(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot >= self._at("<H", self._fields):
            return None
        offset = self._at("<H", self._fields + slot)
        return self._position + offset if offset else None

    def number(self, field: int, kind: str) -> int:
        place = self._place(field)
        return 0 if place is None else self._at(kind, place)

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def _target(self, field: int) -> int:
        place = self._place(field)
        if place is None:
            raise IndexError(field)
        return place + self._at("<I", place)

    def table(self, field: int) -> "Table":
        return Table(self._buffer, self._target(field))

    def blocks(self, field: int) -> list[tuple[int, int, int]]:
        """Read a vector of File.fbs's Block: where a message starts, the bytes of its header and of its body."""
        places = self._vector(field, 24) if self.has(field) else ()
        return [(self._at("<q", at), self._at("<i", at + 8), self._at("<q", at + 16)) for at in places]

    def buffers(self, field: int) -> list[tuple[int, int]]:
        """Read a vector of Message.fbs's Buffer: where in the body one starts, and its bytes."""
        return [(self._at("<q", at), self._at("<q", at + 8)) for at in self._vector(field, 16)]

    def _vector(self, field: int, size: int) -> range:
        start = self._target(field)
        return range(start + 4, start + 4 + size * self._at("<I", start), size)
