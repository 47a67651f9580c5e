"""Prices requests together that come at the same time: one call of the model costs little more than one row does."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from src.api.contract import Row
from src.api.version import Served
from src.inference_pipeline.predictor import Classification, Prediction

Answer = Prediction | Classification
Waiting = list[tuple[Sequence[Row], "asyncio.Future[Answer]"]]


class Together:
    """Collects the requests of one turn of the event loop; nobody waits for others to come."""

    def __init__(self) -> None:
        self._waiting: defaultdict[Served, Waiting] = defaultdict(list)

    async def price(self, served: Served, rows: Sequence[Row]) -> Answer:
        """Price few rows by one version (raises as `Predictor.predict`, each request for its own rows only)."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._price_all)
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting[served].append((rows, answer))
        return await answer

    def _price_all(self) -> None:
        all_waiting, self._waiting = self._waiting, defaultdict(list)
        for served, waiting in all_waiting.items():
            if len(waiting) == 1 or not _priced_as_one(served, waiting):
                for one in waiting:
                    _price(served, *one)


def _priced_as_one(served: Served, waiting: Waiting) -> bool:
    """Answer everybody from one call, or nobody if that fails: then each has its own answer or error."""
    try:
        said = served.predictor.predict([row for rows, _ in waiting for row in rows])
    except Exception:  # noqa: BLE001  (whatever it is, it comes again and is told to whom it concerns)
        return False
    start = 0
    for rows, answer in waiting:
        if not answer.done():  # its caller may have gone away
            answer.set_result(said.part(start, start + len(rows)))
        start += len(rows)
    return True


def _price(served: Served, rows: Sequence[Row], answer: "asyncio.Future[Answer]") -> None:
    if answer.done():
        return
    try:
        answer.set_result(served.predictor.predict(rows))
    except Exception as error:  # noqa: BLE001  (raised where it is waited for)
        answer.set_exception(error)
