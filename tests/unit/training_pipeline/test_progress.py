"""Long steps say how far they are, and a step inside another is silent."""

import logging

import pytest

from src.training_pipeline.progress import progress


def test_without_a_terminal_counts_are_log_lines_and_inner_steps_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with progress("comparing", 4, log_every=2) as outer:
        for step in range(1, 5):
            with progress("training", 1) as inner:
                inner(1)
            outer(step, f"model {step}")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["comparing: 2 of 4, model 2", "comparing: 4 of 4, model 4"]


def test_a_step_after_another_speaks_again_even_when_the_first_failed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(RuntimeError), progress("first", 1):
        raise RuntimeError
    with progress("second", 1) as advance:
        advance(1)
    assert [record.getMessage() for record in caplog.records] == ["second: 1 of 1"]
