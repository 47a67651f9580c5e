"""A BentoML service with adaptive batching; it takes the features ready-made, as an array."""

import os
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
import xgboost as xgb
from bentoml.validators import DType


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Trees:
    """One worker; requests that wait while a batch is worked on make up the next one."""

    def __init__(self) -> None:
        model = Path(os.environ["SERVED_FOLDER"]) / "bundle" / "model.ubj"
        self._booster = xgb.Booster({"nthread": 1}, model_file=model)

    @bentoml.api(batchable=True, max_batch_size=10_000)
    def predict(self, rows: Annotated[np.ndarray, DType("float32")]) -> np.ndarray:
        return self._booster.inplace_predict(rows, validate_features=False)
