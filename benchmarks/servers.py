"""The servers of `benchmarks.serving`: how each is started, what it is asked in the form it documents, how it answers.

Each serves the same trees from one process that works on requests. Those made for numbers are given the features
ready-made, which spares them what ours and the pandas ones do first.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.peers import environments
from benchmarks.predictor import TRAINING
from benchmarks.processes import free_port
from src.api.keys import new_key
from src.core import scale
from src.core.config import PROJECT
from src.core.plain_pickle import load_plain
from src.core.store import FolderStore
from src.inference_pipeline.predictor import Predictor
from src.inference_pipeline.trend import Trend

BIN = Path(sys.executable).parent
# As where serving's packages alone are installed: XGBoost imports the others where they are.
SERVE = """
import runpy, sys
for name in sys.argv.pop(1).split():
    sys.modules[name] = None
runpy.run_module("src.api.main", run_name="__main__", alter_sys=True)
"""


class Asked(NamedTuple):
    """Raw rows as a CSV reader gives them, of the columns that a row must bring, and what is known of each.

    `log_prices` are ours; `margins` are what the trees alone say, without the trend, which no other server has.
    """

    rows: list[dict[str, Any]]
    features: NDArray[np.float32]
    log_prices: NDArray[np.float64]
    margins: NDArray[np.float64]

    @classmethod
    def of(cls, folder: Path, count: int) -> "Asked":
        """Take rows from all over those of the folder."""
        predictor, there = Predictor.load(folder / "bundle"), pl.read_parquet(folder / "rows.parquet")
        rows = there.select(predictor.config.raw_inputs)[:: max(len(there) // count, 1)].head(count)
        features = predictor.encode(rows)[0]
        log_prices = scale.forward(predictor.config.target.transform, predictor.predict(rows).estimate)
        trend = Trend.of_plain(load_plain(folder / "bundle" / "encoders.pkl")["trend"])
        return cls(rows.to_dicts(), features, log_prices, log_prices - trend(features))

    def each(self) -> "list[Asked]":
        """Return the rows one by one."""
        return [Asked(*(values[i : i + 1] for values in self)) for i in range(len(self.rows))]

    def numbers(self) -> list[list[float | None]]:
        """Return the features in the shortest digits that mean the same float32; missing ones are null."""
        return [[None if np.isnan(value) else float(str(value)) for value in row] for row in self.features]


class Server:
    """One way to serve the model of a folder, which `make_bundle` made."""

    name: ClassVar[str]
    takes: ClassVar[str] = "raw row"
    ready: ClassVar[str]
    path: ClassVar[str]
    environment: ClassVar[str | None] = None  # a name in `peers.environments`; None: the project's own
    headers: ClassVar[Mapping[str, str]] = {}
    learns_in: ClassVar[int] = 1  # seconds of another load, after which it is used to it

    def prepare(self, folder: Path) -> None:
        """Put the model into the form that the server loads."""

    def command(self, folder: Path, port: int) -> Sequence[str | Path]:
        raise NotImplementedError

    def settings(self, folder: Path, port: int) -> Mapping[str, str]:
        """Return the environment's variables that the command needs beyond its own."""
        del port
        return {"SERVED_FOLDER": str(folder), "PYTHONPATH": str(PROJECT)}

    def ask(self, asked: Asked) -> Any:
        """Return the body, before it is JSON."""
        return asked.rows

    def read(self, answer: Any) -> Any:
        """Return the numbers of an answer."""
        return answer["predictions"]

    def wanted(self, asked: Asked) -> NDArray[np.float64]:
        """Return the numbers of the right answer."""
        return asked.margins

    def body(self, asked: Asked) -> bytes:
        return json.dumps(self.ask(asked)).encode()

    def is_right(self, answer: bytes, asked: Asked) -> bool:
        """Tell whether an answer is what it must be to float32's precision."""
        numbers = np.array(self.read(json.loads(answer)), dtype=np.float64).ravel()
        return np.allclose(numbers, self.wanted(asked), rtol=0, atol=1e-5)


class Housecast(Server):
    """Ours with API keys, checks, intervals, flags, metrics, a log line for each request, and each recorded."""

    name, ready, path = "housecast", "/health/ready", "/predict"
    key, entry = new_key("benchmark", "read")
    headers: ClassVar[Mapping[str, str]] = {"Authorization": f"Bearer {key}"}

    def prepare(self, folder: Path) -> None:
        store = FolderStore(folder / "store")
        store.promote("housets", store.publish("housets", folder / "bundle"), by="benchmark", why="the only one")

    def command(self, folder: Path, port: int) -> Sequence[str | Path]:
        del folder
        return [BIN / "python", "-c", SERVE, " ".join(TRAINING), "--port", str(port)]

    def settings(self, folder: Path, port: int) -> Mapping[str, str]:
        # Limits that refuse nothing here, and count all the same.
        limits = {"RATE_LIMIT": "1e9", "RATE_BURST": "1000000000", "MAX_ROWS": "100000", "MAX_BODY_MB": "1000"}
        here = {"MODEL_STORE": str(folder / "store"), "API_KEYS": self.entry, "DRAIN_SECONDS": "0"}
        own = folder / f"work-{port}"  # with a database of its own
        own.mkdir()
        return {**here, **limits, "LOG_LEVEL": "INFO", "PREDICTION_LOG": "true", "WORKSPACE": str(own)}

    def ask(self, asked: Asked) -> Any:
        return asked.rows if len(asked.rows) > 1 else asked.rows[0]

    def read(self, answer: Any) -> Any:
        return np.log(answer["predictions"])

    def wanted(self, asked: Asked) -> NDArray[np.float64]:
        return asked.log_prices


class Unrecorded(Housecast):
    """Ours without the prediction log."""

    name = "housecast, not recorded"

    def prepare(self, folder: Path) -> None:
        """Serve what the other one serves."""

    def settings(self, folder: Path, port: int) -> Mapping[str, str]:
        return {**super().settings(folder, port), "PREDICTION_LOG": "false"}


class FastAPIPandas(Server):
    """What is quickly written: a frame for each request."""

    name, ready, path = "FastAPI and pandas", "/health", "/predict"

    def command(self, folder: Path, port: int) -> Sequence[str | Path]:
        del folder
        app = ["benchmarks.peers.fastapi_pandas:app", "--port", str(port)]
        return [BIN / "python", "-m", "uvicorn", *app, "--no-access-log", "--log-level", "warning"]


class MLflow(Server):
    """`mlflow models serve` without an environment of its own."""

    name, ready, path = "MLflow scoring server", "/ping", "/invocations"

    def prepare(self, folder: Path) -> None:
        command = [BIN / "python", "-m", "benchmarks.peers.mlflow_model", folder]
        subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)

    def command(self, folder: Path, port: int) -> Sequence[str | Path]:
        model = ["--model-uri", folder / "mlflow", "--port", str(port), "--env-manager", "local", "--workers", "1"]
        return [BIN / "python", "-m", "mlflow", "models", "serve", *model]

    def settings(self, folder: Path, port: int) -> Mapping[str, str]:
        # It starts `uvicorn` from the PATH.
        own = {"PATH": f"{BIN}:/usr/bin:/bin", "MLFLOW_DISABLE_TELEMETRY": "true", "UVICORN_ACCESS_LOG": "false"}
        return {**super().settings(folder, port), **own}

    def ask(self, asked: Asked) -> Any:
        return {"dataframe_records": asked.rows}


class BentoML(Server):
    """One worker that batches adaptively."""

    name, takes, ready, path, environment = "BentoML", "features", "/readyz", "/predict", "bentoml"
    learns_in = 6  # it draws its conclusions from what it has measured every 5 s

    def command(self, folder: Path, port: int) -> Sequence[str | Path]:
        del folder
        service = ["serve", "benchmarks.peers.bentoml_trees:Trees", "--host", "127.0.0.1", "--port", str(port)]
        return [environments.build("bentoml") / "bentoml", *service]

    def settings(self, folder: Path, port: int) -> Mapping[str, str]:
        own = {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
        return {**super().settings(folder, port), **own}

    def ask(self, asked: Asked) -> Any:
        return {"rows": asked.numbers()}

    def read(self, answer: Any) -> Any:
        return answer


class MLServer(Server):
    """One process that batches adaptively, asked by the Open Inference Protocol."""

    name, takes, environment = "MLServer", "features", "mlserver"
    ready, path = "/v2/models/trees/ready", "/v2/models/trees/infer"

    def prepare(self, folder: Path) -> None:
        (folder / "mlserver").mkdir()  # a repository without files: the model's settings are in the environment

    def command(self, folder: Path, port: int) -> Sequence[str | Path]:
        del port
        return [environments.build("mlserver") / "mlserver", "start", folder / "mlserver"]

    def settings(self, folder: Path, port: int) -> Mapping[str, str]:
        ports = {"HTTP_PORT": port, "GRPC_PORT": free_port(), "METRICS_PORT": free_port()}
        # Without worker processes the one that answers works out the answers as well.
        own = {**ports, "HOST": "127.0.0.1", "PARALLEL_WORKERS": 0, "DEBUG": "false"}
        own |= {"MODEL_NAME": "trees", "MODEL_IMPLEMENTATION": "benchmarks.peers.mlserver_trees.Trees"}
        # The best at 32 connections of what was tried, from 8 to 32 requests and from 0.5 to 10 ms.
        own |= {"MODEL_MAX_BATCH_SIZE": 32, "MODEL_MAX_BATCH_TIME": 0.002}
        return {**super().settings(folder, port), **{f"MLSERVER_{name}": str(value) for name, value in own.items()}}

    def ask(self, asked: Asked) -> Any:
        data = [value for row in asked.numbers() for value in row]
        return {"inputs": [{"name": "rows", "datatype": "FP32", "shape": list(asked.features.shape), "data": data}]}

    def read(self, answer: Any) -> Any:
        return answer["outputs"][0]["data"]


OURS, UNRECORDED, PLAIN = Housecast(), Unrecorded(), FastAPIPandas()
# Those that promise to serve models well.
PEERS: tuple[Server, ...] = (MLflow(), BentoML(), MLServer())
