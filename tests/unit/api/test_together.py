"""Requests that come at the same time are priced in one call, and each has its own answer or error."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from src.api.contract import Row
from src.api.together import Answer, Together
from src.api.version import Served
from src.core.errors import InvalidRowsError
from src.inference_pipeline.predictor import Classification, Prediction


@dataclass(eq=False)
class Version:
    """Stands for a version: a price is `times` the row's number, and negative numbers are refused."""

    times: float = 1
    calls: list[list[Row]] = field(default_factory=list)

    @property
    def predictor(self) -> "Version":
        return self

    def predict(self, rows: Sequence[Row]) -> Prediction:
        self.calls.append(list(rows))
        if bad := [i for i, row in enumerate(rows) if row["x"] < 0]:
            raise InvalidRowsError([(i, "x", "is negative") for i in bad])
        price = np.array([row["x"] * self.times for row in rows], dtype=np.float64)
        return Prediction(price, {0.8: price - 1}, {0.8: price + 1}, [f"flag {row['x']}" for row in rows])


def asked(*requests: tuple[Version, list[float]]) -> list[Any]:
    """Ask all at once; returns answers and errors."""

    async def ask() -> list[Any]:
        together = Together()
        waiting = (together.price(cast(Served, version), [{"x": x} for x in xs]) for version, xs in requests)
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(ask())


def numbers(answer: Answer) -> list[float]:
    assert isinstance(answer, Prediction)
    np.testing.assert_array_equal(answer.lower[0.8], answer.estimate - 1)
    np.testing.assert_array_equal(answer.upper[0.8], answer.estimate + 1)
    return answer.estimate.tolist()


def test_what_comes_at_once_is_one_call_and_everybody_gets_their_own() -> None:
    version = Version()
    answers = asked((version, [1, 2]), (version, []), (version, [3]))
    assert [numbers(one) for one in answers] == [[1, 2], [], [3]]
    assert [one.flags for one in answers] == [["flag 1", "flag 2"], [], ["flag 3"]]
    assert version.calls == [[{"x": 1}, {"x": 2}, {"x": 3}]]


def test_versions_are_not_mixed() -> None:
    old, new = Version(1), Version(10)
    assert [numbers(one) for one in asked((old, [1]), (new, [1]), (old, [2]))] == [[1], [10], [2]]
    assert (len(old.calls), len(new.calls)) == (1, 1)


def test_a_bad_row_is_its_own_requests_problem() -> None:
    version = Version()
    first, bad, last = asked((version, [1]), (version, [2, -1]), (version, [3]))
    assert (numbers(first), numbers(last)) == ([1], [3])
    assert isinstance(bad, InvalidRowsError)
    assert bad.problems == [(1, "x", "is negative")]


def test_who_gives_up_holds_up_nobody() -> None:
    async def ask() -> list[float]:
        together, version = Together(), cast(Served, Version())
        gone, stays = (asyncio.create_task(together.price(version, [{"x": x}])) for x in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return numbers(await stays)

    assert asyncio.run(ask()) == [2]


def test_classes_are_cut_as_well() -> None:
    said = Classification(("a", "b"), np.array([[0.9, 0.1], [0.2, 0.8]]), ["", "unknown"])
    assert said.part(1, 2).labels == ["b"]
    assert said.part(1, 2).flags == ["unknown"]
