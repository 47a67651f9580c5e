"""An HTTP proxy before S3 that fails on demand: it refuses, stalls, cuts, babbles, or answers with an error."""

import http.client
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

LONGEST_STALL = 120  # seconds; a test that forgets to heal must end nevertheless
PAGE = b"<html><body><h1>It works!</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """What happens to requests whose path holds `where`."""

    kind: Literal["refuse", "stall", "stall in body", "cut", "slow", "page", "noise", "error"]
    where: str = ""
    code: str = ""
    status: int = 503
    seconds: float = 1.0


class FaultyProxy:
    """Passes everything on until `fault` is set; `hits` counts the requests that met it."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.hits = 0
        self._fault: Fault | None = None
        self._healed = threading.Event()
        proxy = self

        class Handler(_Handler):
            through = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def fault(self) -> Fault | None:
        return self._fault

    def break_(self, fault: Fault) -> None:
        """Fail from now on."""
        self._healed.clear()
        self.hits, self._fault = 0, fault

    def heal(self) -> None:
        """Pass everything on again; who was stalled is hung up on."""
        self._fault = None
        self._healed.set()

    def forget(self) -> None:
        """Pass new requests on; who was stalled stays so."""
        self._fault = None

    def stall(self) -> None:
        self._healed.wait(LONGEST_STALL)

    def __enter__(self) -> "FaultyProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    through: FaultyProxy
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.through.fault
        if fault and fault.where not in self.path:
            fault = None
        if fault:
            self.through.hits += 1
            if self._failed(fault):
                self.close_connection = True
                return
        status, headers, content = self._ask(body)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
        self.send_header("Content-Length", length)
        self.end_headers()
        if fault and fault.kind in ("cut", "stall in body") and content:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if fault.kind == "stall in body":
                self.through.stall()
            self.close_connection = True
            return
        self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815

    def _failed(self, fault: Fault) -> bool:
        """Do what replaces an answer; tells whether it did."""
        if fault.kind == "refuse":
            # A reset, as from a machine on which nothing listens any more.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif fault.kind == "stall":
            self.through.stall()
        elif fault.kind == "slow":
            self.through._healed.wait(fault.seconds)
            return False
        elif fault.kind == "page":
            self._say(200, PAGE, "text/html")
        elif fault.kind == "noise":
            self.wfile.write(b"\x00\x01 no HTTP at all\r\n\r\n" * 10)
        elif fault.kind == "error":
            # Like S3's, it quotes the access key.
            text = f"<Error><Code>{fault.code}</Code><AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId></Error>"
            self._say(fault.status, text.encode(), "application/xml")
        else:
            return False
        return True

    def _say(self, status: int, content: bytes, kind: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        target = self.through.target
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client has gone
