"""The API as the dashboard sees it: answers as dictionaries and frames, failures in words for people."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

import httpx2 as httpx
import pandas as pd
from pyarrow.ipc import open_stream
from pyarrow.lib import ArrowInvalid

ARROW = "application/vnd.apache.arrow.stream"
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 10.0
# Answers kept for all sessions together, at most this many and this large; each is asked for again by its ETag.
MOST_KEPT, LARGEST_KEPT = 200, 300_000
# So long an answer is taken for the newest without asking: pages ask for the same again and again while they are shown.
FRESH_SECONDS = 2.0

Query = Mapping[str, Any]


class ApiProblem(Exception):  # noqa: N818  (it is what a page says, not a mistake)
    """Why there is no answer: `title` in a few words, the message in more; `retry`: whether it may come later."""

    def __init__(self, title: str, text: str, *, retry: bool = False, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.title = title
        self.retry = retry
        self.problem = problem or {}


@dataclass(frozen=True)
class Table:
    """Rows of `total`."""

    frame: pd.DataFrame
    total: int


@dataclass(frozen=True)
class Kept:
    """An answer, its ETag, and when it was the newest (monotonic)."""

    tag: str
    answer: httpx.Response
    at: float


class Api:
    """One client for all sessions; safe in threads."""

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._lock = Lock()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return a JSON answer (ApiProblem)."""
        return self._json(self._ask(path, query or {}, "application/json"))

    def table(self, path: str, query: Query | None = None) -> Table:
        """Return an answer's rows, brought as Arrow (ApiProblem)."""
        answer = self._ask(path, query or {}, ARROW)
        try:
            with open_stream(answer.content) as reader:
                frame = reader.read_pandas()
            return Table(frame, int(answer.headers.get("x-total-count", len(frame))))
        except (ArrowInvalid, ValueError) as error:
            raise _another_version() from error

    def post(self, path: str, content: Any, query: Query | None = None) -> Any:
        """Send JSON and return the JSON answer (ApiProblem)."""
        return self._json(self._send(lambda: self._http.post(path, json=content, params=dict(query or {}))))

    def score(self, path: str, body: Iterable[bytes], media_type: str, answer_type: str) -> Iterator[bytes]:
        """Send a file in parts and yield the priced one as it comes (ApiProblem)."""
        headers = {"Content-Type": media_type, "Accept": answer_type}
        try:
            with self._http.stream("POST", path, content=body, headers=headers, timeout=120) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise _refused(answer)
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise ApiProblem(
                "The answer broke off", "The connection to the API was lost while the file was priced.", retry=True
            ) from error

    def _ask(self, path: str, query: Query, accept: str) -> httpx.Response:
        request = self._http.build_request("GET", path, params=dict(query), headers={"Accept": accept})
        name = (str(request.url), accept)
        with self._lock:
            kept = self._kept.get(name)
        if kept and monotonic() - kept.at < FRESH_SECONDS:
            return kept.answer
        if kept:
            request.headers["If-None-Match"] = kept.tag
        answer = self._send(lambda: self._http.send(request))
        if kept and answer.status_code == 304:
            answer = kept.answer
        self._keep(name, answer)
        return answer

    def _keep(self, name: tuple[str, str], answer: httpx.Response) -> None:
        tag = answer.headers.get("etag")
        if tag and len(answer.content) <= LARGEST_KEPT:
            with self._lock:
                self._kept[name] = Kept(tag, answer, monotonic())
                self._kept.move_to_end(name)
                if len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)

    def _send(self, send: Any) -> httpx.Response:
        try:
            answer: httpx.Response = send()
        except httpx.ConnectError as error:
            raise ApiProblem(
                "The API does not answer", f"Nothing listens at {self._http.base_url}.", retry=True
            ) from error
        except httpx.TimeoutException as error:
            text = f"The API has not answered within {ANSWER_SECONDS:g} seconds."
            raise ApiProblem("The API is slow", text, retry=True) from error
        except httpx.TransportError as error:
            raise ApiProblem("The API does not answer", "The connection was lost.", retry=True) from error
        if answer.status_code not in (200, 304):
            raise _refused(answer)
        return answer

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise _another_version() from error


def _refused(answer: httpx.Response) -> ApiProblem:
    try:
        problem = answer.json()
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return _another_version()
    match answer.status_code:
        case 401 | 403:
            return ApiProblem(
                "The API refuses the dashboard", f"{detail} The dashboard's own key is API_KEY.", problem=problem
            )
        case 404:
            return ApiProblem("Not found", detail, problem=problem)
        case 429 | 503 | 504:
            return ApiProblem("The API is not ready", detail, retry=True, problem=problem)
        case _:
            return ApiProblem("The API refuses", detail, retry=answer.status_code >= 500, problem=problem)


def _another_version() -> ApiProblem:
    text = "Its answer cannot be understood. What listens there is another version of the API, or none at all."
    return ApiProblem("This is not the API that the dashboard knows", text)
