"""How the prediction log's process reads; that it writes is in tests/integration/test_prediction_log.py."""

import os
from datetime import UTC, datetime

import pytest

from src.monitoring import log_process
from src.monitoring.log_process import batches
from src.monitoring.ring import Ring, shared
from src.monitoring.writer import PLACE, Record, packed

AT = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)


def asked(name: str) -> Record:
    return Record(AT, name, "housets", "v1", "champion", 200, 1, "2023-05", None, 1.5, b"[{}]", b"{}")


def test_what_has_come_is_one_batch_until_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_process, "BATCH_SECONDS", 0)
    ring = Ring(100_000, 100_000)
    parcels = [packed([asked(f"r{i}"), asked(f"s{i}")], [2 * i, 2 * i + 1]) for i in range(5)]
    monkeypatch.setattr(log_process, "BATCH_BYTES", 2 * len(parcels[0]))
    places = b"".join(PLACE.pack(ring.put(one), len(one)) for one in parcels)
    end, start = os.pipe()
    found = batches(end, shared(os.dup(ring.file)))
    os.write(start, places[:-3])  # the last place is not whole yet
    first, second = next(found), next(found)
    os.write(start, places[-3:])
    os.close(start)
    (last,) = found
    assert [(one.parcels, one.is_full) for one in (first, second, last)] == [(3, True), (1, False), (1, False)]
    rows = [*first.rows, *second.rows, *last.rows]
    assert [row[0] for row in rows] == list(range(10))
    assert [row[1:3] for row in rows[:2]] == [(AT, "r0"), (AT, "s0")]
    os.close(end)
    ring.close()
