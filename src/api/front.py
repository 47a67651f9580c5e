"""The door of the service, around every request: who asks, how often and how much, in what time, and what is logged.

Plain ASGI, because it stands in the way of each of thousands of requests a second.
"""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from src.api.keys import Caller, Keyring
from src.api.limits import RateLimit
from src.api.problems import Problem, of_error
from src.api.telemetry import Telemetry
from src.core.config import Settings
from src.core.errors import HousecastError
from src.monitoring.writer import Record, Writer

if TYPE_CHECKING:
    from src.api.shadow import Shadow

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Asked by load balancers and by people who look around; they say nothing of rows.
OPEN = frozenset({"/", "/docs", "/openapi.json", "/health", "/health/live", "/health/ready"})
OPEN_PREFIXES = ("/v2/health/", "/docs/")
# Whoever asks these must get an answer most of all when there is much to do.
PROBES = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
MB = 1_000_000
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# What nginx writes for a caller who hung up; nobody gets it as an answer.
GONE = 499
# Requests that are handed to the prediction log together: by then their bytes are still in the processor's cache, and
# one by one it would take twice as long. One with a body of so many bytes takes the others along.
MOST_ENDED, LARGE = 16, 64_000
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLOSE = (b"connection", b"close")


class ClientGone(Exception):  # noqa: N818  (nothing went wrong here)
    """The caller hung up before its request was whole."""


class AnswerCut(Exception):  # noqa: N818  (what went wrong was logged before)
    """An answer that has begun is cut off, so that nobody takes it for whole."""


class Call:
    """One request: filled in by whoever knows, read by the log when it has ended."""

    __slots__ = (
        "answered", "asked", "at", "caller", "dataset", "deadline", "id", "is_admin", "method", "months", "overdue",
        "route", "rows", "started", "status", "task", "version",
    )  # fmt: skip

    def __init__(self, id: str, method: str, started: float, seconds: float) -> None:  # noqa: A002
        self.id = id
        self.method = method
        self.at = datetime.now(UTC)
        self.started = started
        self.deadline = started + seconds
        self.overdue = False
        self.task: asyncio.Task[Any] | None = None
        self.caller = ""
        self.is_admin = False
        self.route = "unmatched"
        self.status = 0
        self.dataset = ""
        self.version = ""
        self.rows = 0
        # For the prediction log: JSON of the rows and of the answer, the first and the last of the rows' months.
        self.asked: bytes | None = None
        self.answered: bytes | None = None
        self.months: tuple[str | None, str | None] = (None, None)


class Front:
    """Admits requests to the application behind it, and answers those that it refuses."""

    def __init__(self, app: App, settings: Settings, telemetry: Telemetry, log: Writer | None = None) -> None:
        self.app = app
        self.settings = settings
        self.telemetry = telemetry
        self.log = log
        self.shadow: Shadow | None = None
        self.keyring = Keyring(settings.api_keys.get_secret_value() if settings.api_keys else "")
        self.rate = RateLimit(settings.rate_limit, settings.rate_burst)
        self.draining = False
        self.live: set[Call] = set()
        telemetry.in_flight.set_function(lambda: len(self.live))
        self._ended: list[tuple[Call, float]] = []
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        call = Call(f"{self._id_prefix}-{next(self._ids):x}", scope["method"], started, self.settings.request_seconds)
        scope["call"] = call

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                message["headers"] = self._headers(call, message.get("headers", ()))
            await send(message)

        try:
            await self._admitted(scope, call, receive, answer)
        except ClientGone:
            pass
        except Exception as error:  # noqa: BLE001  (whatever it was, the caller gets an answer)
            await self._refuse(scope, error, answer)
        except asyncio.CancelledError:
            if not (call.overdue or self.draining):
                raise
            late = _late(self.settings.request_seconds) if call.overdue else _stopping()
            await self._refuse(scope, late, answer)
        finally:
            self.live.discard(call)
            call.task = None
            call.status = call.status or GONE
            route = scope.get("route")
            if route is not None:
                call.route = route.path
            seconds = time.perf_counter() - started
            self.telemetry.record(call, seconds)
            if self.log is not None and (call.rows or (call.status >= 500 and call.dataset)):
                self._ended.append((call, seconds))
                if len(self._ended) == MOST_ENDED or len(call.asked or b"") > LARGE:
                    self.hand_over()
                if self.shadow is not None:
                    self.shadow.take(call)

    async def _admitted(self, scope: Scope, call: Call, receive: Receive, answer: Send) -> None:
        path = scope["path"]
        key, length = None, None
        for name, value in scope["headers"]:
            if name == b"authorization":
                key = value[7:] if value[:7].lower() == b"bearer " else value
            elif name == b"x-api-key":
                key = value
            elif name == b"content-length":
                length = int(value)
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                call.id = value.decode()
        caller = self._caller(scope, path, key)
        call.caller, call.is_admin = caller.name, caller.scope == "admin"
        if path not in PROBES:
            self._bound(caller)
        limit = int((self.settings.max_bulk_mb if path.endswith("/score") else self.settings.max_body_mb) * MB)
        if length is not None and length > limit:
            raise too_large(limit)
        call.task = asyncio.current_task()
        self.live.add(call)
        taken = 0

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise too_large(limit)
            return message

        await self.app(scope, take, answer)

    def _bound(self, caller: Caller) -> None:
        wait = self.rate.take(caller.name)
        if wait:
            text = f"Too many requests: {self.rate.rate:,g} a second are allowed. Come again in {wait} s."
            raise Problem(429, "rate", text, headers={"Retry-After": str(wait)})
        if len(self.live) >= self.settings.max_in_flight:
            raise busy()

    def _caller(self, scope: Scope, path: str, key: bytes | None) -> Caller:
        address = scope["client"][0] if scope.get("client") else "local"
        if not self.keyring:
            if self.settings.allow_anonymous or _is_loopback(address) or path in OPEN or path.startswith(OPEN_PREFIXES):
                return Caller(address, "read")
            text = "This server has no API keys and answers callers of its own machine only: set API_KEYS."
            raise Problem(403, "no-keys", text)
        if key is None:
            if path in OPEN or path.startswith(OPEN_PREFIXES):
                return Caller(address, "read")
            raise _unauthorized("An API key is needed: Authorization: Bearer KEY.")
        caller = self.keyring.caller(key)
        if caller is None:
            # Guessing is slowed down by address, as there is no name to count under.
            if self.rate.take(address):
                raise Problem(429, "rate", "Too many requests.", headers={"Retry-After": "1"})
            raise _unauthorized("The API key is not valid.")
        return caller

    def _headers(self, call: Call, headers: Any) -> list[tuple[bytes, bytes]]:
        # A route with a policy of its own, a page, has said it.
        made = [*headers, (b"x-request-id", call.id.encode()), *SECURITY]
        if not any(name == POLICY[0] for name, _ in headers):
            made.append(POLICY)
        if self.draining:
            made.append(_CLOSE)
        return made

    async def _refuse(self, scope: Scope, error: Exception, answer: Send) -> None:
        call: Call = scope["call"]
        if isinstance(error, Problem):
            problem = error
        elif isinstance(error, HousecastError):
            problem = of_error(error)
            if problem.status >= 500:
                logger.warning("request %s: %s", call.id, error)
        else:
            logger.error("request %s failed", call.id, exc_info=error)
            problem = Problem(500, "internal", "The request failed; the log says why.")
        if call.status:
            logger.warning("request %s: its answer was cut off: %s", call.id, problem.detail)
            raise AnswerCut from error
        await problem.at(scope["path"]).send(call.id, answer)

    def sweep(self) -> None:
        """Cancel what takes longer than a request may."""
        now = time.perf_counter()
        for call in list(self.live):
            if now > call.deadline and call.task and not call.overdue:
                call.overdue = True
                call.task.cancel()

    def hand_over(self) -> None:
        """Hand the requests that have ended to the prediction log."""
        if self.log is not None and self._ended:
            self.log.put(*(_record(call, seconds) for call, seconds in self._ended))
            self._ended.clear()

    async def keep_time(self) -> None:
        """Sweep twice a second, and hand over what has ended, until cancelled."""
        while True:
            await asyncio.sleep(0.5)
            self.sweep()
            self.hand_over()


def _record(call: Call, seconds: float) -> Record:
    return Record(
        call.at, call.id, call.dataset, call.version, "champion", call.status, call.rows, *call.months, 1000 * seconds,
        call.asked, call.answered,
    )  # fmt: skip


def busy() -> Problem:
    """Make the refusal of a server that has enough to do."""
    return Problem(503, "busy", "The server has enough to do; come again.", headers={"Retry-After": "1"})


def too_large(limit: int) -> Problem:
    """Make the refusal of a body above the limit, in bytes."""
    return Problem(413, "too-large", f"The body is larger than the {limit / MB:,g} MB that are taken here.")


def _late(seconds: float) -> Problem:
    return Problem(408, "late", f"The request took longer than the {seconds:g} s that it may.")


def _stopping() -> Problem:
    text = "The server stops and could not wait for the request any longer."
    return Problem(503, "stopping", text, headers={"Retry-After": "1"})


def _unauthorized(text: str) -> Problem:
    return Problem(401, "key", text, headers={"WWW-Authenticate": "Bearer"})


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "local")
