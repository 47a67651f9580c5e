"""A pyfunc model of raw rows, as code, which `mlflow models serve` loads; run as a script it saves it.

Without a signature: MLflow would check each request's columns against it, which takes time of its own.
"""

import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from numpy.typing import NDArray

from benchmarks.peers.priced import priced


class Priced(mlflow.pyfunc.PythonModel):
    """Raw rows to margins; the bundle is one of its artifacts."""

    def load_context(self, context: Any) -> None:
        self._answer = priced(Path(context.artifacts["bundle"]).parent)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> NDArray[Any]:  # noqa: ARG002
        return self._answer(model_input)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    artifacts = {"bundle": str(folder / "bundle")}
    mlflow.pyfunc.save_model(folder / "mlflow", python_model=__file__, artifacts=artifacts, pip_requirements=[])
else:
    mlflow.models.set_model(Priced())
