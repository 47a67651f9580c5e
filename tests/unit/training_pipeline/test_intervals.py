import logging

import numpy as np
import pytest
from mapie.conformity_scores import AbsoluteConformityScore
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin

from src.core.errors import DataError
from src.core.scale import inverse
from src.training_pipeline import intervals


class AsItIs(RegressorMixin, BaseEstimator):
    """A fitted model whose prediction is its only feature."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> "AsItIs":
        self.fitted_ = True
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X[:, 0]


def skewed(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z_pred = rng.normal(12, 0.5, n)
    return z_pred + rng.gamma(2, 0.05, n) - 0.08, z_pred


@pytest.mark.parametrize("n", [100, 487, 997])
def test_ends_are_those_of_mapie(n: int) -> None:
    z_true, z_pred = skewed(n)
    levels = [0.8, 0.9, 0.95]
    ours = intervals.calibrate(z_true, z_pred, levels)
    oracle = SplitConformalRegressor(
        AsItIs().fit(z_pred[:, None], z_true),
        confidence_level=levels,
        conformity_score=AbsoluteConformityScore(sym=False),
    )
    oracle.conformalize(z_pred[:, None], z_true)
    _, theirs = oracle.predict_interval(np.zeros((1, 1)))
    for position, level in enumerate(levels):
        assert ours[level] == pytest.approx(tuple(theirs[0, :, position]), abs=1e-12)


def test_ends_are_the_finite_sample_ranks() -> None:
    residuals = np.arange(1.0, 20.0)  # n = 19: rank ceil(20 * 0.9) = 18, and its mirror 2
    assert intervals.calibrate(residuals, np.zeros(19), [0.8]) == {0.8: (2.0, 18.0)}


def test_new_rows_are_covered_as_promised_on_each_side() -> None:
    shares = []
    for seed in range(60):
        z_true, z_pred = skewed(400, seed)
        lo, hi = intervals.calibrate(z_true[:200], z_pred[:200], [0.8])[0.8]
        rest = (z_true - z_pred)[200:]
        shares.append((np.mean(rest < lo), np.mean(rest > hi)))
    below, above = np.mean(shares, axis=0)
    assert below == pytest.approx(0.1, abs=0.02)
    assert above == pytest.approx(0.1, abs=0.02)


def test_wider_levels_contain_narrower_ones_and_the_scale_carries_over() -> None:
    z_true, z_pred = skewed(500)
    found = intervals.calibrate(z_true, z_pred, [0.5, 0.8, 0.95])
    assert found[0.95][0] < found[0.8][0] < found[0.5][0] < found[0.5][1] < found[0.8][1] < found[0.95][1]
    lower, upper = (inverse("log", z_pred + offset) for offset in found[0.8])
    assert np.all(lower > 0)
    inside = np.mean((lower <= np.exp(z_true)) & (np.exp(z_true) <= upper))
    assert 0.8 <= inside < 0.82


def test_too_few_rows_use_the_widest_residuals_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    assert intervals.enough_rows(39, 0.95)
    assert not intervals.enough_rows(38, 0.95)
    with caplog.at_level(logging.WARNING, logger="src.training_pipeline.intervals"):
        found = intervals.calibrate(np.array([1.0, -2.0, 3.0]), np.zeros(3), [0.95])
    assert found == {0.95: (-2.0, 3.0)}
    assert "3 calibration rows are too few for an interval of 95 %" in caplog.text


@pytest.mark.parametrize(
    ("truth", "estimate", "levels", "message"),
    [
        ([], [], [0.8], "at least one row"),
        ([1.0, np.nan], [1.0, 1.0], [0.8], "1 of 2 residuals"),
        ([1.0], [1.0, 2.0], [0.8], "one length"),
        ([1.0], [1.0], [80], "between 0 and 1, not 80"),
    ],
)
def test_bad_input_is_refused(truth: list[float], estimate: list[float], levels: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        intervals.calibrate(truth, estimate, levels)


def test_cross_fitting_never_uses_a_groups_own_rows() -> None:
    residuals = np.concatenate([np.linspace(-1, 1, 99), np.linspace(9, 11, 99)])
    groups = np.repeat(["a", "b"], 99)
    found = intervals.cross_fitted(residuals, np.zeros(198), groups, [0.8])
    assert found is not None
    lower, upper = found[0.8]
    assert np.all(lower[:99] > 9)
    assert np.all(upper[99:] < 1)


def test_cross_fitting_needs_two_groups_and_enough_rows_in_the_others() -> None:
    z_true, z_pred = skewed(30)
    assert intervals.cross_fitted(z_true, z_pred, np.zeros(30), [0.8]) is None
    found = intervals.cross_fitted(z_true, z_pred, np.arange(30) % 3, [0.8, 0.95])
    assert found is not None
    assert list(found) == [0.8]


def test_intervals_are_kept_as_plain_numbers() -> None:
    plain = intervals.as_plain({0.8: (np.float64(-0.1), np.float64(0.2))})
    assert plain == {"0.8": [-0.1, 0.2]}
    assert all(type(end) is float for end in plain["0.8"])
