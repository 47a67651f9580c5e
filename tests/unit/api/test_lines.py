"""Lines of the log never hold up whoever writes them."""

import os
import threading
from pathlib import Path

import pytest

from src.api import lines as module
from src.api.lines import Lines


def test_lines_come_whole_and_in_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        lines = Lines(stream.fileno())

        def write(name: int) -> None:
            for i in range(500):
                lines.put(f"{name} {i} {'x' * 50}".encode())

        threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines.flush(60)
    written = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert lines.dropped == 0
    for name in range(4):
        assert [int(i) for who, i, _ in written if int(who) == name] == list(range(500))


def test_a_reader_who_sleeps_costs_lines_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 50)
    reader, writer = os.pipe()
    lines = Lines(writer)
    try:
        for _ in range(40):
            lines.put(b"x" * 10_000)  # more than the pipe holds
        lines.flush(0.5)
        for _ in range(100):
            lines.put(b"y")
        assert lines.dropped >= 50
        wanted = (b"x" * 10_000 + b"\n") * 40 + b"y\n" * (100 - lines.dropped)
        got = b""
        while len(got) < len(wanted):
            got += os.read(reader, 65_536)
        assert got == wanted
        lines.flush(60)
    finally:
        os.close(reader)
        os.close(writer)
