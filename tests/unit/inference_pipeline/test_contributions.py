"""Contributions add up to the estimate, keep the SHAP values' signs, and agree with the path integral behind them."""

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from src.core.errors import DataError
from src.core.scale import Transform, inverse, softmax
from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.contributions import to_probability, to_target_unit
from src.inference_pipeline.trend import Trend

quick = settings(deadline=None, database=None)
shap_values = arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 6)), elements=st.floats(-4, 4, width=32))
prices = st.floats(1.0, 1e8)


@pytest.fixture(scope="module")
def model() -> tuple[xgb.Booster, np.ndarray]:
    random = np.random.default_rng(1)
    X = random.normal(size=(500, 6)).astype(np.float32)
    X[random.random(X.shape) < 0.1] = np.nan
    y = 12.5 + np.nan_to_num(X) @ np.array([0.4, -0.3, 0.2, 0.1, 0.0, 0.0]) + random.normal(size=500) * 0.05
    return xgb.train({"max_depth": 4, "nthread": 1}, xgb.DMatrix(X, y, feature_names=list("abcdef")), 30), X


def contributions(
    booster: xgb.Booster, X: np.ndarray, estimate: np.ndarray, transform: Transform
) -> tuple[np.ndarray, np.ndarray]:
    return to_target_unit(BoostedTrees(booster, Trend.none()).contributions(X), estimate, transform)


def margins(booster: xgb.Booster, X: np.ndarray) -> np.ndarray:
    return booster.inplace_predict(X, predict_type="margin", validate_features=False).astype(np.float64)


@pytest.mark.parametrize("transform", ["none", "log"])
def test_base_and_amounts_add_up_to_the_estimate(model: tuple[xgb.Booster, np.ndarray], transform: Transform) -> None:
    booster, X = model
    estimate = inverse(transform, margins(booster, X))
    base, amounts = contributions(booster, X, estimate, transform)
    np.testing.assert_allclose(base + amounts.sum(axis=1), estimate, rtol=1e-13)
    bias = booster.predict(xgb.DMatrix(X), pred_contribs=True, validate_features=False)[:, -1]
    np.testing.assert_allclose(base, inverse(transform, bias), rtol=2e-5)


def test_an_explained_row_does_not_depend_on_its_batch(model: tuple[xgb.Booster, np.ndarray]) -> None:
    booster, X = model
    estimate = np.exp(margins(booster, X))
    base, amounts = contributions(booster, X, estimate, "log")
    for i in (0, 7, 499):
        base_alone, amounts_alone = contributions(booster, X[i : i + 1], estimate[i : i + 1], "log")
        assert base_alone[0] == base[i]
        np.testing.assert_array_equal(amounts_alone[0], amounts[i])


def test_the_shares_are_xgboosts_own(model: tuple[xgb.Booster, np.ndarray]) -> None:
    booster, X = model
    estimate = np.exp(margins(booster, X))
    _, amounts = contributions(booster, X, estimate, "log")
    shap = booster.predict(xgb.DMatrix(X), pred_contribs=True, validate_features=False)[:, :-1].astype(np.float64)
    largest = np.abs(shap).argmax(axis=1)
    np.testing.assert_array_equal(np.abs(amounts).argmax(axis=1), largest)
    rows = np.arange(len(X))
    np.testing.assert_allclose(
        amounts / amounts[rows, largest][:, None], shap / shap[rows, largest][:, None], rtol=1e-12, atol=1e-15
    )


@quick
@given(shap_values, st.data())
def test_amounts_add_up_and_keep_their_signs(shap: np.ndarray, data: st.DataObject) -> None:
    estimate = np.array(data.draw(st.lists(prices, min_size=len(shap), max_size=len(shap))))
    base, amounts = to_target_unit(shap, estimate, "log")
    # Opposite amounts cancel: the sum cannot be exacter than the largest of them.
    scale = np.maximum(estimate, np.abs(amounts).max(axis=1, initial=0))
    assert (np.abs(base + amounts.sum(axis=1) - estimate) <= 1e-13 * scale).all()
    tiny = np.abs(shap) < 1e-30  # times a price may underflow
    np.testing.assert_array_equal(np.sign(amounts)[~tiny], np.sign(shap)[~tiny])
    assert (base > 0).all()


@quick
@given(arrays(np.float64, 4, elements=st.floats(-2, 2)), prices)
def test_amounts_are_the_integral_along_the_straight_line(shap: np.ndarray, estimate: float) -> None:
    base, amounts = to_target_unit(shap[None], np.array([estimate]), "log")
    nodes, weights = np.polynomial.legendre.leggauss(24)
    prices_on_the_way = base[0] * np.exp((nodes + 1) / 2 * shap.sum())
    np.testing.assert_allclose(amounts[0], shap * (weights @ prices_on_the_way) / 2, rtol=1e-9, atol=1e-9 * base[0])


def test_contributions_that_cancel_leave_the_base_at_the_estimate() -> None:
    base, amounts = to_target_unit(np.array([[0.25, -0.25, 0.0]]), np.array([200_000.0]), "log")
    assert base[0] == 200_000.0
    np.testing.assert_array_equal(amounts, [[50_000.0, -50_000.0, 0.0]])


def test_contributions_that_nearly_cancel_stay_small() -> None:
    shap = np.array([[0.25, -0.25 + 1e-15]])
    _, amounts = to_target_unit(shap, np.array([200_000.0]), "log")
    np.testing.assert_allclose(amounts, [[50_000.0, -50_000.0]], rtol=1e-9)


def test_without_a_transform_the_amounts_are_the_shap_values() -> None:
    base, amounts = to_target_unit(np.array([[3.0, -1.0], [0.0, 0.0]]), np.array([10.0, 7.0]), "none")
    np.testing.assert_array_equal(base, [8.0, 7.0])
    np.testing.assert_array_equal(amounts, [[3.0, -1.0], [0.0, 0.0]])


def test_a_model_that_learned_nothing_has_no_contributions() -> None:
    X = np.zeros((20, 2), np.float32)
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(X, np.full(20, 12.0)), 3)
    base, amounts = contributions(booster, X[:2], np.full(2, np.exp(12.0)), "log")
    np.testing.assert_array_equal(base, np.full(2, np.exp(12.0)))
    np.testing.assert_array_equal(amounts, np.zeros((2, 2)))


def test_no_row_and_infinite_values_are_explained(model: tuple[xgb.Booster, np.ndarray]) -> None:
    booster, X = model
    base, amounts = contributions(booster, X[:0], np.empty(0), "log")
    assert base.shape == (0,)
    assert amounts.shape == (0, 6)
    wild = X[:2].copy()
    wild[0, 0], wild[1, 1] = np.inf, -np.inf
    shown = wild.copy()
    estimate = np.exp(margins(booster, wild))
    base, amounts = contributions(booster, wild, estimate, "log")
    np.testing.assert_allclose(base + amounts.sum(axis=1), estimate, rtol=1e-13)
    # The base betrays whether XGBoost walked the same leaves as the margin did.
    usual, _ = contributions(booster, X[2:4], np.exp(margins(booster, X[2:4])), "log")
    np.testing.assert_allclose(base, usual, rtol=2e-5)
    np.testing.assert_array_equal(wild, shown)


def test_a_wrong_width_and_classes_without_a_choice_are_refused(model: tuple[xgb.Booster, np.ndarray]) -> None:
    booster, X = model
    with pytest.raises(DataError, match="takes 6 features, not 5"):
        contributions(booster, X[:, :5], np.ones(500), "log")
    with pytest.raises(DataError, match="has 3 classes: say which"):
        BoostedTrees(classifier(X), Trend.none()).contributions(X)


def classifier(X: np.ndarray) -> xgb.Booster:
    classes = np.digitize(np.nan_to_num(X[:, 0]), [-0.5, 0.5])
    parameters = {"objective": "multi:softprob", "num_class": 3, "nthread": 1, "max_depth": 2}
    return xgb.train(parameters, xgb.DMatrix(X, classes), 8)


def test_class_contributions_add_up_to_the_probability_less_the_one_at_the_base(
    model: tuple[xgb.Booster, np.ndarray],
) -> None:
    _, X = model
    booster = classifier(X)
    trees = BoostedTrees(booster, Trend.none())
    p = trees(X)
    chosen = p.argmax(axis=1)
    amounts = trees.contributions(X, chosen)
    bias = booster.predict(xgb.DMatrix(X), pred_contribs=True)[:, :, -1]
    base = softmax(bias)[np.arange(len(X)), chosen]
    np.testing.assert_allclose(base + amounts.sum(axis=1), p[np.arange(len(X)), chosen], atol=1e-6)
    assert (np.abs(amounts).argmax(axis=1) == 0).mean() > 0.95  # the feature that makes the classes


@quick
@given(arrays(np.float64, (2, 3, 4), elements=st.floats(-3, 3)), arrays(np.float64, (2, 3), elements=st.floats(-3, 3)))
def test_probability_amounts_sum_to_the_difference_for_any_shap(shap: np.ndarray, margin: np.ndarray) -> None:
    chosen = np.array([0, 2])
    amounts = to_probability(shap, margin, chosen)
    rows = np.arange(2)
    moved = softmax(margin)[rows, chosen] - softmax(margin - shap.sum(axis=2))[rows, chosen]
    np.testing.assert_allclose(amounts.sum(axis=1), moved, atol=1e-7)


@pytest.mark.parametrize("transform", ["none", "log"])
def test_amounts_add_up_to_an_estimate_that_was_brought_up_to_the_least(transform: Transform) -> None:
    shap = np.array([[-1.0, -3.0], [2.0, -0.5], [-2.0, -2.0], [1.0, 2.0], [1.0, -1.0]])
    base = np.array([2.0, 2.0, -1.0, -1.0, 2.0])
    estimate = inverse(transform, base + shap.sum(axis=1))
    least = float(inverse(transform, np.array([0.0]))[0])
    low, amounts = to_target_unit(shap, estimate, transform, least)
    np.testing.assert_allclose(low, np.maximum(inverse(transform, base), least), rtol=1e-12)
    np.testing.assert_allclose(low + amounts.sum(axis=1), np.maximum(estimate, least), rtol=1e-12)
    assert (amounts * shap >= 0).all()
    _, plain = to_target_unit(shap, estimate, transform)
    np.testing.assert_array_equal(amounts[[1, 4]], plain[[1, 4]])  # above the least nothing changes
