"""An MLServer runtime of XGBoost's booster; it takes the features ready-made, as a tensor.

`mlserver-xgboost` asks for XGBoost's GPU libraries and goes through its scikit-learn wrapper, which is slower.
"""

import os
from pathlib import Path

import xgboost as xgb
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Trees(MLModel):
    """With `max_batch_size` and `max_batch_time` set, `predict` is given the rows of several requests as one."""

    async def load(self) -> bool:
        model = Path(os.environ["SERVED_FOLDER"]) / "bundle" / "model.ubj"
        self._booster = xgb.Booster({"nthread": 1}, model_file=model)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        margins = self._booster.inplace_predict(rows, validate_features=False)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("margins", margins)])
