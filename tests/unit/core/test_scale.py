"""The model's scale and the way back."""

import numpy as np
import pytest

from src.core.scale import Transform, forward, inverse


@pytest.mark.parametrize("transform", ["none", "log"])
def test_there_and_back(transform: Transform) -> None:
    prices = np.array([1.0, 250_000.0, 4e7], dtype=np.float32)
    assert forward(transform, prices).dtype == np.float64
    np.testing.assert_allclose(inverse(transform, forward(transform, prices)), prices, rtol=1e-12)


def test_log_is_the_natural_one_and_the_input_is_untouched() -> None:
    prices = np.array([np.e, 1.0])
    np.testing.assert_allclose(forward("log", prices), [1.0, 0.0])
    assert prices.tolist() == [np.e, 1.0]
