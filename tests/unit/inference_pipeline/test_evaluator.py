"""Whatever the compiled trees cannot do, or do otherwise, XGBoost does, and a warning says why."""

import json
import logging
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from src.core.errors import BundleError, DataError
from src.inference_pipeline import trees as module
from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.trees import Trees, evaluator
from src.inference_pipeline.trend import Trend

compiled = pytest.mark.skipif(module._trees is None, reason="the tree extension is not compiled (no C compiler)")

random = np.random.default_rng(11)
X = random.normal(size=(120, 5)).astype(np.float32)
X[random.random(X.shape) < 0.2] = np.nan
Y = np.nan_to_num(X)[:, :3].sum(axis=1) + 12


def fit(label: np.ndarray = Y, **parameters: Any) -> xgb.Booster:
    names = list("abcde")
    return xgb.train({"nthread": 1, "max_depth": 3} | parameters, xgb.DMatrix(X, label, feature_names=names), 5)


def fit_categories() -> xgb.Booster:
    codes = np.where(np.isnan(X), 0, np.abs(X) * 3 // 1)
    matrix = xgb.DMatrix(codes, Y, feature_types=["c"] * 5, enable_categorical=True)
    return xgb.train({"nthread": 1, "max_cat_to_onehot": 1}, matrix, 3)


def fit_vectors() -> xgb.Booster:
    return fit(np.stack([Y, -Y], axis=1), multi_strategy="multi_output_tree", tree_method="hist")


def fit_a_threshold_of(value: float) -> xgb.Booster:
    model = json.loads(fit().save_raw("json"))
    model["learner"]["gradient_booster"]["model"]["trees"][0]["split_conditions"][0] = value
    return xgb.Booster(model_file=bytearray(json.dumps(model).encode()))


def fit_a_huge_tree() -> xgb.Booster:
    """Hang a chain of 2^15 splits on the first tree: one node more than 16 bits can count."""
    model = json.loads(fit(max_depth=1).save_raw("json"))
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    splits = 2**15
    nodes = 2 * splits + 1
    inner, indices = np.arange(nodes) % 2 == 0, np.arange(nodes)
    inner[-1] = False
    tree["left_children"] = np.where(inner, indices + 1, -1).tolist()
    tree["right_children"] = np.where(inner, indices + 2, -1).tolist()
    tree["parents"] = [2**31 - 1, *np.repeat(np.arange(0, nodes - 1, 2), 2).tolist()]
    tree["tree_param"]["num_nodes"] = str(nodes)
    for key in ("base_weights", "default_left", "loss_changes", "split_conditions", "split_indices", "sum_hessian"):
        tree[key] = [0] * nodes
    tree["split_type"] = [0] * nodes
    for key in ("base_weights", "loss_changes", "split_conditions", "sum_hessian"):
        tree[key] = [1.0] * nodes
    return xgb.Booster(model_file=bytearray(json.dumps(model).encode()))


@compiled
def test_an_ordinary_model_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    booster = fit()
    margin, name = evaluator(booster, X[:10])
    assert name == "compiled"
    np.testing.assert_array_equal(margin(X, 2), booster.inplace_predict(X, validate_features=False))
    assert not caplog.records


@compiled
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: fit(booster="dart", rate_drop=0.5), "'dart' booster"),
        (fit_categories, "categorical splits"),
        (fit_vectors, "leaves that hold vectors"),
        (lambda: fit_a_threshold_of(-np.inf), "not finite"),
        (lambda: fit_a_threshold_of(np.nan), "not finite"),
        (fit_a_huge_tree, "tree of 65537 nodes, at most 65536"),
    ],
)
def test_xgboost_evaluates_what_is_not_supported(make: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    booster = make()
    with pytest.raises(BundleError, match=reason):
        Trees.from_booster(booster)
    probe = np.abs(np.nan_to_num(X)[:20]).round().clip(0, 2)
    margin, name = evaluator(booster, probe)
    assert name == "xgboost"
    np.testing.assert_array_equal(
        margin(probe, 1), booster.inplace_predict(probe, predict_type="margin", validate_features=False)
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert reason in caplog.text


def test_what_only_xgboost_evaluates_is_saved_without_its_margin_before_any_tree() -> None:
    assert "base_margin" not in BoostedTrees(fit(booster="dart", rate_drop=0.5), Trend.none()).plain()
    classes = fit(np.arange(120) % 3, objective="multi:softprob", num_class=3)
    assert np.shape(BoostedTrees(classes, Trend.none()).plain()["base_margin"]) == (3,)


@compiled
def test_too_many_features_are_refused() -> None:
    wide = np.zeros((3, 2**15), np.float32)
    with pytest.raises(BundleError, match="32768 features, at most 32767"):
        Trees.from_booster(xgb.train({"nthread": 1}, xgb.DMatrix(wide, np.arange(3)), 1))


@compiled
def test_one_different_bit_is_enough_to_fall_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exact = Trees.margin

    def almost(self: Trees, X: np.ndarray, threads: int = 1) -> np.ndarray:
        margin = exact(self, X, threads)
        margin[-1] = np.nextafter(margin[-1], np.float32(np.inf))
        return margin

    monkeypatch.setattr(Trees, "margin", almost)
    _, name = evaluator(fit(), X)
    assert name == "xgboost"
    assert "disagree on the probe (by up to 9.53674e-07)" in caplog.text


@compiled
def test_another_shape_falls_back(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(Trees, "margin", lambda self, X, threads=1: np.zeros((len(X), 2), np.float32))
    assert evaluator(fit(), X)[1] == "xgboost"
    assert "shape (120, 2) against (120,)" in caplog.text


def test_without_the_extension_xgboost_evaluates(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_trees", None)
    booster = fit()
    margin, name = evaluator(booster, X)
    assert name == "xgboost"
    assert "not compiled" in caplog.text
    for threads in (1, 2, 1):
        np.testing.assert_array_equal(margin(X, threads), booster.inplace_predict(X, validate_features=False))


def test_no_probe_row_proves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert evaluator(fit(), X[:0])[1] == "xgboost"
    assert caplog.records


@pytest.mark.parametrize("extension", [pytest.param(True, marks=compiled), False])
def test_both_evaluators_keep_one_contract(extension: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not extension:
        monkeypatch.setattr(module, "_trees", None)
    margin, name = evaluator(fit(np.arange(120) % 3, objective="multi:softprob", num_class=3), X)
    assert name == ("compiled" if extension else "xgboost")
    assert margin(X, 1).shape == (120, 3)
    assert margin(X[:0], 1).shape == (0, 3)
    assert margin(X[:1], 2).dtype == np.float32
    with pytest.raises(DataError, match=r"float32 matrix of 5 columns, not float32 of shape \(120, 4\)"):
        margin(X[:, :4], 1)
    with pytest.raises(DataError, match=r"not float64 of shape \(120, 5\)"):
        margin(X.astype(np.float64), 1)
    with pytest.raises(DataError, match=r"not float32 of shape \(5,\)"):
        margin(X[0], 1)
    with pytest.raises(DataError, match="not list"):
        margin(X.tolist(), 1)
