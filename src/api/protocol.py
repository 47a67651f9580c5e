"""uvicorn's HTTP protocol with what it lacks against slow and numerous clients."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from src.api.front import Receive, Scope, Send, busy

# From the first byte of a request to the end of its headers, and for a connection to send its first byte.
HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 32_768
LARGEST_WRITE = 65_536
# After an answer that did not wait for the end of its request's body.
LEFTOVER_SECONDS = 10.0


class OneWrite:
    """A transport that sends what is written in one turn of the event loop by one call, up to `LARGEST_WRITE` bytes.

    uvicorn writes the head and the body of an answer apart, and a system call costs as much as a price.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > LARGEST_WRITE:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts:
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GuardedProtocol(HttpToolsProtocol):
    """Turns away what is too much before it is work, and closes connections that keep the server waiting.

    uvicorn waits for headers for ever, keeps connections that never ask anything, and starts a task for every request
    however many wait already. Here `most_tasks` may wait or run; one more is answered 503 at once.
    """

    def __init__(self, *args: Any, most_tasks: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._admitting = self.app
        self._most_tasks = most_tasks
        self._timer: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]
        self._expect(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes and not self.transport.is_closing():  # a part of the headers
            if self._header_bytes > MAX_HEADER_BYTES:
                self.send_400_response("Headers too long.")
            elif self._timer is None:
                self._expect(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._relax()
        self._in_headers = False
        self.app = self._admitting if len(self.tasks) < self._most_tasks else turned_away
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._relax()
        self._in_headers, self._header_bytes = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_headers and not self.transport.is_closing():
            self._expect(LEFTOVER_SECONDS)

    def _expect(self, seconds: float) -> None:
        self._relax()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _relax(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


async def turned_away(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 503 in the place of the service."""
    del receive
    await busy().at(scope["path"]).send("-", send)
