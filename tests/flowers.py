"""A model of classes without the stages, for tests that need one quickly."""

from io import BytesIO

import numpy as np
import polars as pl
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from src.core.config import load_config
from src.inference_pipeline.estimators import FittedEstimator
from src.inference_pipeline.predictor import Predictor


def iris_predictor() -> Predictor:
    """Return a logistic regression of all the flowers, which are its known rows."""
    config = load_config("iris")
    X, y = load_iris(return_X_y=True)
    X, names = X.astype(np.float32), list(config.target.classes)
    fitted = LogisticRegression().fit(X, y)
    said = [names[i] for i in fitted.predict(X)]
    frame = pl.DataFrame(X, schema=list(config.feature_names)).with_columns(
        species=pl.Series([names[i] for i in y]), predicted_species=pl.Series(said)
    )
    model = FittedEstimator(fitted, np.median(X, axis=0), len(names))
    return Predictor(config, {}, model, {}, "v", reference=parquet(frame))


def parquet(frame: pl.DataFrame) -> bytes:
    content = BytesIO()
    frame.write_parquet(content)
    return content.getvalue()
