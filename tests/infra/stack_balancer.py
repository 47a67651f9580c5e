"""A load balancer for tests: it sends requests where the template's listener rule says."""

import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2 as httpx

from src.core.config import PROJECT
from tests.infra.dockerfile import Container
from tests.infra.stack_template import GIVEN, load, resolve
from tests.serving import free_port, until


@contextmanager
def balancing(ports: dict[str, int]) -> Iterator[str]:
    """Forward to the ports of the target groups; yields the address."""
    stack = resolve(load(), GIVEN)
    rule = stack["DashboardRule"]
    patterns = rule["Conditions"][0]["PathPatternConfig"]["Values"]
    matched, rest = (one[0]["TargetGroupArn"] for one in (rule["Actions"], stack["HttpListener"]["DefaultActions"]))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            group = matched if any(fnmatchcase(self.path, one) for one in patterns) else rest
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target = http.client.HTTPConnection("127.0.0.1", ports[group], timeout=30)
            try:
                target.request(self.command, self.path, body, dict(self.headers))
                answer = target.getresponse()
                status, content = answer.status, answer.read()
            except OSError:
                status, content = 502, b"Bad Gateway"
            finally:
                target.close()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *said: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def dashboard(folder: Path) -> Iterator[int]:
    """Run the dashboard as its image does, on a free port."""
    image, port = Container.of("housecast-dashboard"), free_port()
    command = [str(port) if word == str(image.port) else word for word in image.command]
    with (folder / "dashboard.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=PROJECT, stdout=log, stderr=log)
    try:
        until(lambda: _is_up(f"http://127.0.0.1:{port}/dashboard/_stcore/health"), "the dashboard")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _is_up(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False
