"""The model's scale and the way back."""

import numpy as np
import pytest

from src.core.scale import Transform, forward, in_unit, inverse
from tests.markets import tiny_config


@pytest.mark.parametrize("transform", ["none", "log"])
def test_there_and_back(transform: Transform) -> None:
    prices = np.array([1.0, 250_000.0, 4e7], dtype=np.float32)
    assert forward(transform, prices).dtype == np.float64
    np.testing.assert_allclose(inverse(transform, forward(transform, prices)), prices, rtol=1e-12)


def test_log_is_the_natural_one_and_the_input_is_untouched() -> None:
    prices = np.array([np.e, 1.0])
    np.testing.assert_allclose(forward("log", prices), [1.0, 0.0])
    assert prices.tolist() == [np.e, 1.0]


def test_no_estimate_is_below_the_smallest_that_the_target_may_be() -> None:
    columns = tiny_config().model_dump(mode="json")["columns"]
    bounded = {**columns, "price": {"type": "number", "min": 100}}
    for transform, z in (("none", [-5.0, 100.0, 250.0]), ("log", np.log([1.0, 100.0, 250.0]))):
        target = {"column": "price", "transform": transform}
        said = in_unit(np.array(z), tiny_config(columns=bounded, target=target))
        np.testing.assert_allclose(said, [100.0, 100.0, 250.0])
    assert in_unit(np.array([-5.0]), tiny_config(target={"column": "price"})).tolist() == [-5.0]
