import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.training_pipeline import study, tune, xgb
from src.training_pipeline.folds import month_numbers, rolling_origins
from src.training_pipeline.tracking import Run
from tests.markets import tiny_config, tiny_matrix, write_train


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return write_train(tmp_path / "features", tiny_matrix())


def reopened(folder: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'study.db'}")


def test_the_best_is_never_worse_than_the_configs_own(features: Path, tmp_path: Path, recording: Settings) -> None:
    found = tune.run(tiny_config(), recording, features, tmp_path / "model")
    assert found["value"] <= found["baseline"]
    assert found["trials"] == 5
    assert set(found["params"]) == {"learning_rate", "max_depth"}
    assert json.loads((tmp_path / "model" / "params.json").read_text()) == found
    first = reopened(tmp_path / "model", found["study"]).trials[0]
    assert first.params == {"learning_rate": 0.3, "max_depth": 3}
    assert first.value == found["baseline"]


def test_the_value_is_the_mean_of_the_folds_in_the_targets_unit(
    features: Path, tmp_path: Path, recording: Settings
) -> None:
    tuning = {**tiny_config().tuning.model_dump(), "metric": "mae"}
    found = tune.run(tiny_config(tuning=tuning), recording, features, tmp_path / "model", 2)
    assert found["value"] == pytest.approx(np.mean(found["folds"]))
    assert 5_000 < found["value"] < 100_000


def test_a_search_repeats_itself(features: Path, tmp_path: Path, recording: Settings) -> None:
    first, second = (tune.run(tiny_config(), recording, features, tmp_path / name) for name in ("one", "two"))
    assert {**first, "run_id": None} == {**second, "run_id": None}


def test_a_stopped_search_resumes(features: Path, tmp_path: Path, recording: Settings) -> None:
    tune.run(tiny_config(), recording, features, tmp_path / "model", 2)
    found = tune.run(tiny_config(), recording, features, tmp_path / "model", 4)
    drawn = [tuple(trial.params.values()) for trial in reopened(tmp_path / "model", found["study"]).trials]
    assert len(drawn) == len(set(drawn)) == found["trials"] == 4


def test_a_finished_search_only_reports(features: Path, tmp_path: Path, recording: Settings) -> None:
    first = tune.run(tiny_config(), recording, features, tmp_path / "model", 3)
    assert tune.run(tiny_config(), recording, features, tmp_path / "model", 3) == first


def test_ctrl_c_keeps_the_finished_trials(
    features: Path, tmp_path: Path, recording: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []

    def stopping(*args: Any) -> Any:
        judge = judge_with(*args)

        def until_stopped(params: dict[str, Any], fold: int) -> Any:
            judged.append(fold)
            if len(judged) == 6:
                raise KeyboardInterrupt
            return judge(params, fold)

        return until_stopped

    judge_with = tune.judge_with
    monkeypatch.setattr(tune, "judge_with", stopping)
    with pytest.raises(KeyboardInterrupt):
        tune.run(tiny_config(), recording, features, tmp_path / "model")
    left = json.loads((tmp_path / "model" / "params.json").read_text())
    assert left["trials"] == 2
    monkeypatch.setattr(tune, "judge_with", judge_with)
    found = tune.run(tiny_config(), recording, features, tmp_path / "model")
    assert found["study"] == left["study"]
    assert found["trials"] == 5
    states = [trial.state.name for trial in reopened(tmp_path / "model", found["study"]).trials]
    assert states.count("FAIL") == 1


def test_a_default_lost_to_a_crash_is_judged_again(features: Path, tmp_path: Path, recording: Settings) -> None:
    job = tune.prepare(tiny_matrix(), tiny_config(), recording, tmp_path / "model" / "study.db")
    job.study.enqueue_trial({"learning_rate": 0.3, "max_depth": 3}, user_attrs={study.DEFAULT: True})
    job.study.ask(study.distributions(job.config))  # and the process dies
    found = tune.run(tiny_config(), recording, features, tmp_path / "model", 2)
    assert found["baseline"] is not None
    assert found["trials"] == 2


def test_a_hopeless_candidate_is_pruned_and_the_default_never(tmp_path: Path) -> None:
    config = tiny_config()
    opened = study.open_study(tmp_path / "study.db", "s", 0)
    default = 0.3

    def judge(params: dict[str, Any], fold: int) -> tune.Judged:
        del fold
        return tune.Judged(9.0 if params["learning_rate"] == default else params["learning_rate"], 10)

    job = tune.Search(config, opened, judge, 3, xgb.params_of(config, {}, 1))
    tune.search(job, 12, lambda name: nullcontext(Run(None, "", None)))
    trials = opened.trials
    assert trials[0].state.name == "COMPLETE"
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert pruned
    assert min(trial.params["learning_rate"] for trial in pruned) > opened.best_value


def test_folds_judged_side_by_side_find_what_folds_in_turn_find(tmp_path: Path) -> None:
    config, found = tiny_config(), []
    for at_once in (1, 2):
        opened = study.open_study(tmp_path / f"{at_once}.db", "s", 0)
        months = month_numbers(tiny_matrix().meta["date"])
        judge = tune.judge_with(tiny_matrix(), config, rolling_origins(months, 3, 4))
        tune.search(
            tune.Search(config, opened, judge, 3, xgb.params_of(config, {}, 1), at_once),
            6,
            lambda name: nullcontext(Run(None, "", None)),
        )
        found.append([(trial.state, trial.params, trial.value, trial.user_attrs) for trial in opened.trials])
    assert found[0] == found[1]


@pytest.mark.parametrize(("threads", "cores", "at_once"), [(None, 4, 4), (1, 4, 1), (2, 4, 1), (None, 1, 1)])
def test_as_many_folds_are_judged_at_once_as_cores_are_free(
    threads: int | None, cores: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune.os, "cpu_count", lambda: cores)
    job = tune.prepare(tiny_matrix(), tiny_config(), Settings(threads=threads), tmp_path / "study.db")
    assert job.at_once == at_once


def test_a_short_history_gives_fewer_folds_and_says_so(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    job = tune.prepare(tiny_matrix(months=14), tiny_config(), settings, tmp_path / "study.db")
    assert job.folds == 1
    assert "folds of 6 months number 1 instead of 2" in caplog.text


def named(config: DatasetConfig, seed: int = 0) -> str:
    data = tiny_matrix(seed=seed)
    months = month_numbers(data.meta["date"])
    folds = rolling_origins(months, config.tuning.folds, config.tuning.fold_months)
    return study.study_name(config, data, months, folds, xgb.params_of(config, {}, 1))


def test_a_changed_search_starts_anew() -> None:
    own = named(tiny_config())
    tuning = tiny_config().tuning.model_dump()
    assert named(tiny_config(title="Another title")) == own
    changed = [
        named(tiny_config(), seed=1),
        named(tiny_config({"params": {"max_depth": 4}})),
        named(tiny_config(tuning={**tuning, "fold_months": 5})),
        named(tiny_config(tuning={**tuning, "metric": "mae"})),
        named(tiny_config(tuning={**tuning, "space": {"max_depth": {"int": [2, 7]}}})),
    ]
    assert len({own, *changed}) == 6


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "tuning.space is empty"),
        ({"max_depth": {"int": [6, 2]}}, "tuning.space.max_depth"),
        ({"gamma": {"float": [0.0, 1.0], "log": True}}, "tuning.space.gamma"),
        ({"max_depth": {"int": [4, 6]}}, r"own value 3.*widen"),
        ({"max_deph": {"int": [4, 6]}}, "max_deph"),
        ({"grow_policy": {"choice": ["lossguide"]}}, "own value 'depthwise'"),
    ],
)
def test_an_impossible_space_is_refused_by_name(
    space: dict[str, Any], said: str, tmp_path: Path, settings: Settings
) -> None:
    config = tiny_config(tuning={"space": space, "fold_months": 6})
    with pytest.raises(ConfigError, match=said):
        tune.prepare(tiny_matrix(), config, settings, tmp_path / "study.db")


def test_xgboosts_defaults_stand_in_for_parameters_that_the_config_leaves_out() -> None:
    space = {
        "reg_lambda": {"float": [0.1, 9.0]},
        "max_leaves": {"int": [0, 9]},
        "grow_policy": {"choice": ["depthwise"]},
    }
    config = tiny_config(tuning={"space": space})
    own = study.own_values(config, xgb.params_of(config, {}, 1))
    assert own == {"reg_lambda": 1.0, "max_leaves": 0, "grow_policy": "depthwise"}
    assert isinstance(own["max_leaves"], int)


def test_a_damaged_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("this is not SQLite, and it is long enough to tell" * 10)
    with pytest.raises(DataError, match=r"study\.db is not a readable study.*remove it"):
        study.open_study(tmp_path / "study.db", "s", 0)


@pytest.mark.parametrize("trials", ["0", "-3"])
def test_a_number_of_trials_below_one_is_refused(trials: str) -> None:
    with pytest.raises(ConfigError, match="--trials must be at least 1"):
        tune.main(["--trials", trials])


@pytest.mark.parametrize(
    ("best", "clear"),
    [([0.10, 0.10, 0.10], False), ([0.09, 0.11, 0.099], False), ([0.095, 0.096, 0.094], True)],
)
def test_the_configs_own_parameters_stay_unless_the_gain_is_larger_than_its_error(
    best: list[float], clear: bool
) -> None:
    default = optuna.trial.create_trial(value=0.1, user_attrs={"folds": [0.1, 0.1, 0.1]})
    other = optuna.trial.create_trial(value=float(np.mean(best)), user_attrs={"folds": best})
    assert tune._clearly_better(other, default) is clear
