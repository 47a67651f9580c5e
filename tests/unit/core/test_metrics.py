import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from src.core import metrics
from src.core.errors import DataError

Y = np.array([100.0, 200.0, 300.0, 400.0])
YHAT = np.array([110.0, 190.0, 300.0, 300.0])

prices = arrays(np.float64, st.integers(2, 40), elements=st.floats(1e3, 1e7))


def test_scores_are_the_textbook_values() -> None:
    found = metrics.scores(Y, YHAT)
    assert found["mae"] == pytest.approx(30)
    assert found["rmse"] == pytest.approx(np.sqrt((100 + 100 + 10_000) / 4))
    assert found["r2"] == pytest.approx(1 - 10_200 / 50_000)
    assert found["mape"] == pytest.approx((0.10 + 0.05 + 0 + 0.25) / 4)
    assert found["mdape"] == pytest.approx(0.075)
    assert (found["within_5"], found["within_10"], found["within_20"]) == (0.5, 0.75, 0.75)
    assert list(found) == list(metrics.LABELS)


def test_single_metrics_agree_with_scores() -> None:
    found = metrics.scores(Y, YHAT)
    for name in ("mae", "rmse", "r2", "mape", "mdape"):
        assert getattr(metrics, name)(Y, YHAT) == found[name]
    assert metrics.within(Y, YHAT, 10) == found["within_10"]


@given(prices)
def test_a_perfect_model_has_no_error(y: np.ndarray) -> None:
    found = metrics.scores(y, y)
    assert found["mae"] == found["rmse"] == found["mape"] == 0
    assert found.get("r2", 1.0) == 1
    assert found["within_5"] == 1


@given(prices, st.floats(1e-3, 1e3))
def test_relative_metrics_ignore_the_unit(y: np.ndarray, factor: float) -> None:
    yhat = y[::-1]
    assert metrics.mape(y * factor, yhat * factor) == pytest.approx(metrics.mape(y, yhat))
    assert metrics.mae(y * factor, yhat * factor) == pytest.approx(metrics.mae(y, yhat) * factor)


def test_r2_is_left_out_when_every_actual_value_is_the_same() -> None:
    constant = np.full(4, 0.1)
    assert "r2" not in metrics.scores(constant, YHAT)
    with pytest.raises(DataError, match=r"all 4 are 0\.1"):
        metrics.r2(constant, YHAT)


@pytest.mark.parametrize(
    ("y", "yhat", "message"),
    [
        ([], [], "at least one row"),
        ([1.0, np.nan], [1.0, 1.0], "1 of 2 actual values are not finite, the first in row 1"),
        ([1.0, 1.0], [np.inf, 1.0], "estimates are not finite, the first in row 0"),
        ([1.0, 2.0], [1.0], "as many estimates as actual values: 1 and 2"),
        ([0.0, 2.0], [1.0, 1.0], "1 of 2 actual values are 0"),
        ([[1.0]], [[1.0]], r"shape \(1, 1\)"),
    ],
)
def test_bad_input_is_a_clear_error(y: list[float], yhat: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        metrics.scores(y, yhat)


def test_coverage_counts_the_ends_and_width_is_relative() -> None:
    lower, upper = np.array([100.0, 210, 250, 100]), np.array([120.0, 230, 350, 350])
    assert metrics.coverage(Y, lower, upper) == 0.5
    assert metrics.mean_relative_width(np.full(4, 100.0), lower, upper) == pytest.approx((20 + 20 + 100 + 250) / 400)
    with pytest.raises(DataError, match="4 intervals have their lower end above"):
        metrics.coverage(Y, upper, lower)
    with pytest.raises(DataError, match="estimates are 0"):
        metrics.mean_relative_width(np.zeros(4), lower, upper)


def test_ratio_study_agrees_with_the_definitions() -> None:
    rng = np.random.default_rng(0)
    y = rng.lognormal(12, 0.5, 300)
    yhat = y * rng.lognormal(0.02, 0.1, 300)
    found = metrics.ratio_study(y, yhat)
    ratio = yhat / y
    median = np.median(ratio)
    assert found["median_ratio"].value == pytest.approx(median)
    assert found["COD"].value == pytest.approx(100 * np.mean(np.abs(ratio - median)) / median)
    assert found["PRD"].value == pytest.approx(ratio.mean() / (yhat.sum() / y.sum()))
    slope, _ = np.polyfit(np.log2((yhat / median + y) / 2), (ratio - median) / median, 1)
    assert found["PRB"].value == pytest.approx(slope)
    assert found["PRB"].interval is not None
    assert found["PRB"].interval[0] < slope < found["PRB"].interval[1]
    order = np.argsort(y, kind="stable")
    rank = np.arange(1, 301)

    def gini(v: np.ndarray) -> float:
        return float(2 * np.sum(v * rank) / v.sum() - 301) / 300

    assert found["MKI"].value == pytest.approx(gini(yhat[order]) / gini(y[order]))
    assert all(measure.in_range for measure in found.values())


def test_ratio_study_sees_a_regressive_model() -> None:
    y = np.random.default_rng(1).lognormal(12, 0.5, 500)
    found = metrics.ratio_study(y, np.exp(0.5 * np.log(y) + 0.5 * np.log(y).mean()))
    assert found["PRD"].value > 1.03
    assert found["PRB"].value < -0.05
    assert found["MKI"].value < 0.95
    assert not found["PRB"].in_range


@pytest.mark.parametrize(
    ("y", "yhat", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "at least 5 rows, not 2"),
        ([1.0, 2, 3, 4, 5], [1.0, 2, 3, 4, -5], "positive estimates, and the smallest is -5"),
        ([-1.0, 2, 3, 4, 5], [1.0, 2, 3, 4, 5], "positive actual values"),
        ([7.0] * 5, [1.0, 2, 3, 4, 5], "all 5 are 7"),
    ],
)
def test_ratio_study_refuses_what_it_cannot_judge(y: list[float], yhat: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        metrics.ratio_study(y, yhat)


def test_bias_has_a_sign_and_width_a_unit() -> None:
    assert metrics.bias(Y, YHAT) == pytest.approx((10 - 10 + 0 - 100) / 4)
    assert metrics.mean_width([1.0, 2.0], [2.0, 5.0]) == 2
    with pytest.raises(DataError, match="1 intervals have their lower end above"):
        metrics.mean_width([1.0, 2.0], [2.0, 1.0])
