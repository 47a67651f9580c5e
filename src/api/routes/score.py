"""POST /datasets/{name}/score: prices of a file of any size, streamed back.

A small body stays in memory, a larger one goes to a file. The answer begins when its first part is known, so what is
wrong with the body as a whole is a problem document; an error after that cuts the answer off, which every HTTP client
notices, as the last chunk is missing. Each job has a thread of its own, and looks between two parts whether its caller
is still there.
"""

import asyncio
import errno
import io
import math
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from src.api.front import Call, Message, Receive, Scope, Send
from src.api.media import formats
from src.api.problems import Problem
from src.api.served import Models, Served
from src.core.config import Settings
from src.inference_pipeline.bulk import Format, Tally, score
from src.inference_pipeline.inference import bulk_threads

P = ParamSpec("P")
T = TypeVar("T")

# At once; each uses all threads of bulk scoring, so more would only be slower.
MOST_JOBS = 2
RETRY_SECONDS = 10
# Bodies up to here stay in memory, and an answer up to here is sent when it is whole.
SMALL_BODY, SMALL_ANSWER = 8_000_000, 1_000_000
PIECE = 256_000
# The names of this service's files, and the age at which nobody can be working with one any more.
PREFIX, STALE_SECONDS = "housecast-", 86_400
# A caller that is slower than this for long is given up.
SLOWEST = 250_000  # bytes a second


class Score:
    """The handler, over what serves now."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._settings = settings
        self._jobs = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send, dataset: str) -> None:
        call: Call = scope["call"]
        call.route = "/datasets/{name}/score"
        if scope["method"] != "POST":
            raise Problem(405, "method", "Prices are asked for by POST.", headers={"Allow": "POST"})
        kind, answer, media_type = formats(scope["headers"])
        served = self._models.get(dataset)
        call.dataset, call.version = served.dataset, served.version
        if self._jobs >= MOST_JOBS:
            text = f"{MOST_JOBS} files are priced already; come again."
            raise Problem(503, "busy", text, headers={"Retry-After": str(RETRY_SECONDS)})
        self._jobs += 1
        job = _Job(served, self._settings, _Patience(call, self._settings.request_seconds))
        try:
            if await job.take(receive):
                await job.answer(kind, answer, media_type, receive, send)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _no_space() from error
        finally:
            call.rows = job.tally.rows
            job.end(self._ended)

    def _ended(self) -> None:
        self._jobs -= 1


class _Patience:
    """Keeps a request's deadline while it waits for its caller, and lifts it while it works.

    So many seconds may be waited in all, and bytes that pass bring some of them back.
    """

    def __init__(self, call: Call, seconds: float) -> None:
        self._call = call
        self._seconds = self._left = seconds
        call.deadline = math.inf

    async def of(self, waiting: Awaitable[T]) -> T:
        """Wait for a caller to send or to take something."""
        started = time.perf_counter()
        self._call.deadline = started + self._left
        found = await waiting
        self._call.deadline = math.inf
        self._left -= time.perf_counter() - started
        return found

    def passed(self, size: int) -> None:
        """Count bytes that came or went."""
        self._left = min(self._seconds, self._left + size / SLOWEST)


class _Job:
    """One body being taken, priced and answered, in a thread of its own."""

    def __init__(self, served: Served, settings: Settings, patience: _Patience) -> None:
        self.tally = Tally()
        self._served = served
        self._settings = settings
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="score")
        self._folder = settings.cache / "uploads" if settings.cache else None
        self._body = io.BytesIO()
        self._file: tempfile._TemporaryFileWrapper[bytes] | None = None
        self._pieces: Iterator[bytes] = iter(())

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))

    async def take(self, receive: Receive) -> bool:
        """Take the body, and tell whether all of it came."""
        while True:
            message = await self._patience.of(receive())
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            self._patience.passed(len(part))
            self._body.write(part)
            is_last = not message.get("more_body")
            size = self._body.tell()
            if size > (SMALL_BODY if self._file is None else 4 * PIECE) or (is_last and self._file and size):
                await self._run(self._spool)
            if is_last:
                return True

    def _spool(self) -> None:
        if self._file is None:
            self._prepare()
            self._file = tempfile.NamedTemporaryFile(dir=self._folder, prefix=PREFIX, suffix=".body")  # noqa: SIM115
        self._file.write(self._body.getbuffer())
        self._file.flush()
        self._body = io.BytesIO()

    def _prepare(self) -> None:
        """Make the folder, and remove from it what a process that was killed has left."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob(f"{PREFIX}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()

    async def answer(self, kind: Format, answer: Format, media_type: bytes, receive: Receive, send: Send) -> None:
        """Price the body and send what comes of it, for as long as the caller is there."""
        await self._run(self._prepare)
        self._pieces = score(
            Path(self._file.name) if self._file else self._body.getvalue(),
            kind,
            self._served.predictor,
            answer,
            threads=bulk_threads(self._settings),
            folder=self._folder,
            tally=self.tally,
        )
        gone = asyncio.ensure_future(receive())
        try:
            await self._send(media_type, send, gone)
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    async def _send(self, media_type: bytes, send: Send, gone: asyncio.Future[Message]) -> None:
        headers = [(b"content-type", media_type), (b"x-model-version", self._served.version.encode())]
        headers.append((b"cache-control", b"no-store"))
        held: list[bytes] = []
        begun = False
        while (piece := await self._run(next, self._pieces, None)) is not None:
            if gone.done():
                return
            held.append(piece)
            if begun or sum(map(len, held)) > SMALL_ANSWER:
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    begun = True
                for part in held:
                    await self._give(part, send)
                held.clear()
        whole = b"".join(held)
        if not begun:
            headers.append((b"content-length", str(len(whole)).encode()))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._patience.of(send({"type": "http.response.body", "body": whole}))

    async def _give(self, piece: bytes, send: Send) -> None:
        """Send a part in pieces, so that a slow caller is seen to take them."""
        for start in range(0, len(piece), PIECE):
            part = piece[start : start + PIECE]
            await self._patience.of(send({"type": "http.response.body", "body": part, "more_body": True}))
            self._patience.passed(len(part))

    def end(self, done: Callable[[], object]) -> None:
        """Stop what runs when its next part is made, and leave nothing; `done` is called when that is so."""

        def clean() -> None:
            try:
                if isinstance(self._pieces, Generator):
                    self._pieces.close()
                if self._file:
                    self._file.close()
            finally:
                with suppress(RuntimeError):  # the service has ended meanwhile
                    self._loop.call_soon_threadsafe(done)

        self._thread.submit(clean)
        self._thread.shutdown(wait=False)


def _no_space() -> Problem:
    text = "The server's disk is full, and a file of this size needs some of it: send parts, or come again."
    return Problem(507, "no-space", text, headers={"Retry-After": str(RETRY_SECONDS)})
