import io
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from src.core.config import DatasetConfig, Gate
from src.core.errors import ConfigError, GateError
from src.training_pipeline import gate, scorecard
from src.training_pipeline.gate import Current, Verdict
from src.training_pipeline.scorecard import Estimates, Scorecard

VERSION = "20261120T231500Z-1a2b3c4d"


@pytest.fixture(scope="session")
def cards(config: DatasetConfig) -> dict[str, Scorecard]:
    rng = np.random.default_rng(0)
    y = rng.lognormal(12.5, 0.5, 200)
    found = {}
    for split, noise in (("eval", 0.05), ("holdout", 0.1)):
        meta = pl.DataFrame(
            {"date": [date(2020, 1 + i % 12, 28) for i in range(200)], "city_full": ["a", "b"] * 100, "price": y}
        )
        yhat = y * rng.lognormal(0, noise, 200)
        beside = {"median": np.full(200, np.median(y)), "linear": y * 1.2, "last_known": np.full(200, np.nan)}
        found[split] = scorecard.judge(Estimates(split, y, yhat, meta, beside, {0.8: (yhat * 0.9, yhat * 1.1)}), config)
    return found


def with_gate(config: DatasetConfig, **changes: Any) -> DatasetConfig:
    return config.model_copy(update={"gate": Gate.model_validate(changes)})


def test_a_good_model_passes_every_line(config: DatasetConfig, cards: dict[str, Scorecard]) -> None:
    verdict = gate.judge(config, cards, None, "the store has no current model")
    assert verdict.passed
    assert [line.name for line in verdict.lines] == [
        "eval mape",
        "eval mdape",
        "holdout mape",
        "eval mae beside median",
        "eval mae beside linear",
    ]
    assert verdict.notes == ("the store has no current model",)
    verdict.require(VERSION)


def test_a_failing_line_is_named_with_value_and_limit(config: DatasetConfig, cards: dict[str, Scorecard]) -> None:
    strict = with_gate(config, max={"eval": {"mape": 0.001}}, min={"holdout": {"r2": 0.5, "coverage_80": 0.99}})
    verdict = gate.judge(strict, cards, None)
    assert [line.name for line in verdict.failed] == ["eval mape", "holdout coverage_80"]
    with pytest.raises(
        GateError, match=r"2 of 3 lines failed:\n  eval mape is 0\.\d+, and must be <= 0\.001"
    ) as raised:
        verdict.require(VERSION)
    assert VERSION in str(raised.value)
    assert raised.value.exit_code == 1


def test_a_baseline_must_be_undercut(config: DatasetConfig, cards: dict[str, Scorecard]) -> None:
    card = cards["eval"]
    drawn = scorecard.Baseline(card.n, card.scores, card.scores)
    level = {**cards, "eval": Scorecard(**{**vars(card), "baselines": {"median": drawn}})}
    verdict = gate.judge(with_gate(config, beats=["median"]), level, None)
    assert [line.name for line in verdict.failed] == ["eval mae beside median"]


@pytest.mark.parametrize(("mine", "passed"), [(100.0, True), (100.99, True), (101.01, False), (90.0, True)])
def test_the_current_model_may_be_missed_by_the_tolerance(
    config: DatasetConfig, cards: dict[str, Scorecard], mine: float, passed: bool
) -> None:
    verdict = gate.judge(with_gate(config, tolerance=0.01), cards, Current(VERSION, 100.0, mine))
    assert verdict.passed is passed
    assert verdict.lines[-1].name == f"eval mae beside the current {VERSION}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max": {"test": {"mape": 1}}}, r"'test' is not a split that is judged \(eval, holdout\)"),
        ({"max": {"eval": {"mapee": 1}}}, "eval has no metric 'mapee'.*mape.*COD.*coverage_80"),
        ({"beats": ["prophet"]}, r"'prophet' is not a baseline \(there are median, linear\)"),
    ],
)
def test_a_gate_that_names_nothing_is_a_mistake_in_the_config(
    config: DatasetConfig, cards: dict[str, Scorecard], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        gate.judge(with_gate(config, **changes), cards, None)


def test_last_known_without_history_is_said_and_not_failed(config: DatasetConfig, cards: dict[str, Scorecard]) -> None:
    verdict = gate.judge(with_gate(config, beats=["last_known"]), cards, None)
    assert verdict.passed
    assert "no row of eval has an earlier price" in verdict.notes[0]


def test_the_table_shows_what_failed() -> None:
    lines = (gate.Line("eval mape", 0.5, "<=", 0.1), gate.Line("eval mae", 12_345.6, "<", 20_000))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(gate.table(Verdict(lines, ("no current model",))))
    shown = console.export_text()
    assert "Gate: FAILED" in shown
    assert "failed" in shown
    assert "12,346" in shown
    assert "no current model" in shown
