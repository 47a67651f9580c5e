"""The client against a small server: answers, answers that have not changed, and every way to fail in words."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import polars as pl
import pytest

from dashboard import client as module
from dashboard.client import ARROW, Api, ApiProblem

Answer = tuple[int, dict[str, str], bytes]


class Answering(ThreadingHTTPServer):
    """Answers each request with what `answer` says; `asked` are the requests' headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[str], Answer] = lambda _: (200, {}, b"{}")
        self.asked: list[dict[str, str]] = []
        self.bodies: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self) -> None:
        self.server.asked.append({name.lower(): value for name, value in self.headers.items()})
        if self.command == "POST" and "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.server.bodies.append(body)
        status, headers, content = self.server.answer(self.path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Answering]:
    made = Answering()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def api(server: Answering) -> Iterator[Api]:
    made = Api(f"http://127.0.0.1:{server.server_port}", "key")
    yield made
    made.close()


def problem_of(call: Callable[[], Any]) -> ApiProblem:
    with pytest.raises(ApiProblem) as caught:
        call()
    return caught.value


def test_an_answer_that_has_not_changed_is_not_sent_again(
    server: Answering, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    server.answer = lambda _: (200, {"ETag": '"1"'}, b'{"rows": [1]}')
    assert api.get("/x", {"region": ["a", "b"]}) == {"rows": [1]}
    server.answer = lambda path: (304, {"ETag": '"1"'}, b"") if path == "/x?region=a&region=b" else (200, {}, b"{}")
    assert api.get("/x", {"region": ["a", "b"]}) == {"rows": [1]}
    assert server.asked[0]["authorization"] == "Bearer key"
    assert [one.get("if-none-match") for one in server.asked] == [None, '"1"']
    assert api.get("/x") == {}


def test_what_was_the_newest_a_moment_ago_is_not_asked_for(server: Answering, api: Api) -> None:
    server.answer = lambda _: (200, {"ETag": '"1"'}, b"1")
    assert [api.get("/x"), api.get("/x"), api.get("/y")] == [1, 1, 1]
    assert len(server.asked) == 2


def test_what_is_kept_is_bounded(server: Answering, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    monkeypatch.setattr(module, "LARGEST_KEPT", 50)
    server.answer = lambda path: (200, {"ETag": '"1"'}, b"0" if path != "/large" else b'"' + b"x" * 100 + b'"')
    for path in ("/a", "/b", "/c", "/large", "/a", "/c"):
        api.get(path)
    assert [one.get("if-none-match") for one in server.asked] == [None, None, None, None, None, '"1"']


def test_rows_come_as_arrow(server: Answering, api: Api) -> None:
    stream = BytesIO()
    pl.DataFrame({"a": [1, 2]}).write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    server.answer = lambda _: (200, {"X-Total-Count": "70"}, stream.getvalue())
    found = api.table("/rows")
    assert (found.frame["a"].tolist(), found.total) == ([1, 2], 70)
    assert server.asked[0]["accept"] == ARROW
    server.answer = lambda _: (200, {}, b"<html>")
    assert "another version" in str(problem_of(lambda: api.table("/rows")))


@pytest.mark.parametrize(
    ("status", "title", "retry"),
    [
        (401, "The API refuses the dashboard", False),
        (404, "Not found", False),
        (422, "The API refuses", False),
        (429, "The API is not ready", True),
        (500, "The API refuses", True),
        (503, "The API is not ready", True),
    ],
)
def test_refusals_are_told_in_the_apis_words(server: Answering, api: Api, status: int, title: str, retry: bool) -> None:
    server.answer = lambda _: (status, {}, json.dumps({"detail": "No model yet.", "errors": [1]}).encode())
    problem = problem_of(lambda: api.post("/x", {}))
    assert (problem.title, problem.retry) == (title, retry)
    assert str(problem).startswith("No model yet.")
    assert problem.problem["errors"] == [1]


@pytest.mark.parametrize("answer", [(200, b"<html>hello"), (502, b"<html>bad gateway"), (404, b"[]"), (404, b"")])
def test_what_is_not_the_api_is_named(server: Answering, api: Api, answer: tuple[int, bytes]) -> None:
    server.answer = lambda _: (answer[0], {}, answer[1])
    assert problem_of(lambda: api.get("/x")).title == "This is not the API that the dashboard knows"


def test_an_api_that_is_down_or_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = Api(f"http://127.0.0.1:{unused.getsockname()[1]}")
        problem = problem_of(lambda: down.get("/x"))
        down.close()
    assert (problem.title, problem.retry) == ("The API does not answer", True)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = Api(f"http://127.0.0.1:{silent.getsockname()[1]}")
        problem = problem_of(lambda: slow.get("/x"))
        slow.close()
    assert (problem.title, problem.retry) == ("The API is slow", True)
    assert "0.1 seconds" in str(problem)


def test_a_file_is_sent_in_parts_and_comes_back(server: Answering, api: Api) -> None:
    server.answer = lambda _: (200, {}, b"a,b\n1,2\n")
    assert b"".join(api.score("/score", iter([b"a\n", b"1\n"]), "text/csv", "text/csv")) == b"a,b\n1,2\n"
    assert server.bodies == [b"a\n1\n"]
    server.answer = lambda _: (422, {}, b'{"detail": "no column b"}')
    assert str(problem_of(lambda: list(api.score("/score", iter([b"a"]), "text/csv", "text/csv")))) == "no column b"
    server.answer = lambda _: (200, {"Content-Length": "100"}, b"a,b\n")
    assert problem_of(lambda: list(api.score("/score", iter([b"a"]), "text/csv", "text/csv"))).retry
