"""Shadow mode: a challenger prices a share of the requests that the champion has answered, for the prediction log only.

It works in one thread, after the answer is sent. Where more requests wait for it than it can take, they are left out.
"""

import asyncio
import logging
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor

from src.api.answers import content_of, written
from src.api.challengers import Challengers
from src.api.front import Call
from src.api.problems import Problem
from src.api.version import Served
from src.core.errors import HousecastError
from src.monitoring.writer import Record, Writer

logger = logging.getLogger(__name__)

MOST_WAITING = 50


class Shadow:
    """Takes what was answered; lives in the event loop."""

    def __init__(self, share: float, challengers: Challengers, log: Writer) -> None:
        self._share = share
        self._challengers = challengers
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._waiting = 0
        self._random = random.Random()  # noqa: S311  (a share of requests, no secret)

    def take(self, call: Call) -> None:
        """Price a request that was answered, if it is among the share and a challenger is there."""
        if call.asked is None or self._random.random() >= self._share:
            return
        served = self._challengers.get(call.dataset)
        if served is None or served.version == call.version or self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        work = self._thread.submit(_record, served, call, call.asked)
        loop = asyncio.get_running_loop()
        work.add_done_callback(lambda ended: loop.call_soon_threadsafe(self._ended, ended))

    def _ended(self, work: "Future[Record]") -> None:
        self._waiting -= 1
        if not work.cancelled():
            self._log.put(work.result())

    async def stop(self) -> None:
        """End what is being priced, and begin nothing more."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        await asyncio.sleep(0)  # what ended just now is handed to the log


def _record(served: Served, call: Call, asked: bytes) -> Record:
    started = time.perf_counter()
    status, answer, rows = 500, None, 0
    try:
        read = served.contract.read_many(asked)
        answer = written(content_of(served.predictor.predict(read), read, served))
        status, rows = 200, len(read)
    except (HousecastError, Problem) as error:
        logger.warning("request %s: the challenger %s cannot price it: %s", call.id, served.version, error)
    except Exception:
        logger.exception("request %s: the challenger %s cannot price it", call.id, served.version)
    took = 1000 * (time.perf_counter() - started)
    about = (call.at, call.id, call.dataset, served.version, "challenger", status, rows, *call.months, took)
    return Record(*about, inputs=asked, answer=answer)
