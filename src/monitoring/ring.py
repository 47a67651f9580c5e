"""Memory that two processes share: one puts bytes there that the other reads, round and round.

What is put is read where it lies, without a pipe through which it would have to be carried. Whoever puts tells the
other through a pipe where; by then all of it is there for the other processor too.
"""

import mmap
import os
import tempfile


class Ring:
    """Gives out its memory in turn. One thread puts, and one, which may be another, frees what was put first."""

    def __init__(self, size: int, usual: int) -> None:
        """Make a ring of `size` bytes; beyond the first `usual` ones none is touched until those are taken."""
        if hasattr(os, "memfd_create"):
            self.file = os.memfd_create("ring")
        else:  # macOS
            with tempfile.TemporaryFile() as file:
                self.file = os.dup(file.fileno())
        os.ftruncate(self.file, size)
        self._memory = mmap.mmap(self.file, size)
        self._size, self._usual = size, usual
        # After what was put last, and after what was freed last; where both are the same, nothing is there.
        self._head = self._tail = 0

    def put(self, content: bytes) -> int | None:
        """Return where the content begins from now on, None where there is no room for it."""
        if self._head == self._tail:  # nothing is there, so that nothing will be freed meanwhile
            self._head = self._tail = 0
        start, tail, size = self._head, self._tail, len(content)
        if start < tail:
            has_room = start + size < tail
        else:
            has_room = start + size <= self._size
            # From the beginning again, even where there is more: little memory in turn stays in the caches.
            if size < tail and (start > self._usual or not has_room):
                start, has_room = 0, True
        if not has_room:
            return None
        self._memory[start : start + size] = content
        self._head = start + size
        return start

    def free(self, start: int, size: int) -> None:
        """Give back what was put first of all that is there."""
        self._tail = start + size

    def close(self) -> None:
        """Give all of it back."""
        self._memory.close()
        os.close(self.file)


def shared(file: int) -> memoryview:
    """Return the memory of another process's ring, to read."""
    return memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
