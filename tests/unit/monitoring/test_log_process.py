"""How the prediction log's process reads; that it writes is in tests/integration/test_prediction_log.py."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.core.config import Settings
from src.monitoring import log_process
from src.monitoring.log_process import Batch, Process, batches
from src.monitoring.ring import Ring, shared
from src.monitoring.writer import PLACE, Record, packed

AT = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)


def batch(number: int, *, is_full: bool = False) -> Batch:
    return Batch(1, [(number, *asked(f"r{number}"))], is_full)


def asked(name: str) -> Record:
    return Record(AT, name, "housets", "v1", "champion", 200, 1, "2023-05", None, 1.5, b"[{}]", b"{}")


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux has it")
@pytest.mark.parametrize("is_forbidden", [False, True])
def test_all_is_written_whatever_the_system_lets_it_do(
    is_forbidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    policies = []

    def refuse(*_: object) -> None:
        raise PermissionError

    if is_forbidden:
        monkeypatch.setattr(os, "sched_setscheduler", refuse)
    write = log_process.insert

    def noted(*given: Any) -> list[int]:
        policies.append(os.sched_getscheduler(0))
        return write(*given)

    monkeypatch.setattr(log_process, "insert", noted)
    given = [batch(0), batch(1, is_full=True), batch(2)]
    monkeypatch.setattr(log_process, "batches", lambda *_: iter(given))
    monkeypatch.setattr(log_process, "shared", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["log_process", "0"])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: 0))
    Process(Settings(workspace=tmp_path)).run()
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == 3 * [{"parcels": 1, "refused": []}]
    idle = os.SCHED_OTHER if is_forbidden else os.SCHED_IDLE
    assert policies == [os.SCHED_OTHER, idle, os.SCHED_OTHER]


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
