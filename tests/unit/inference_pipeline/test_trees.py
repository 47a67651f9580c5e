"""The compiled trees answer as XGBoost does, to the last bit, or XGBoost answers itself."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from src.inference_pipeline import trees as module
from src.inference_pipeline.trees import Trees

pytestmark = pytest.mark.skipif(module._trees is None, reason="the tree extension is not compiled (no C compiler)")

FLOAT32 = np.finfo(np.float32)
EDGES = [np.nan, np.inf, -np.inf, 0.0, -0.0, FLOAT32.smallest_subnormal, -FLOAT32.smallest_subnormal]
EDGES += [FLOAT32.tiny, FLOAT32.max, FLOAT32.min]
OBJECTIVES: list[dict[str, Any]] = [
    {"objective": "reg:squarederror"},
    {"objective": "reg:squarederror", "base_score": 1e6},
    {"objective": "reg:absoluteerror"},
    {"objective": "reg:pseudohubererror"},
    {"objective": "reg:quantileerror", "quantile_alpha": 0.9},
    {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]},
    {"objective": "reg:gamma"},
    {"objective": "binary:logistic"},
    {"objective": "multi:softprob", "num_class": 4},
    {"objective": "multi:softmax", "num_class": 3},
]
SHAPES: list[dict[str, Any]] = [
    {},
    {"grow_policy": "lossguide", "max_leaves": 13, "max_depth": 0},
    {"num_parallel_tree": 3, "subsample": 0.5},
    {"gamma": 0.5, "tree_method": "exact"},
    {"tree_method": "approx", "min_child_weight": 0},
    {"colsample_bynode": 0.4, "max_delta_step": 0.1},
]


def make_rows(random: np.random.Generator, n: int, features: int = 6, missing: float = 0.2) -> np.ndarray:
    X = random.normal(size=(n, features)).astype(np.float32)
    X[:, 0] = np.round(X[:, 0] * 3)  # ties
    X[:, 1] = 5  # constant
    X[random.random(X.shape) < missing] = np.nan
    return X


def fit(
    random: np.random.Generator, rounds: int = 12, n: int = 200, features: int = 6, missing: float = 0.2, **more: Any
) -> xgb.Booster:
    X = make_rows(random, n, features, missing)
    y = np.nan_to_num(X) @ random.normal(size=features) + 0.1 * random.normal(size=n)
    objective = more.get("objective", "")
    if objective.startswith("multi"):
        y = random.integers(0, more["num_class"], n)
    elif objective in ("binary:logistic", "reg:gamma"):
        y = (y > 0) + (objective == "reg:gamma")
    return xgb.train({"nthread": 1, "seed": 3, "eta": 0.3} | more, xgb.DMatrix(X, y), rounds)


def theirs(booster: xgb.Booster, X: np.ndarray) -> np.ndarray:
    """Ask XGBoost; only its in-place prediction takes infinities."""
    if np.isinf(X).any():
        return booster.inplace_predict(X, predict_type="margin")
    return booster.predict(xgb.DMatrix(X), output_margin=True)


def assert_same_bits(ours: np.ndarray, wanted: np.ndarray) -> None:
    assert ours.shape == wanted.shape
    assert ours.dtype == wanted.dtype == np.float32
    np.testing.assert_array_equal(ours.view(np.uint32), wanted.view(np.uint32))


def rebuilt(booster: xgb.Booster, change: Callable[[dict[str, Any]], None]) -> xgb.Booster:
    """Load a booster again after a change to its JSON."""
    model = json.loads(booster.save_raw("json"))
    change(model["learner"]["gradient_booster"]["model"])
    return xgb.Booster(model_file=bytearray(json.dumps(model).encode()))


@settings(deadline=None, database=None, max_examples=80)
@given(
    st.integers(0, 2**32), st.integers(1, 10), st.sampled_from(OBJECTIVES), st.sampled_from(SHAPES),
    st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.integers(1, 150),
)  # fmt: skip
def test_random_models_give_xgboosts_bits(
    seed: int, depth: int, objective: dict[str, Any], shape: dict[str, Any], missing: float, n: int
) -> None:
    random = np.random.default_rng(seed)
    booster = fit(
        random, rounds=int(random.integers(1, 20)), missing=missing, **{"max_depth": depth} | objective | shape
    )
    trees = Trees.from_booster(booster)
    for X in (make_rows(random, n, missing=missing), make_rows(random, n, missing=0.3), make_rows(random, 1)):
        assert_same_bits(trees.margin(X), theirs(booster, X))


@settings(deadline=None, database=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_ties_infinities_and_denormals_go_xgboosts_way(seed: int, depth: int) -> None:
    """Random thresholds and default directions; rows made of the thresholds, their neighbours and the edges."""
    random = np.random.default_rng(seed)
    cuts = np.array([*EDGES[3:], 1e-30, 1.5, -1.5], np.float32)

    def scramble(ensemble: dict[str, Any]) -> None:
        for tree in ensemble["trees"]:
            size = len(tree["left_children"])
            inner = np.array(tree["left_children"]) >= 0
            values = np.where(inner, random.choice(cuts, size), random.normal(size=size).astype(np.float32))
            tree["split_conditions"] = values.tolist()
            tree["default_left"] = random.integers(0, 2, size).tolist()

    booster = rebuilt(fit(random, max_depth=depth), scramble)
    with np.errstate(over="ignore", under="ignore"):
        beside = [np.nextafter(cuts, np.float32(side)) for side in (np.inf, -np.inf)]
    X = random.choice(np.concatenate([cuts, *beside, np.array(EDGES, np.float32)]), (100, 6)).astype(np.float32)
    assert_same_bits(Trees.from_booster(booster).margin(X), theirs(booster, X))


@pytest.mark.parametrize(
    "objective", [OBJECTIVES[0], OBJECTIVES[5], OBJECTIVES[8]], ids=["one", "quantiles", "classes"]
)
def test_batches_and_threads_do_not_change_a_bit(objective: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_ROWS_PER_THREAD", 8)
    random = np.random.default_rng(5)
    booster = fit(random, rounds=21, max_depth=5, **objective)
    trees, X = Trees.from_booster(booster), make_rows(random, 333)
    whole = trees.margin(X)
    assert_same_bits(whole, theirs(booster, X))
    assert_same_bits(np.concatenate([trees.margin(X[i : i + 1]) for i in range(len(X))]), whole)
    for n in (0, 1, 2, 6, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 300):
        assert_same_bits(trees.margin(X[:n]), whole[:n])
        for threads in (0, 2, 3, 7, 64):
            assert_same_bits(trees.margin(X[:n], threads), whole[:n])
    with ThreadPoolExecutor(8) as pool:
        for margin in pool.map(lambda i: trees.margin(X, 1 + i % 3), range(64)):
            assert_same_bits(margin, whole)


def test_the_input_may_have_any_layout_and_stays_as_it_was() -> None:
    random = np.random.default_rng(6)
    booster = fit(random)
    trees, X = Trees.from_booster(booster), make_rows(random, 90)
    before, wanted = X.copy(), theirs(booster, X)
    X.setflags(write=False)
    assert_same_bits(trees.margin(X), wanted)
    np.testing.assert_array_equal(X, before)
    assert_same_bits(trees.margin(np.asfortranarray(X)), wanted)
    assert_same_bits(trees.margin(X[::-1]), wanted[::-1].copy())


@pytest.mark.parametrize("rounds", [0, 1, 3])
@pytest.mark.parametrize("objective", [OBJECTIVES[0], OBJECTIVES[7], OBJECTIVES[8]], ids=["square", "link", "classes"])
def test_models_without_a_split(rounds: int, objective: dict[str, Any]) -> None:
    random = np.random.default_rng(7)
    booster = fit(random, rounds, max_depth=3, gamma=1e9, **objective)
    X = make_rows(random, 20)
    assert_same_bits(Trees.from_booster(booster).margin(X), theirs(booster, X))


def test_early_stopping_saved_and_loaded(tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    X, y = make_rows(random, 300), random.normal(size=300)
    train, judged = xgb.DMatrix(X[:200], y[:200]), xgb.DMatrix(X[200:], y[200:])
    booster = xgb.train(
        {"nthread": 1}, train, 50, evals=[(judged, "judged")], early_stopping_rounds=3, verbose_eval=False
    )
    best = booster.best_iteration + 1
    assert best < booster.num_boosted_rounds()
    for name in ("model.ubj", "model.json"):
        booster.save_model(tmp_path / name)
        loaded = xgb.Booster(model_file=tmp_path / name)
        matrix = xgb.DMatrix(X)
        assert_same_bits(Trees.from_booster(loaded).margin(X), loaded.predict(matrix))
        wanted = loaded.predict(matrix, iteration_range=(0, best))
        assert_same_bits(Trees.from_booster(loaded[:best]).margin(X), wanted)


def test_wide_and_deep_models() -> None:
    random = np.random.default_rng(9)
    wide = fit(random, rounds=3, n=50, features=3000)
    X = make_rows(random, 100, 3000)
    assert_same_bits(Trees.from_booster(wide).margin(X), theirs(wide, X))
    line = np.arange(120, dtype=np.float32)[:, None]
    unbounded = {"max_depth": 60, "min_child_weight": 0, "lambda": 0, "nthread": 1}
    deep = xgb.train(unbounded, xgb.DMatrix(line, 1.1 ** line[:, 0]), 2)
    trees = Trees.from_booster(deep)
    assert trees.depths.max() > 10
    assert_same_bits(trees.margin(line), theirs(deep, line))
