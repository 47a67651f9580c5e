"""The linear part under the trees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from src.inference_pipeline.trend import Trend


def market(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.exp(rng.normal(12, 0.5, (n, 3))).astype(np.float32)
    z = 0.7 * np.log(X[:, 0].astype(float)) + 0.2 * np.log(X[:, 2].astype(float)) + 1 + rng.normal(0, 0.01, n)
    return X, z


def test_it_finds_a_log_linear_market_and_follows_it_beyond_training() -> None:
    X, z = market()
    trend = Trend.fit(X, z, (0, 2), ridge=1e-6, share=1.0)
    assert trend.weights == pytest.approx([0.7, 0.2], abs=0.01)
    assert trend(X) == pytest.approx(z, abs=0.06)


def test_it_is_a_ridge_regression_on_centred_logs() -> None:
    X, z = market()
    low, high = np.quantile(X.astype(float), [0.005, 0.995], axis=0)
    logs = np.log(np.clip(X.astype(float), low, high))
    oracle = Ridge(alpha=25.0).fit(logs - logs.mean(axis=0), z)
    inside = (low <= X).all(axis=1) & (high >= X).all(axis=1)
    said = Trend.fit(X, z, (0, 1, 2), ridge=25.0, share=1.0)(X)
    assert said[inside] == pytest.approx(oracle.predict(logs - logs.mean(axis=0))[inside], rel=1e-9)


def test_a_share_scales_all_of_it() -> None:
    X, z = market()
    whole, half = (Trend.fit(X, z, (0, 2), ridge=1.0, share=share)(X) for share in (1.0, 0.5))
    assert half == pytest.approx(whole / 2)


def test_missing_zero_and_negative_values_take_the_indicator() -> None:
    X, z = market()
    X[::5, 0] = np.nan
    z[::5] -= 0.3
    trend = Trend.fit(X, z, (0, 2), ridge=1e-3, share=1.0)
    rows = np.repeat(X[:1], 3, axis=0)
    rows[:, 0] = [np.nan, 0.0, -1.0]
    said = trend(rows)
    assert np.isfinite(said).all()
    assert said[0] == said[1] == said[2]


def test_an_absurd_value_is_brought_into_the_range_of_training() -> None:
    X, z = market()
    trend = Trend.fit(X, z, (0, 2), ridge=1.0, share=1.0)
    rows = np.repeat(X[:1], 3, axis=0)
    rows[:, 0] = [X[:, 0].max(), 999_999_999, np.inf]
    assert np.unique(trend(rows)).size == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_one_row_and_many_give_the_same_bits(seed: int, n: int) -> None:
    X, z = market(300, seed=1)
    trend = Trend.fit(X, z, (2, 0), ridge=1.0, share=0.5)
    rng = np.random.default_rng(seed)
    rows = np.exp(rng.normal(12, 2, (n, 3))).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    assert trend(rows).tolist() == [trend(rows[i : i + 1])[0] for i in range(n)]


def test_contributions_are_measured_from_the_mean_of_training() -> None:
    X, z = market()
    X[::7, 2] = np.nan
    trend = Trend.fit(X, z, (0, 2), ridge=1.0, share=0.5)
    parts = trend.contributions(X)
    assert parts[:, 1].tolist() == [0.0] * len(X)
    assert parts.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert parts.sum(axis=1) == pytest.approx(trend(X) - trend(X).mean(), abs=1e-9)


def test_it_survives_a_bundle_unchanged() -> None:
    X, z = market()
    trend = Trend.fit(X, z, (0, 2), ridge=1.0, share=0.5)
    assert Trend.of_plain(trend.plain()) == trend
    assert Trend.of_plain(Trend.none().plain()) == Trend.none()


def test_no_columns_no_share_and_no_known_value_are_no_trend() -> None:
    X, z = market()
    assert Trend.fit(X, z, (), 1.0, 0.5) == Trend.fit(X, z, (0,), 1.0, 0.0) == Trend.none()
    assert Trend.none()(X).tolist() == [0.0] * len(X)
    assert Trend.none().contributions(X).shape == X.shape
    X[:, 1] = np.nan
    assert np.isfinite(Trend.fit(X, z, (0, 1), 1.0, 1.0)(X)).all()


def test_without_the_compiled_part_numpy_gives_the_same_trend(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    X = np.exp(draw.normal(size=(500, 3))).astype(np.float32)
    X[draw.random(X.shape) < 0.1] = np.nan
    X[0], X[1], X[2] = 0, -1, np.inf
    fitted = Trend.fit(X[3:], draw.normal(size=497), (0, 2), 1.0, 0.7)
    compiled = fitted(X)
    assert np.array_equal(compiled, np.concatenate([fitted(X[i : i + 1]) for i in range(len(X))]))
    monkeypatch.setattr("src.inference_pipeline.trend._trees", None)
    np.testing.assert_allclose(fitted(X), compiled, rtol=1e-13)
