"""Clients that are slow, silent, gone or many: the others are answered, and nothing of them stays."""

import json
import re
import resource
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.serving import LEAN, Asking, Server, Small, answers, serving, until

# The limits of a real server, in fractions of a second.
START = """
import src.api.protocol as protocol
protocol.HEADER_SECONDS = protocol.LEFTOVER_SECONDS = protocol.TAKING_SECONDS = 0.5
from src.api.main import main
main()
"""
IDLE = 10_000
OWN_FILES = 500  # of the test process and of the server, beside connections


@pytest.fixture(scope="module")
def server(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    told = {"MODEL_STORE": str(small.store.root), "RATE_LIMIT": "0", "REQUEST_SECONDS": "1.5", **LEAN}
    with serving(folder, command=("-c", START), **told) as made:
        yield made
        assert made.stop() == 0
    log = made.log.read_text()
    assert '"level":"ERROR"' not in log
    assert "Traceback" not in log


@pytest.fixture
def prices(server: Server, small: Small) -> Iterator[Asking]:
    """Ask all the time from another connection."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        with Asking(client, small, {}) as asking:
            yield asking
        assert asking.failures == []


def connected(server: Server, *, buffer: int | None = None) -> socket.socket:
    made = socket.socket()
    if buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.connect(("127.0.0.1", server.port))
    made.settimeout(30)
    return made


def request(body: bytes, *headers: str, path: str = "/predict", kind: str = "application/json") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def rows_of(small: Small, first: int = 0, count: int = 1) -> bytes:
    return json.dumps([small.rows[i % len(small.rows)] for i in range(first, first + count)]).encode()


def until_closed(made: socket.socket) -> bytes:
    """Read until the server closes."""
    parts = []
    try:
        while part := made.recv(65_536):
            parts.append(part)
    except (ConnectionResetError, BrokenPipeError):
        pass
    return b"".join(parts)


def answers_in(stream: bytes) -> list[tuple[int, Any]]:
    """Take the answers in a stream of bytes apart: status and JSON."""
    found = []
    while stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        size = int(length[1])
        found.append((int(head.split()[1]), json.loads(rest[:size])))
        stream = rest[size:]
    return found


def nothing_stays(server: Server) -> None:
    """Wait until the server works at nothing but the question itself."""

    def in_flight() -> float:
        lines = server.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith("housecast_requests_in_flight ")).split()[1])

    until(lambda: in_flight() <= 2, "no request in flight but this one and the loop's")


def test_headers_that_come_slowly(server: Server, prices: Asking) -> None:
    with connected(server) as slow:
        slow.settimeout(0.05)
        for byte in request(b"{}"):
            try:
                slow.sendall(bytes([byte]))
                assert slow.recv(1) == b"", "closed without an answer"
                break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        else:
            pytest.fail("the headers were waited for")


def test_headers_without_an_end(server: Server, prices: Asking) -> None:
    with connected(server) as made:
        made.sendall(b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * 40_000)
        assert until_closed(made).startswith(b"HTTP/1.1 400")


def test_what_is_no_http(server: Server, prices: Asking) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"\r\n\r\n\0\0\0", b"GET\r\n\r\n"):
        with connected(server) as made:
            made.sendall(noise)
            assert until_closed(made).startswith((b"HTTP/1.1 400", b""))


def test_a_body_that_comes_slowly(server: Server, prices: Asking, small: Small) -> None:
    body = rows_of(small)
    with connected(server) as slow:
        slow.sendall(request(body)[: -len(body) // 2])
        said = until_closed(slow)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"urn:housecast:problem:late" in said
    with connected(server) as slow:  # and one that is slow and in time
        whole = request(body, "Connection: close")
        for part in range(0, len(whole), len(whole) // 4):
            slow.sendall(whole[part : part + len(whole) // 4])
            time.sleep(0.1)
        assert until_closed(slow).startswith(b"HTTP/1.1 200")
    nothing_stays(server)


def test_a_client_that_goes_away_in_the_middle_of_its_body(server: Server, prices: Asking, small: Small) -> None:
    body = rows_of(small, count=50)
    for reset in (False, True):
        with connected(server) as made:
            made.sendall(request(body, f"X-Request-ID: gone-{reset}")[:-1000])
            if reset:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for path, kind in (("/admin/promote", "application/json"), ("/datasets/housets/score", "text/csv")):
        with connected(server) as made:
            made.sendall(request(b'{"dataset": "housets"}', "X-Request-ID: gone-too", path=path, kind=kind)[:-5])
    nothing_stays(server)
    until(lambda: server.log.read_text().count('"gone-') == 4, "the lines of the log")
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"gone-' in line]
    assert [line["status"] for line in lines if line["route"] != "/admin/promote"] == [499, 499, 499]


def test_a_client_that_goes_away_before_its_answer(server: Server, prices: Asking, small: Small) -> None:
    for _ in range(3):
        with connected(server) as made:
            made.sendall(request(rows_of(small, count=200), path="/predict?explain=true"))
    nothing_stays(server)


def test_a_client_that_takes_no_answer(server: Server, prices: Asking, small: Small) -> None:
    many = request(rows_of(small, count=3_000))
    with connected(server, buffer=4096) as silent:
        # At first the system's buffers take the answers.
        until(lambda: is_reset(silent, many), "the end of the server's patience")
    nothing_stays(server)


def is_reset(made: socket.socket, more: bytes) -> bool:
    try:
        made.sendall(more)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def test_requests_ahead_of_their_answers(server: Server, prices: Asking, small: Small) -> None:
    wanted = small.predictor.predict(small.rows[:20]).estimate.tolist()
    asked = [request(rows_of(small, i)) for i in range(19)]
    asked.insert(7, request(b"[1, 2"))
    asked.append(request(rows_of(small, 19), "Connection: close"))
    with connected(server) as made:
        made.sendall(b"".join(asked))
        said = answers_in(until_closed(made))
    assert [status for status, _ in said] == [200] * 7 + [400] + [200] * 13
    assert [price for status, answer in said if status == 200 for price in answer["predictions"]] == wanted


def test_far_more_requests_than_are_kept(server: Server, prices: Asking) -> None:
    with connected(server) as made:
        with suppress(ConnectionResetError, BrokenPipeError):
            made.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
        assert until_closed(made).count(b"HTTP/1.1 200") < 20_000
    nothing_stays(server)


def test_a_body_that_waits_to_be_asked_for(server: Server, small: Small) -> None:
    body = rows_of(small)
    with connected(server) as made:
        head = request(body, "Expect: 100-continue", "Connection: close")[: -len(body)]
        made.sendall(head)
        assert made.recv(1000).startswith(b"HTTP/1.1 100")
        made.sendall(body)
        assert until_closed(made).startswith(b"HTTP/1.1 200")


@contextmanager
def many_files() -> Iterator[int]:
    """Allow this process as many open files as the system lets, and say how many idle connections that is."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield min(IDLE, before[1] - OWN_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_ten_thousand_idle_connections(server: Server, prices: Asking, record_property: Any) -> None:
    with many_files() as count:
        record_property("connections", count)
        if count < IDLE:
            print(f"only {count:,} connections: the limit of open files allows no more")  # noqa: T201
        idle = [connected(server) for _ in range(count)]
        try:
            before = prices.count
            until(lambda: prices.count > before + 5, "prices while they are open")
            assert server.get("/health/ready").status_code == 200
            # One that never asks anything is closed.
            for made in idle[:: count // 50]:
                assert made.recv(1) == b""
        finally:
            for made in idle:
                made.close()
    nothing_stays(server)


def test_more_connections_than_there_are_files(small: Small, tmp_path: Path) -> None:
    start = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))\n" + START
    told = {"MODEL_STORE": str(small.store.root), "RATE_LIMIT": "0", **LEAN}
    with (
        serving(tmp_path, command=("-c", start.replace("= 0.5", "= 5.0")), **told) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
        Asking(client, small, {}) as prices,
    ):
        idle = [connected(server) for _ in range(600)]
        until(lambda: "connections are turned away" in server.log.read_text(), "the line of the log")
        before = prices.count
        until(lambda: prices.count > before + 5, "prices while they are open")
        for made in idle:
            made.close()
        until(lambda: answers(server, "/health/ready"), "new connections are let in")
    assert prices.failures == []
    assert "Too many open files" not in server.log.read_text()
