import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost

from src.core import metrics
from src.core.config import Settings
from src.core.errors import ConfigError, DataError
from src.inference_pipeline.boosted import BoostedTrees
from src.training_pipeline import train, xgb
from src.training_pipeline.families import Rows
from src.training_pipeline.families import estimates as estimates_of
from src.training_pipeline.folds import month_numbers
from tests.markets import tiny_config, tiny_matrix, write_train

PARAMS = xgb.params_of(tiny_config(), {}, 1)


def booster_of(trained: train.Trained) -> xgboost.Booster:
    assert isinstance(trained.model, BoostedTrees)
    return trained.model.booster


def test_training_learns_and_judges_months_that_it_did_not_fit() -> None:
    data = tiny_matrix(seed=1)
    trained = train.train(data, tiny_config(), PARAMS)
    assert trained.validation["mape"] < 0.35
    assert trained.months == {"first": "2017-01", "first_judged": "2019-07", "last": "2019-12"}
    fresh = tiny_matrix(seed=2)
    estimates = estimates_of(trained.model, fresh.X, tiny_config())
    assert metrics.mape(fresh.y, estimates) < 0.35


def test_all_of_train_is_fitted_with_more_rounds_in_proportion() -> None:
    data = tiny_matrix()
    trained = train.train(data, tiny_config(), PARAMS)
    # 36 months, of which the last 6 only judge.
    assert trained.rounds == round(trained.stopped_at * 36 / 30)
    assert booster_of(trained).num_boosted_rounds() == trained.rounds
    alone = xgb.fit(Rows(data.X, data.y), tiny_config(), PARAMS, trained.rounds)
    assert alone.booster.save_raw() == booster_of(trained).save_raw()


@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_and_data_give_the_same_bits(threads: int) -> None:
    data, params = tiny_matrix(per_month=100), {**PARAMS, "nthread": threads}
    first, second = (train.train(data, tiny_config(), params) for _ in range(2))
    assert booster_of(first).save_raw() == booster_of(second).save_raw()
    assert np.array_equal(*(estimates_of(one.model, data.X, tiny_config()) for one in (first, second)))


def test_another_seed_gives_another_model() -> None:
    data = tiny_matrix()
    first = booster_of(train.train(data, tiny_config(), PARAMS))
    assert first.save_raw() != booster_of(train.train(data, tiny_config(), {**PARAMS, "seed": 43})).save_raw()


def test_estimates_of_a_log_target_are_prices() -> None:
    data = tiny_matrix()
    trained = train.train(data, tiny_config(), PARAMS)
    estimates = estimates_of(trained.model, data.X, tiny_config())
    assert estimates.dtype == np.float64
    assert (estimates > 0).all()
    assert 0.8 < np.median(estimates / data.y) < 1.2


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"max_deph": 3}, "max_deph"),
        ({"max_depth": -3}, "max_depth"),
        ({"max_depth": "deep"}, "deep"),
        ({"objective": "count:poisson"}, "objective"),
        ({"tree_method": "exact"}, "model.params"),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_name(params: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train.train(tiny_matrix(), tiny_config(), {**PARAMS, **params})


@pytest.mark.parametrize("price", [0.0, -5.0, np.nan, np.inf])
def test_a_price_without_a_logarithm_is_refused(price: float) -> None:
    data = tiny_matrix()
    data.y[7] = price
    with pytest.raises(DataError, match=r"price must be finite and above 0.*1 rows"):
        train.train(data, tiny_config(), PARAMS)


def test_an_infinite_feature_is_named() -> None:
    data = tiny_matrix()
    data.X[3, 1] = np.inf
    with pytest.raises(DataError, match="'b' is infinite in 1"):
        train.train(data, tiny_config(), PARAMS)


def test_no_rows_are_refused() -> None:
    data = tiny_matrix()
    empty = dataclasses.replace(data, X=data.X[:0], y=data.y[:0], meta=data.meta[:0])
    with pytest.raises(DataError, match="no rows"):
        train.train(empty, tiny_config(), PARAMS)


def test_a_model_that_never_stops_improving_is_said(caplog: pytest.LogCaptureFixture) -> None:
    train.train(tiny_matrix(), tiny_config({"max_rounds": 3}), PARAMS)
    assert "raise model.max_rounds" in caplog.text


def test_run_leaves_a_model_and_how_it_came_about(tmp_path: Path, recording: Settings) -> None:
    config, data = tiny_config(), tiny_matrix()
    features = write_train(tmp_path / "features", data)
    said = train.run(config, recording, features, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "train.json").read_text()) == said
    assert said["rows"] == len(data.y)
    assert said["sha256"] is None  # these features are not the workspace's own
    assert said["features"] == ["a", "b", "c"]
    booster = xgboost.Booster(model_file=tmp_path / "model" / "model.ubj")
    assert booster.feature_names == ["a", "b", "c"]
    assert booster.num_boosted_rounds() == said["rounds"]


def test_tuned_parameters_replace_the_configs(tmp_path: Path, recording: Settings) -> None:
    features = write_train(tmp_path / "features", tiny_matrix())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "params.json").write_text('{"params": {"max_depth": 2}, "trials": 4, "run_id": "abc"}')
    said = train.run(tiny_config(), recording, features, tmp_path / "model")
    assert said["params"]["max_depth"] == 2
    assert said["params"]["learning_rate"] == 0.3
    assert said["tune_run_id"] == "abc"


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON"), ("[1]", "must hold"), ('{"params": 3}', "must hold")])
def test_a_damaged_parameter_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.json").write_text(text)
    with pytest.raises(ConfigError, match=said):
        train.read_params(tmp_path / "params.json", tiny_config())


def test_a_named_parameter_file_must_exist(tmp_path: Path) -> None:
    assert train.read_params(tmp_path / "params.json", tiny_config()) == {}
    with pytest.raises(ConfigError, match="does not exist"):
        train.read_params(tmp_path / "params.json", tiny_config(), required=True)


def test_a_failed_training_leaves_the_old_model(tmp_path: Path, recording: Settings) -> None:
    features = write_train(tmp_path / "features", tiny_matrix())
    train.run(tiny_config(), recording, features, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    with pytest.raises(ConfigError):
        train.run(tiny_config({"params": {"max_depth": -1}}), recording, features, tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


def test_training_reads_no_split_but_train(tmp_path: Path, recording: Settings) -> None:
    features = write_train(tmp_path / "features", tiny_matrix())
    for split in ("eval", "holdout"):
        (features / f"{split}.parquet").write_text("not to be opened")
    assert train.run(tiny_config(), recording, features, tmp_path / "model")["rounds"] > 0


def test_months_may_come_in_any_order() -> None:
    data = tiny_matrix()
    assert not pl.Series(month_numbers(data.meta["date"])).is_sorted()
    assert train.train(data, tiny_config(), PARAMS).months["last"] == "2019-12"


def test_importing_the_stage_imports_no_mlflow() -> None:
    code = (
        "import sys; from src.training_pipeline import train; sys.exit(bool({'mlflow', 'optuna'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
