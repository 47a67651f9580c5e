"""Every family trains, answers, saves and comes back the same; wrong parameters are named before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from skops import io as skops

from src.core.config import DatasetConfig, parse_config
from src.core.errors import BundleError, ConfigError, DataError
from src.core.sections import CLASSIFIERS, REGRESSORS
from src.inference_pipeline.estimators import ORDERS
from src.inference_pipeline.models import load_model
from src.training_pipeline import estimators, study
from src.training_pipeline.families import Rows, check_rows, estimates, family_of
from tests.markets import tiny_config, tiny_matrix

CLASSES = """
name: blobs
title: three blobs
source: {origin: made up}
columns: {when: date, a: number, b: number, kind: text}
target: {column: kind, label: kind, classes: [red, green, blue]}
task: classification
keys: [when]
split: {by: time, column: when, eval_from: 2020-01-01, holdout_from: 2021-01-01}
features: [{recipe: numbers, columns: [a, b]}]
tuning: {metric: log_loss}
model: {max_rounds: 20, params: {max_depth: 2}}
"""


def regression(name: str, **entry: Any) -> DatasetConfig:
    content = tiny_config().model_dump(mode="json", exclude_unset=True)
    return DatasetConfig.model_validate({**content, "families": {name: entry} if entry else {}}).variant(name)


def blobs(n: int = 240) -> Rows:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    X = (np.column_stack([y * 2.0, -y]) + rng.normal(size=(n, 2)) * 0.4).astype(np.float32)
    X[::11, 0] = np.nan
    return Rows(X, y.astype(np.float64))


@pytest.mark.parametrize("name", REGRESSORS)
def test_every_regressor_learns_and_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    data = tiny_matrix(per_month=20)
    X = data.X.copy()
    X[::13, 0] = np.nan
    config, rows = regression(name), Rows(X, data.y)
    family = family_of(config)
    params = family.params_of(config, {}, 1)
    family.check_params(params, config)
    model = family.fit(rows, config, params, 60)
    said = estimates(model, X, config)
    assert said.shape == data.y.shape
    assert np.median(np.abs(said / data.y - 1)) < 0.4
    assert (said > 0).all()  # a log target cannot give a price below 0
    model.save(tmp_path / model.file)
    again = load_model(tmp_path, config, model.plain())
    np.testing.assert_array_equal(estimates(again, X, config), said)
    assert again(X[:0]).shape == (0,)
    parts = again.contributions(X[:5])
    base = again(X[:5]) - parts.sum(axis=1)
    np.testing.assert_allclose(base, base[0], rtol=1e-4)  # one starting point for all rows


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_gives_probabilities_and_comes_back(name: str, tmp_path: Path) -> None:
    config, rows = parse_config(CLASSES, "test").variant(name), blobs()
    family = family_of(config)
    params = family.params_of(config, {}, 1)
    family.check_params(params, config)
    model = family.fit(rows, config, params, 20)
    p = estimates(model, rows.X, config)
    assert p.shape == (240, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (p.argmax(axis=1) == rows.y).mean() > 0.9
    model.save(tmp_path / model.file)
    again = load_model(tmp_path, config, model.plain())
    np.testing.assert_array_equal(again(rows.X), p)
    assert again(rows.X[:0]).shape == (0, 3)
    chosen = p.argmax(axis=1)
    amounts = again.contributions(rows.X, chosen)
    assert amounts.shape == (240, 2)
    base = p[np.arange(240), chosen] - amounts.sum(axis=1)
    for number in range(3):  # one starting point for all rows of a class
        np.testing.assert_allclose(base[chosen == number], base[chosen == number][0], atol=1e-5)


def test_the_same_seed_gives_the_same_forest_and_another_does_not() -> None:
    data, config = tiny_matrix(per_month=5), regression("random_forest", params={"n_estimators": 5})
    rows = Rows(data.X, data.y)
    first, second = (estimators.fit(rows, config, estimators.params_of(config, {}, 1)) for _ in range(2))
    np.testing.assert_array_equal(first(data.X), second(data.X))
    other = estimators.fit(rows, config, {**estimators.params_of(config, {}, 1), "random_state": 7})
    assert not np.array_equal(first(data.X), other(data.X))


@pytest.mark.parametrize(
    ("family", "params", "said"),
    [
        ("random_forest", {"n_tree": 5}, "random_forest: Invalid parameter 'n_tree'"),
        ("decision_tree", {"max_depth": -1}, "decision_tree: The 'max_depth' parameter"),
        ("ridge", {"alpha": "much"}, "ridge: The 'alpha' parameter"),
    ],
)
def test_wrong_parameters_are_named(family: str, params: dict[str, Any], said: str) -> None:
    config = regression(family, params=params)
    with pytest.raises(ConfigError, match=said):
        estimators.check_params(estimators.params_of(config, {}, 1), config)


def test_a_variant_has_its_own_transform_features_and_space() -> None:
    space = {"max_depth": {"int": [2, 8]}}
    entry = {
        "family": "decision_tree",
        "params": {"max_depth": 4},
        "transform": "none",
        "features": ["b"],
        "space": space,
    }
    made = regression("published", **entry)
    assert (made.model.family, made.model.variant, made.target.transform) == ("decision_tree", "published", "none")
    assert made.feature_names == ("b",)
    assert study.own_values(made, estimators.params_of(made, {}, 1)) == {"max_depth": 4}
    assert made.digest != tiny_config().digest
    with pytest.raises(ConfigError, match="'c2' is not a feature"):
        regression("published", family="linear", features=["c2"])
    with pytest.raises(ConfigError, match=r"'svm' is not a family for regression \(xgboost, linear"):
        tiny_config().variant("svm")


def test_a_variant_on_another_scale_cannot_use_a_mean_of_the_target() -> None:
    content = tiny_config().model_dump(mode="json", exclude_unset=True)
    mean = {"recipe": "target_mean", "column": "zipcode", "name": "zip_mean"}
    content["features"] = [*content["features"], mean]
    entries = {"all": {"transform": "none"}, "same": {"transform": "log"}, "few": {"transform": "none"}}
    content["families"] = {name: {"family": "linear", **entry} for name, entry in entries.items()}
    content["families"]["few"]["features"] = ["a", "b"]
    config = DatasetConfig.model_validate(content)
    with pytest.raises(ConfigError, match=r"families\.all: transform 'none' does not go with feature 'zip_mean'"):
        config.variant("all")
    assert config.variant("same").feature_names == ("a", "b", "c", "zip_mean")
    assert config.variant("few").target.transform == "none"


def test_rows_that_an_estimator_cannot_learn_from_are_an_error_of_the_data() -> None:
    config = regression("k_neighbors", params={"n_neighbors": 20})
    rows = Rows(tiny_matrix(per_month=1).X[:12], tiny_matrix(per_month=1).y[:12])
    with pytest.raises(DataError, match="train: k_neighbors cannot learn from 12 rows: Expected n_neighbors <= n_samp"):
        estimators.fit(rows, config, estimators.params_of(config, {}, 1))
    classes = parse_config(CLASSES, "test").variant("logistic_regression")
    one = Rows(blobs().X, np.zeros(240))
    with pytest.raises(DataError, match="train: logistic_regression cannot learn from 240 rows: This solver needs"):
        estimators.fit(one, classes, estimators.params_of(classes, {}, 1))


def test_sampled_contributions_do_not_depend_on_how_many_rows_are_explained() -> None:
    data, config = tiny_matrix(per_month=8), regression("decision_tree")
    model = estimators.fit(Rows(data.X, data.y), config, estimators.params_of(config, {}, 1))
    many = model.contributions(data.X)  # more than are asked at once
    single = np.vstack([model.contributions(row[None]) for row in data.X])
    np.testing.assert_array_equal(many, single)
    rng, row, found = np.random.default_rng(0), data.X[3], np.zeros(3)
    for _ in range(ORDERS):
        now, before = model.reference.copy(), model(model.reference[None])[0]
        for feature in rng.permutation(3):
            now[feature] = row[feature]
            after = model(now[None])[0]
            found[feature] += (after - before) / ORDERS
            before = after
    np.testing.assert_allclose(many[3], found, rtol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[red, green, blue]", "[red]", "list every class once, at least two"),
        ("label: kind,", "label: kind, transform: log,", "are for regression"),
        ("metric: log_loss", "metric: mape", "'mape' does not judge a classification"),
        ("max_rounds: 20", "family: ridge", "'ridge' is not a family for classification"),
        ("kind: text", "kind: number", "'kind' is a number column, and a text column is needed"),
    ],
)
def test_a_config_of_classes_must_fit_its_task(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config(CLASSES.replace(old, new), "test")


def test_a_class_without_rows_is_refused() -> None:
    rows = blobs()
    with pytest.raises(DataError, match="no row of kind is 'blue'"):
        check_rows(Rows(rows.X, np.minimum(rows.y, 1)), parse_config(CLASSES, "test"))


def test_a_file_with_anything_else_in_it_is_not_read(tmp_path: Path) -> None:
    config = regression("linear")
    skops.dump({"model": LinearRegression(), "more": Path}, tmp_path / "model.skops")
    with pytest.raises(BundleError, match=r"holds pathlib\.Path, which no model of ours does"):
        load_model(tmp_path, config, {"reference": [0.0] * len(config.feature_names)})
    (tmp_path / "model.skops").write_bytes(b"not a zip")
    with pytest.raises(BundleError, match="is not a model that can be read"):
        load_model(tmp_path, config, {"reference": [0.0] * len(config.feature_names)})


@pytest.mark.parametrize("name", ["linear", "ridge"])
def test_a_row_alone_is_answered_as_in_a_batch_where_features_are_collinear(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3)).astype(np.float32)
    X[:, 0] = X[:, 1] + X[:, 2] + rng.normal(size=2000) * 1e-6
    y = np.exp(12 + X[:, 1] + rng.normal(size=2000) * 0.1)
    config = regression(name, transform="none", params={"alpha": 1e-9} if name == "ridge" else {})
    model = estimators.fit(Rows(X, y), config, estimators.params_of(config, {}, 1))
    alone = np.concatenate([model(X[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(alone, model(X)[:50], rtol=1e-7)
