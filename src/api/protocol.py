"""uvicorn's HTTP protocol with what it lacks against slow, silent and numerous clients."""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from src.api.front import Receive, Scope, Send, busy

logger = logging.getLogger(__name__)

# From the first byte of a request to the end of its headers, and for a connection to send its first byte.
HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 32_768
LARGEST_WRITE = 65_536
# After an answer that did not wait for the end of its request's body.
LEFTOVER_SECONDS = 10.0
# For a client to take a part of what waits for it, be its connection closed otherwise or not.
TAKING_SECONDS = 30.0
# Requests that a client may send ahead of their answers.
MOST_PIPELINED = 100
# Between two lines of the log about connections that were turned away.
LOG_SECONDS = 10.0


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
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GuardedProtocol(HttpToolsProtocol):
    """Turns away what is too much before it is work, and closes connections that keep the server waiting.

    uvicorn waits for headers for ever, keeps connections that never ask anything or never take their answer, and starts
    a task for every request however many wait already. Here `most_tasks` requests may wait or run; one more is answered
    503 at once. Of connections there may be `most_connections`, so that files can still be opened; one more is reset.
    """

    _logged = -LOG_SECONDS

    def __init__(self, *args: Any, most_tasks: int, most_connections: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._admitting = self.app
        self._most_tasks = most_tasks
        self._most_connections = most_connections
        self._timer: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._answered: RequestResponseCycle | None = None
        self._header_bytes = 0
        self._in_headers = True

    @property
    def is_asking(self) -> bool:
        """Whether a part of a request has come and its headers are not complete."""
        return self._in_headers and self._header_bytes > 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]
        if len(self.connections) > self._most_connections:
            self._turn_away()
        else:
            self._expect(HEADER_SECONDS)

    def _turn_away(self) -> None:
        self._abort()
        now = self.loop.time()
        if now - GuardedProtocol._logged > LOG_SECONDS:
            GuardedProtocol._logged = now
            logger.warning("connections are turned away: %d are open already", self._most_connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        if self._taking:
            self._taking.cancel()
        self._forget()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _forget(self) -> None:
        # uvicorn tells only the latest request that its client has gone, and not the one that is being answered.
        if self._answered:
            self._answered.disconnected = True
            self._answered.message_event.set()
        self.pipeline.clear()

    def _abort(self) -> None:
        self.transport.abort()
        self._forget()

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._close()
        elif self._in_headers and self._header_bytes:  # a part of the headers
            if self._header_bytes > MAX_HEADER_BYTES:
                self.send_400_response("Headers too long.")
                self._close()
            elif self._timer is None:
                self._expect(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._relax()
        self._in_headers = False
        if len(self.pipeline) >= MOST_PIPELINED:
            self._abort()
        self.app = self._admitting if len(self.tasks) < self._most_tasks else turned_away
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._relax()
        self._in_headers, self._header_bytes = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()
        elif not self._in_headers:
            self._expect(LEFTOVER_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._must_take()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking and not self.transport.is_closing():
            self._taking.cancel()
            self._taking = None

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _expect(self, seconds: float) -> None:
        self._relax()
        self._timer = self.loop.call_later(seconds, self._close)

    def _relax(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._relax()
        self.transport.close()
        self._must_take()

    def _must_take(self) -> None:
        # A transport closes when everything is sent, and to a client that takes nothing that is never.
        if self._taking is None:
            left = self.transport.get_write_buffer_size()
            self._taking = self.loop.call_later(TAKING_SECONDS, self._has_taken, left)

    def _has_taken(self, before: int) -> None:
        self._taking = None
        if self.transport.get_write_buffer_size() < before:
            self._must_take()
        else:
            self._abort()


async def turned_away(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 503 in the place of the service."""
    del receive
    await busy().at(scope["path"]).send("-", send)
