"""The model of `benchmarks.predictor`, and the ways to get a price from it: what is untimed and what is timed.

Bare XGBoost is given the features ready-made; in bulk as a DMatrix that is new for each call and not timed, because it
remembers what it answered for a matrix.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from benchmarks.market import MONTHS, settings_in, to_features
from src.core import scale
from src.core.config import load_config
from src.core.errors import GateError
from src.core.files import write_json
from src.core.plain_pickle import load_plain
from src.inference_pipeline.predictor import Predictor
from src.inference_pipeline.trend import Trend

Rows = list[dict[str, Any]]
# How the input of call number i is made, and what is timed.
Way = tuple[Callable[[int], Any], Callable[[Any], Any]]


def make_bundle(folder: Path, zips: int, rows: int, rounds: int, depth: int, file: Path | None = None) -> None:
    """Take a simulated market, or a CSV file, through the stages and publish a model.

    It leaves `bundle/`, `rows.parquet` (the first rows, raw) and `X.npy` (their features).
    """
    # Imported here: the processes that are measured need none of it.
    from src.feature_pipeline.feature_engineering import read_matrix
    from src.training_pipeline import candidate, publish, train
    from src.training_pipeline import xgb as family
    from src.training_pipeline.families import Rows as TrainingRows

    config, settings = load_config("housets"), settings_in(folder)
    source = str(file) if file else f"simulate:zips={zips},months={MONTHS},seed=7"
    space = to_features(config, settings, source)
    data = read_matrix(space.features / "train.parquet", config)
    params = family.params_of(
        config, {"max_depth": depth, "num_parallel_tree": 1}, family.threads_for(len(data.y), None)
    )
    space.model.mkdir(parents=True)
    model = train.fit_all(TrainingRows(data.X, data.y), config, params, rounds)
    model.save(space.model / model.file)
    write_json(space.model / "train.json", {"model": model.plain(), "rounds": rounds})
    (folder / "bundle").mkdir()
    made = candidate.load(config, space.model, space.features, space.raw)
    publish.assemble(made, {}, {}, folder / "bundle", settings)
    # As a CSV reader gives them: dates are text, ZIP codes numbers that lost their zeros, 0 stands for missing.
    raw = pl.read_csv(file or next(space.downloads.glob("*.csv"))).head(rows)
    raw.write_parquet(folder / "rows.parquet")
    np.save(folder / "X.npy", Predictor.load(folder / "bundle").encode(raw)[0])


def check_agreement(folder: Path, count: int = 200) -> None:
    """Hold that the ways price the same rows the same, to float32's precision (GateError)."""
    predictor, frame = Predictor.load(folder / "bundle"), pl.read_parquet(folder / "rows.parquet").head(count)
    # The trend is ours alone: the others are compared without it.
    rest = Trend.of_plain(load_plain(folder / "bundle" / "encoders.pkl")["trend"])(predictor.encode(frame)[0])
    wanted = scale.forward(predictor.config.target.transform, predictor.predict(frame).estimate) - rest
    for name in ("bare inplace_predict", "bare predict", "pandas frame"):
        make, answer = WAYS[name](folder, len(frame), 1)
        if not np.allclose(answer(make(0)), wanted, rtol=0, atol=1e-5):
            raise GateError(f"{name} gives other prices than housecast: the comparison would mean nothing")


def dicts(folder: Path, rows: int, threads: int) -> Way:
    predictor = Predictor.load(folder / "bundle")
    return _requests(folder, rows), lambda asked: predictor.predict(asked, threads)


def explained(folder: Path, rows: int, threads: int) -> Way:
    del threads  # explanations always use one
    return _requests(folder, rows), Predictor.load(folder / "bundle").explain


def frame(folder: Path, rows: int, threads: int) -> Way:
    predictor, asked = Predictor.load(folder / "bundle"), pl.read_parquet(folder / "rows.parquet").head(rows)
    return lambda _: asked, lambda asked: predictor.predict(asked, threads)


def inplace(folder: Path, rows: int, threads: int) -> Way:
    booster, X = _booster(folder, threads), np.load(folder / "X.npy")
    return lambda call: _window(X, call, rows), lambda asked: booster.inplace_predict(asked, validate_features=False)


def matrix(folder: Path, rows: int, threads: int) -> Way:
    booster, X = _booster(folder, threads), np.load(folder / "X.npy")[:rows]
    return lambda _: xgb.DMatrix(X, nthread=threads), lambda asked: booster.predict(asked, validate_features=False)


def pandas_frame(folder: Path, rows: int, threads: int) -> Way:
    from benchmarks.pandas_features import serving

    booster = _booster(folder, threads)
    features = serving(load_config("housets"), load_plain(folder / "bundle" / "encoders.pkl")["tables"])

    def answer(asked: Rows) -> NDArray[np.float32]:
        made: NDArray[np.float32] = booster.predict(xgb.DMatrix(features(asked), nthread=threads))
        return made

    return _requests(folder, rows), answer


# Each takes the folder, how many rows a call has, and the threads.
WAYS: dict[str, Callable[[Path, int, int], Way]] = {
    "housecast": dicts,
    "housecast, frame": frame,
    "housecast, explained": explained,
    "bare inplace_predict": inplace,
    "bare predict": matrix,
    "pandas frame": pandas_frame,
}


def _booster(folder: Path, threads: int) -> xgb.Booster:
    return xgb.Booster({"nthread": threads}, model_file=folder / "bundle" / "model.ubj")


def _requests(folder: Path, rows: int) -> Callable[[int], Rows]:
    there = pl.read_parquet(folder / "rows.parquet", n_rows=max(rows, 5_000)).to_dicts()
    return lambda call: [there[i % len(there)] for i in range(call * rows, (call + 1) * rows)]


def _window(X: NDArray[np.float32], call: int, rows: int) -> NDArray[np.float32]:
    first = call * rows % max(len(X) - rows, 1)
    return X[first : first + rows]
