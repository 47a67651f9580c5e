"""The memory that the prediction log's two processes share."""

import os
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.monitoring.ring import Ring, shared


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring(1_000, 300)
    yield made
    made.close()


def test_what_is_put_is_read_where_it_lies(ring: Ring) -> None:
    there = shared(os.dup(ring.file))
    start = ring.put(b"some bytes")
    assert start is not None
    assert there[start : start + 10] == b"some bytes"


def test_what_is_larger_than_what_is_free_is_not_taken(ring: Ring) -> None:
    assert ring.put(bytes(1_001)) is None
    assert ring.put(bytes(1_000)) == 0
    assert ring.put(b"x") is None
    ring.free(0, 1_000)
    assert ring.put(bytes(1_000)) == 0


def test_the_usual_part_is_used_again_while_what_waits_fits_into_it(ring: Ring) -> None:
    waiting = deque([ring.put(bytes(60))])
    for _ in range(100):
        waiting.append(ring.put(bytes(60)))
        start = waiting.popleft()
        assert start is not None
        assert start <= 360
        ring.free(start, 60)


@given(st.lists(st.one_of(st.none(), st.integers(1, 120)), max_size=200), st.integers(1, 300))
def test_nothing_that_waits_is_written_over(steps: list[int | None], usual: int) -> None:
    ring = Ring(300, usual)
    there = shared(os.dup(ring.file))
    waiting: deque[tuple[int, bytes]] = deque()
    for number, size in enumerate(steps):
        if size is None:
            if waiting:
                start, content = waiting.popleft()
                ring.free(start, len(content))
            continue
        content = bytes([number % 251 + 1]) * size
        start = ring.put(content)
        if start is None:
            assert waiting, "an empty ring takes whatever it can hold"
        else:
            waiting.append((start, content))
        for at, kept in waiting:
            assert there[at : at + len(kept)] == kept
    ring.close()
