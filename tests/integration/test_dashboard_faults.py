"""What the dashboard says when the API is slow, absent, closed to it, without a model, or of another version."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import client, page
from src import __version__
from tests.serving import free_port

PROBLEM = "application/problem+json"
# What a path is answered with: status, media type, content.
Answers = Callable[[str], tuple[int, str, Any]]


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """Run a server that answers as it is told; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, media_type, content = answers(self.path.partition("?")[0])
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], AppTest]]:
    """Runs Explore before the API at an address."""

    def show(url: str) -> AppTest:
        monkeypatch.setenv("API_URL", url)
        page.settings.clear()
        page.api.clear()

        def script() -> None:
            from dashboard import explore, page

            page.run(explore.page)

        return AppTest.from_function(script, default_timeout=60).run()

    yield show
    page.api().close()
    page.settings.clear()
    page.api.clear()


def said(at: AppTest) -> str:
    """Return what the page says is wrong; never a traceback."""
    assert not at.exception
    (message,) = [*at.warning, *at.error]
    return str(message.value)


def problem(status: int, detail: str) -> Answers:
    return lambda _: (status, PROBLEM, {"status": status, "title": "x", "detail": detail})


def test_an_api_that_never_answers_is_slow(shown: Callable[[str], AppTest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = shown(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "The API is slow" in said(at)
    assert "your filters are kept" in said(at)


def test_nothing_listens(shown: Callable[[str], AppTest]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"Nothing listens at {url}" in said(shown(url))


@pytest.mark.parametrize(
    ("status", "detail", "words"),
    [
        (
            401,
            "A key is needed.",
            "The API refuses the dashboard.** A key is needed. The dashboard's own key is API_KEY.",
        ),
        (503, "No model is loaded yet.", "The API is not ready.** No model is loaded yet. Trying again"),
        (429, "60 requests a minute.", "The API is not ready.** 60 requests a minute. Trying again"),
        (500, "Something broke.", "The API refuses.** Something broke. Trying again"),
    ],
)
def test_what_the_api_says_is_shown(shown: Callable[[str], AppTest], status: int, detail: str, words: str) -> None:
    with answering(problem(status, detail)) as url:
        assert words in said(shown(url))


def test_an_api_of_another_version_is_named(shown: Callable[[str], AppTest]) -> None:
    def newer(path: str) -> tuple[int, str, Any]:
        content = {"name": "housecast", "version": "7.0.0"} if path == "/" else {"items": []}
        return 200, "application/json", content

    with answering(newer) as url:
        assert f"The API is version 7.0.0 and the dashboard {__version__}" in said(shown(url))


def test_something_else_that_speaks_json_is_not_the_api(shown: Callable[[str], AppTest]) -> None:
    with answering(lambda _: (200, "application/json", ["hello"])) as url:
        assert f"What listens at {url} is not the API" in said(shown(url))


def test_something_that_speaks_no_json_is_not_the_api(shown: Callable[[str], AppTest]) -> None:
    with answering(lambda _: (404, "text/html", "<h1>Not here</h1>")) as url:
        assert "This is not the API that the dashboard knows" in said(shown(url))


def test_the_page_is_whole_again_once_the_api_is(
    shown: Callable[[str], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    up = False

    def answers(path: str) -> tuple[int, str, Any]:
        if not up:
            return 503, PROBLEM, {"detail": "No model is loaded yet."}
        about = {"name": "toy", "title": "A toy", "task": "regression", "date": None, "region": None, "place": None}
        return {
            "/datasets": (200, "application/json", {"default": "toy", "datasets": [{"name": "toy"}]}),
            "/datasets/toy": (200, "application/json", about),
            "/datasets/toy/summary": (200, "application/json", {"rows": [], "left_out": []}),
        }[path]

    with answering(answers) as url:
        at = shown(url)
        assert "No model is loaded yet" in said(at)
        up = True
        at.run()
        assert not [*at.warning, *at.error, *at.exception]
        assert "No predictions yet" in at.info[0].value
