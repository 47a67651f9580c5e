"""What the serving benchmark rests on: servers as processes, and loads that do not pass over errors."""

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Load, Target
from benchmarks.processes import free_port, running
from src.core.errors import ConfigError, GateError

LOADS = [load.loop, *([load.wrk] if load.has_wrk() else [])]
# Starts a child that outlives its parent, says its number, and serves.
PARENT = """
import http.server, pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[2]).write_text(str(child.pid))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class Answers(BaseHTTPRequestHandler):
    """Keeps connections open, and refuses a body of `bad`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500 if body == b"bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def loaded(how: object, url: str, folder: Path, bodies: str) -> Load:
    (folder / "bodies").write_text(bodies)
    return how(Target(url, {"X-Any": "one"}, folder / "bodies"), 2, 1)  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize("how", LOADS)
def test_a_load_counts_answers_and_their_times(how: object, url: str, tmp_path: Path) -> None:
    found = loaded(how, url, tmp_path, "one\ntwo\n")
    assert found.requests > 10
    assert found.per_second == pytest.approx(found.requests, rel=0.5)
    assert 0 < found.p50_ms <= found.p99_ms < 1000


@pytest.mark.parametrize("how", LOADS)
def test_a_load_with_errors_among_its_answers_fails(how: object, url: str, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"not 2xx|answered 500"):
        loaded(how, url, tmp_path, "one\nbad\n")


def test_an_absent_wrk_is_named_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="apt-get install wrk"):
        load.wrk(Target("http://127.0.0.1:1/", {}, tmp_path), 1, 1)


def test_a_server_is_waited_for_and_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", PARENT, str(port), str(tmp_path / "child")]
    with running(command, {}, f"http://127.0.0.1:{port}/", tmp_path / "log") as process:
        child = Path("/proc") / (tmp_path / "child").read_text()
        assert 0 < process.ready_seconds < 60
        assert process.resident_mb() > 1
        assert process.cpu_seconds() > 0
        assert child.exists()
    for path in (child, Path(f"/proc/{process.pid}")):
        until = time.monotonic() + 10
        while path.exists() and "Z" not in (path / "stat").read_text().rpartition(")")[2].split()[:1]:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with (
        pytest.raises(GateError, match="no model here"),
        running(command, {}, f"http://127.0.0.1:{free_port()}/", tmp_path / "log"),
    ):
        pass
