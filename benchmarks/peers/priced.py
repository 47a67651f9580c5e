"""Raw rows to margins in pandas and XGBoost: what the plain FastAPI and the MLflow model do with a request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xgboost as xgb
from numpy.typing import NDArray

from benchmarks.pandas_features import serving
from src.core.config import load_config
from src.core.plain_pickle import load_plain


def priced(folder: Path) -> Callable[[Any], NDArray[Any]]:
    """Load the bundle of a folder; the function takes a list of dicts or a frame."""
    booster = xgb.Booster({"nthread": 1}, model_file=folder / "bundle" / "model.ubj")
    features = serving(load_config("housets"), load_plain(folder / "bundle" / "encoders.pkl")["tables"])

    def answer(rows: Any) -> NDArray[Any]:
        made: NDArray[Any] = booster.inplace_predict(features(rows).to_numpy(), validate_features=False)
        return made

    return answer
