"""Rows are as alike as the share of the model in which they end in the same leaves, or as their features are near."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.similarity import (
    FIRST_TREES,
    FeatureDistance,
    LeafAgreement,
    error_reductions,
    similarity_to,
)
from src.inference_pipeline.trend import Trend

random = np.random.default_rng(3)
X = np.exp(random.normal(size=(150, 5))).astype(np.float32)
X[random.random(X.shape) < 0.1] = np.nan
Z = np.log(np.nan_to_num(X, nan=1.0)).sum(axis=1) + random.normal(0, 0.1, 150)


@cache
def model(kind: str = "trend") -> BoostedTrees:
    """Fit more trees than are compared at first."""
    trend, params = Trend.none(), {"nthread": 1, "max_depth": 4, "eta": 0.1, "num_parallel_tree": 3, "subsample": 0.7}
    label: Any = Z
    if kind == "classes":
        params |= {"objective": "multi:softprob", "num_class": 3}
        label = classes()
    elif kind == "trend":
        trend = Trend.fit(X, Z, (0, 1), ridge=1.0, share=0.7)
        label = Z - trend(X)
    made = BoostedTrees(xgb.train(params, xgb.DMatrix(X, label), 100), trend)
    assert len(made.tree_outputs()[0]) > FIRST_TREES
    return made


def classes() -> np.ndarray:
    return np.digitize(Z, np.quantile(Z, [0.3, 0.7])).astype(float)


@cache
def agreement(kind: str) -> LeafAgreement:
    return LeafAgreement(model(kind), X, classes() if kind == "classes" else Z)


@cache
def weighed(kind: str) -> tuple[np.ndarray, np.ndarray]:
    return error_reductions(model(kind), X, classes() if kind == "classes" else Z)


def by_definition(kind: str, x: np.ndarray) -> np.ndarray:
    made, (weights, leaves) = model(kind), weighed(kind)
    near = np.exp(-np.abs(made.trend(X) - made.trend(x)) / (made.trend(X).std() or 1))
    same = np.column_stack([near, leaves == made.leaves(x)])
    return same @ weights / weights.sum()


@pytest.mark.parametrize("kind", ["trend", "bare", "classes"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_the_best_rows_are_those_of_the_definition(kind: str, data: st.DataObject) -> None:
    number = st.floats(0, 30, width=32) | st.just(np.nan)
    x = np.array([data.draw(st.lists(number, min_size=5, max_size=5))], np.float32)
    limit = data.draw(st.integers(1, 200))
    rows, alike = agreement(kind)(x, limit)
    wanted = by_definition(kind, x)
    assert len(rows) == len(set(rows.tolist())) == min(limit, 150)
    np.testing.assert_allclose(alike, wanted[rows], atol=1e-4)  # weights are rounded to whole units
    np.testing.assert_allclose(alike, np.sort(wanted)[::-1][:limit], atol=1e-4)


@pytest.mark.parametrize("kind", ["trend", "bare", "classes", "distance"])
@settings(deadline=None, max_examples=25)
@given(row=st.integers(0, 149), limit=st.integers(1, 20))
def test_a_known_row_is_its_own_best_comparable(kind: str, row: int, limit: int) -> None:
    find = FeatureDistance(X) if kind == "distance" else agreement(kind)
    rows, alike = find(X[row : row + 1], limit)
    assert alike[0] == 1
    twins = rows[alike == 1].tolist()
    assert row in twins or (len(twins) == limit and max(twins) < row)
    assert (np.diff(alike) <= 0).all()
    assert (alike >= 0).all()


def test_any_number_of_threads_gives_the_same_answer() -> None:
    find = agreement("trend")
    asked = [X[i : i + 1] * np.float32(1.07) for i in range(60)]
    alone = [(rows.tolist(), alike.tolist()) for rows, alike in (find(x, 7) for x in asked)]
    for threads in (2, 8):
        with ThreadPoolExecutor(threads) as pool:
            together = pool.map(lambda x: find(x, 7), asked)
            assert [(rows.tolist(), alike.tolist()) for rows, alike in together] == alone


@pytest.mark.parametrize("kind", ["trend", "bare", "classes"])
def test_the_values_of_a_rows_leaves_add_up_to_its_margin(kind: str) -> None:
    made = model(kind)
    values, outputs = made.tree_outputs()
    leaves = made.leaves(X)
    total = np.zeros_like(made.margin(X))
    for tree, output in enumerate(outputs):
        total[:, output] += values[tree][leaves[:, tree]]
    rest = made.margin(X) - total - made.trend(X)[:, None]
    np.testing.assert_allclose(rest, np.broadcast_to(rest[0], rest.shape), atol=1e-5)  # the base score


def test_a_tree_matters_as_much_as_it_lowers_the_error() -> None:
    made = model("bare")
    weights, leaves = error_reductions(made, X, Z)
    assert weights[0] == 0  # there is no trend
    value = made.tree_outputs()[0][0][leaves[:, 0]]
    total = sum(one[leaves[:, tree]] for tree, one in enumerate(made.tree_outputs()[0]))
    base = made.margin(X)[:, 0] - total
    assert weights[1] == pytest.approx(np.abs(Z - base).mean() - np.abs(Z - base - value).mean())
    assert weights[1:101].sum() > weights[201:].sum()
    trended, _ = error_reductions(model("trend"), X, Z)
    assert trended[0] > trended[1:].max()


def test_where_no_tree_helps_all_count_the_same() -> None:
    one = BoostedTrees(model("bare").booster[:1], Trend.none())
    values, leaves = one.tree_outputs()[0], one.leaves(X)
    steps = [tree[leaves[:, i]] for i, tree in enumerate(values)]
    wrong = one.margin(X)[:, 0] - 9 * np.sum(steps, axis=0)  # each step leads away from it
    assert not error_reductions(one, X, wrong)[0].any()
    rows, alike = LeafAgreement(one, X, wrong)(X[:1], 150)
    np.testing.assert_allclose(alike, (leaves == leaves[0]).mean(axis=1)[rows], atol=1e-6)


def test_a_leaf_without_a_known_row_is_shared_with_none() -> None:
    made = model("bare")
    few = X[np.argsort(np.nan_to_num(X[:, 0]))[:3]]
    far = np.full((1, 5), 30, np.float32)
    _, alike = LeafAgreement(made, few, np.array([-1.0, -1.1, -1.2]))(far, 3)
    shares = (made.leaves(few) == made.leaves(far)).mean(axis=1)
    assert shares.max() < 1
    assert alike.max() < 1


@pytest.mark.parametrize("params", [{"booster": "dart"}, {"booster": "gblinear"}])
def test_what_has_no_leaves_that_add_up_is_compared_by_features(params: dict[str, Any]) -> None:
    other = BoostedTrees(xgb.train({"nthread": 1, **params}, xgb.DMatrix(X, Z), 2), Trend.none())
    assert isinstance(similarity_to(other, X, Z), FeatureDistance)
    assert isinstance(similarity_to(model(), X, Z), LeafAgreement)


def test_a_distance_is_in_standard_deviations() -> None:
    known = np.array([[0, 5], [2, 5], [4, 5], [np.nan, 5]], np.float32)
    rows, alike = FeatureDistance(known)(np.array([[2, 5]], np.float32), 4)
    assert rows.tolist() == [1, 0, 2, 3]
    near = np.exp(-np.sqrt(2**2 / (8 / 3) / 2))
    assert alike == pytest.approx([1, near, near, np.exp(-1)])  # the last one's only known feature is the same


def test_what_both_rows_lack_sets_them_not_apart() -> None:
    known = np.array([[1, np.nan], [1, 3], [9, np.nan]], np.float32)
    rows, alike = FeatureDistance(known)(np.array([[1, np.nan]], np.float32), 3)
    assert rows[0] == 0
    assert alike[0] == 1
    _, far = FeatureDistance(known)(np.array([[3e38, -3e38]], np.float32), 3)
    assert (far == 0).all()
