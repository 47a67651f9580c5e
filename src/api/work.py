"""Threads for what would keep the event loop from everybody else, and bounds on what waits for them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from src.api.front import busy
from src.api.problems import Problem

P = ParamSpec("P")
T = TypeVar("T")


class Work:
    """A few threads; lives in the event loop."""

    def __init__(self, threads: int, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="price")
        self._most = threads + most_waiting
        self._now = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread (Problem 503 when too many wait already)."""
        if self._now >= self._most:
            raise busy()
        self._now += 1
        try:
            future = self._pool.submit(work, *args, **kwargs)
        except BaseException:
            self._now -= 1
            raise
        # Counted until the thread is free, also where the caller has given up.
        _when_done(future, self._done)
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._now -= 1

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Aside:
    """Threads for questions to the store, which may hang: whoever asks goes away in time, and so does the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0

    async def run(self, seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread (Problem 504 when it takes longer, 503 when too many hang already)."""
        if self._now >= self._most:
            raise Problem(
                503, "store", "The model store does not answer; the log says why.", headers={"Retry-After": "10"}
            )
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def fill() -> None:
            try:
                future.set_result(work(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001  (raised where it is waited for)
                future.set_exception(error)

        # A pool's threads would be waited for at the end of the process.
        threading.Thread(target=fill, name="aside", daemon=True).start()
        self._now += 1
        _when_done(future, self._done)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            raise Problem(504, "store-late", f"The model store has not answered within {seconds:g} s.") from None

    def _done(self) -> None:
        self._now -= 1


def _when_done(future: "Future[T]", then: Callable[[], None]) -> None:
    """Call `then` in the event loop, unless that has ended before."""
    loop = asyncio.get_running_loop()

    def tell(_: object) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(then)

    future.add_done_callback(tell)
