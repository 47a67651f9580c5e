"""A stop fails nobody: whoever is connected gets a whole answer, and the process ends by itself, in time, with 0."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from src.core.config import PROJECT, Settings
from tests.faulty_proxy import Fault, FaultyProxy
from tests.integration.stores import BucketPlace
from tests.integration.test_api_clients import connected, request, rows_of, until_closed
from tests.serving import LEAN, Server, Small, free_port, serving, until

OURS = ("-m", "src.api.main")
BARE = ("-m", "uvicorn", "src.api.main:app")
BOTH = pytest.mark.parametrize("command", [OURS, BARE], ids=["ours", "bare"])
CONNECTIONS = 8
KILL_SECONDS = 30  # after which ECS kills


class Loop:
    """Asks over one kept connection after another; a request on one that stood and got no whole answer has failed."""

    def __init__(self, port: int, body: bytes) -> None:
        self.answers, self.failures = 0, list[str]()
        self._port, self._request = port, request(body)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=60)
            except OSError:
                return  # nobody listens any more
            with connection:
                while self._asked(connection):
                    pass

    def _asked(self, connection: socket.socket) -> bool:
        """Ask once; tells whether the connection is kept."""
        got = b""
        try:
            connection.sendall(self._request)
            while not (whole := re.match(rb"(.*?\r\n\r\n)", got, re.DOTALL)) or len(got) < _size(whole[1]):
                part = connection.recv(65_536)
                if not part:
                    self.failures.append(f"closed after {len(got)} bytes")
                    return False
                got += part
        except OSError as error:
            self.failures.append(f"{error!r} after {len(got)} bytes")
            return False
        if not got.startswith(b"HTTP/1.1 200"):
            self.failures.append(got[:200].decode())
        self.answers += 1
        return b"connection: close" not in got.lower()

    def join(self) -> None:
        self._thread.join(120)


def _size(head: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", head)
    assert found
    return len(head) + int(found[1])


@contextmanager
def server_of(command: tuple[str, ...], folder: Path, small: Small, **told: str) -> Iterator[Server]:
    made = {"MODEL_STORE": str(small.store.root), "RATE_LIMIT": "0", "DRAIN_SECONDS": "0.5", **LEAN, **told}
    with serving(folder, command=command, **made) as server:
        yield server


def ended(server: Server) -> int:
    return server.process.wait(KILL_SECONDS)


@BOTH
@pytest.mark.parametrize("time_of_many", range(2))
def test_a_stop_under_load_fails_no_request(
    command: tuple[str, ...], time_of_many: int, small: Small, tmp_path: Path
) -> None:
    slow_one = request(rows_of(small))
    with server_of(command, tmp_path, small) as server, connected(server) as slow:
        slow.sendall(slow_one[:-10])
        loops = [Loop(server.port, rows_of(small, i)) for i in range(CONNECTIONS)]
        until(lambda: all(loop.answers > 10 for loop in loops), "load on each connection")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: said_unready(server), "not ready any more, and answered")
        until(lambda: refused(server), "the end of listening")
        slow.sendall(slow_one[-10:])
        said = until_closed(slow)
        assert said.startswith(b"HTTP/1.1 200")
        assert b"predictions" in said
        assert ended(server) == 0
        for loop in loops:
            loop.join()
    assert [loop.failures for loop in loops] == [[]] * CONNECTIONS
    assert "Traceback" not in server.log.read_text()


def said_unready(server: Server) -> bool:
    try:
        said = server.get("/health/ready", timeout=10)
    except httpx.TransportError:
        return False
    if said.status_code != 503:
        return False
    assert "about to stop" in said.text
    assert said.headers["connection"] == "close"
    return True


def refused(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except OSError:
        return True
    return False


def test_who_was_let_in_and_has_not_asked_yet_is_waited_for(small: Small, tmp_path: Path) -> None:
    with server_of(OURS, tmp_path, small) as server:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: said_unready(server), "not ready any more")
        with connected(server) as late:
            time.sleep(1.2)  # nobody is let in after 0.5 s, and 0.3 s later the listener would be closed
            late.sendall(request(rows_of(small)))
            assert until_closed(late).startswith(b"HTTP/1.1 200")
        assert ended(server) == 0


@pytest.mark.parametrize("serve", ["from src.api.main import main; main()", "import uvicorn; uvicorn.main()"])
def test_a_request_that_never_ends_is_cut_off(serve: str, small: Small, tmp_path: Path) -> None:
    code = f"import src.api.drain as drain; drain.GRACE_SECONDS = 1; import sys; {serve}"
    command = ("-c", code, *(["src.api.main:app"] if "uvicorn" in serve else []))
    with (
        server_of(command, tmp_path, small, DRAIN_SECONDS="0.1", REQUEST_SECONDS="300") as server,
        connected(server) as slow,
    ):
        slow.sendall(request(rows_of(small))[:-10])
        server.process.send_signal(signal.SIGTERM)
        said = until_closed(slow)
        assert said.startswith(b"HTTP/1.1 503")
        assert b"urn:housecast:problem:stopping" in said
        assert ended(server) == 0


def test_a_second_signal_ends_the_waiting_and_a_third_everything(small: Small, tmp_path: Path) -> None:
    with (
        server_of(OURS, tmp_path, small, DRAIN_SECONDS="300", REQUEST_SECONDS="300") as server,
        connected(server) as slow,
    ):
        slow.sendall(request(rows_of(small))[:-10])
        server.process.send_signal(signal.SIGTERM)
        until(lambda: said_unready(server), "not ready any more")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refused(server), "the end of listening")
        assert server.process.poll() is None, "the request at work is waited for"
        server.process.send_signal(signal.SIGTERM)
        assert ended(server) == 0


@BOTH
def test_ctrl_c(command: tuple[str, ...], small: Small, tmp_path: Path) -> None:
    with server_of(command, tmp_path, small, DRAIN_SECONDS="300") as server, connected(server):
        server.process.send_signal(signal.SIGINT)
        assert ended(server) == 0
    assert "Traceback" not in server.log.read_text()


def test_a_stop_while_the_model_is_loaded(small: Small, tmp_path: Path) -> None:
    told = {"MODEL_STORE": str(small.store.root), "DRAIN_SECONDS": "0.1", **LEAN}
    with serving(tmp_path, wait=False, **told) as server:
        server.process.send_signal(signal.SIGTERM)
        assert ended(server) == 0
    assert "Traceback" not in server.log.read_text()


def test_a_stop_while_the_store_hangs(s3_settings: Settings, s3_endpoint: str, small: Small, tmp_path: Path) -> None:
    bucket = BucketPlace(s3_settings)
    with FaultyProxy(s3_endpoint) as proxy:
        proxy.break_(Fault("stall"))
        told = {"MODEL_STORE": bucket.uri, "S3_ENDPOINT_URL": proxy.url, "AWS_REGION": "us-east-1", **LEAN}
        with serving(tmp_path, wait=False, DRAIN_SECONDS="0.1", **told) as server:
            until(lambda: proxy.hits > 1, "looks that hang")
            assert server.get("/health/ready").status_code == 503
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert ended(server) == 0
            assert time.monotonic() - began < KILL_SECONDS
    assert "Traceback" not in server.log.read_text()


def test_a_log_that_nobody_reads_holds_up_neither_answers_nor_the_stop(small: Small) -> None:
    told = {"MODEL_STORE": str(small.store.root), "DRAIN_SECONDS": "0.1", "RATE_LIMIT": "0", **LEAN}
    port = free_port()
    command = [sys.executable, *OURS, "--port", str(port)]
    with subprocess.Popen(command, cwd=PROJECT, env=os.environ | told, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr
            fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                until(lambda: ready(client), "the model")
                for _ in range(100):  # each is a warning of the event loop's
                    with socket.create_connection(("127.0.0.1", port)) as noise:
                        noise.sendall(b"\0 no HTTP\r\n\r\n")
                for i in range(200):
                    answer = client.post("/predict", json=small.rows[i % 5], headers={"X-Request-ID": "x" * 64})
                    assert answer.status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(KILL_SECONDS) == 0
        finally:
            process.kill()


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False
