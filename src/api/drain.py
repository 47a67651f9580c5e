"""A stop that fails nobody: unready first, connections closed one by one as they are answered, then the end."""

import asyncio
import ctypes
import logging
import signal
import socket
import struct
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from src.api.front import Front

logger = logging.getLogger(__name__)

# From the last connection that is let in to the end of listening, at least, and for connections that are yet to ask.
LAST_CALL_SECONDS, LONGEST_LAST_CALL = 0.3, 3.0
LOOK_SECONDS = 0.05
# For the requests that are at work then; together with all other waits below the 30 s after which ECS kills.
GRACE_SECONDS = 15
SO_ATTACH_FILTER = 26
RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # classic BPF: ret #0, which drops a packet


class Drain:
    """Stands between SIGTERM and uvicorn.

    uvicorn alone closes idle connections and the listening socket at once; whoever was just sending a request on one of
    them gets a reset. So: first `/health/ready` says no and every answer carries `Connection: close`, for as long as a
    load balancer needs to see it; then no new connection is let in, those that wait are answered; then uvicorn stops.
    """

    def __init__(self, front: "Front", seconds: float) -> None:
        self._front = front
        self._seconds = seconds
        self._before: Any = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._old: frozenset[Any] = frozenset()
        self._last_call_at = 0.0

    def install(self) -> bool:
        """Take SIGTERM over from the server and tell whether that went: only the main thread gets signals."""
        if threading.current_thread() is not threading.main_thread():
            return False
        self._loop = asyncio.get_running_loop()
        self._before = signal.signal(signal.SIGTERM, self._on_signal)
        server = getattr(self._before, "__self__", None)
        if isinstance(server, uvicorn.Server):
            self._server = server
            if server.config.timeout_graceful_shutdown is None:  # uvicorn would wait for ever
                server.config.timeout_graceful_shutdown = GRACE_SECONDS
        return True

    def remove(self) -> None:
        """Give SIGTERM back; uvicorn does so itself, and until then must not note another one: it would end by it."""
        if self._before is not None and self._server is None and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        assert self._loop is not None
        if self._server is not None and self._server.should_exit:  # at least the third: whoever is at work is cut off
            self._server.force_exit = True
        elif self._front.draining:  # the second one means: now
            self._end()
        else:
            self._front.draining = True
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        assert self._loop is not None
        logger.info("SIGTERM: not ready any more; new requests are answered for another %g s", self._seconds)
        self._old = frozenset(self._connections())
        self._loop.call_later(self._seconds, self._last_call)

    def _last_call(self) -> None:
        assert self._loop is not None
        if self._server is not None and self._server.should_exit:
            return
        for listener in self._listeners():
            _let_nobody_in(listener)
        self._last_call_at = self._loop.time()
        self._loop.call_later(LAST_CALL_SECONDS, self._wait)

    def _wait(self) -> None:
        assert self._loop is not None
        waited = self._loop.time() - self._last_call_at
        if waited < LONGEST_LAST_CALL and any(self._will_ask(one) for one in self._connections()):
            self._loop.call_later(LOOK_SECONDS, self._wait)
        else:
            self._end()

    def _will_ask(self, connection: Any) -> bool:
        # Every answer of this time closes its connection, so a new one is open because its request is on its way. An
        # old one that is idle may stay so for a minute; whoever kept it open must expect to find it closed.
        return (connection not in self._old and connection.cycle is None) or getattr(connection, "is_asking", False)

    def _connections(self) -> set[Any]:
        return set(self._server.server_state.connections) if self._server is not None else set()

    def _listeners(self) -> list[Any]:
        return [one for made in getattr(self._server, "servers", ()) for one in made.sockets]

    def _end(self) -> None:
        # uvicorn would raise the signal again once it has stopped, and the exit code would say that it was killed.
        self._old = frozenset()
        if self._server is not None:
            self._server.should_exit = True
        elif callable(self._before):
            self._before(signal.SIGTERM, None)


def _let_nobody_in(listener: Any) -> None:
    """Have the kernel drop what is sent to a listening socket, so that nothing waits in its queue when it is closed.

    A connection that the kernel has accepted and the server has not is reset by the close.
    """
    if not sys.platform.startswith("linux"):
        return
    program = ctypes.create_string_buffer(RETURN_NOTHING)
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
    except OSError as error:
        logger.warning("connections may be reset at the end: %s", error.strerror)
