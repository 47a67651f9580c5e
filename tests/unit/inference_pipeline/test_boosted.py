"""XGBoost's own reading of a saved model, which two threads may ask for at once."""

import builtins
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from src.inference_pipeline.boosted import SavedBooster


def test_a_thread_that_read_it_meanwhile_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    booster = xgb.train({"max_depth": 1}, xgb.DMatrix(np.arange(8.0)[:, None], np.arange(8.0)), num_boost_round=1)
    saved = SavedBooster(bytes(booster.save_raw("ubj")))
    real, others = builtins.__import__, []

    def slow(name: str, *args: Any, **kwargs: Any) -> Any:
        # The import takes a second, in which the other thread gets to the end.
        if name == "xgboost" and not others:
            others.append("begun")
            others.append(saved())
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", slow)
    assert saved().num_features() == 1
    assert others[1].num_features() == 1
