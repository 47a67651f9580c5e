"""Threads for what would keep the event loop from everybody else, and a bound on what waits for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from src.api.front import busy

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
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._now -= 1

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
