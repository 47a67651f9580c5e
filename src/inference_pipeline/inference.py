"""Stage: price the rows of a file with the store's current model.

Writes the input's rows, in order and as they are, plus predicted_<target>, lower_80, upper_80, ..., flags.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from src.core.cli import add_input, add_store, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError, StoreError
from src.core.files import replacing
from src.core.store import Store, open_store
from src.core.workspace import Workspace
from src.feature_pipeline import load
from src.feature_pipeline.content import NULLS, readable
from src.inference_pipeline.predictor import Predictor

logger = logging.getLogger(__name__)


def current_predictor(store: Store, dataset: str, settings: Settings) -> Predictor:
    """Fetch, verify and load the current version of a dataset's model.

    Raises:
        StoreError: there is no current version, or the store does not answer.
        BundleError: the version is altered or does not reproduce its golden answers.
    """
    pointer = store.current(dataset)
    if pointer is None:
        raise StoreError(f"no model of {dataset} is in {store} yet: run `python -m src.pipeline --dataset {dataset}`")
    with tempfile.TemporaryDirectory() as folder:
        bundle = store.fetch(dataset, pointer.version, Path(folder) / pointer.version)
        return Predictor.load(bundle, settings.bundle_public_key)


def read_rows(path: Path, config: DatasetConfig) -> pl.DataFrame:
    """Read a CSV or Parquet file as it is written: text stays text, no column is dropped, order is kept.

    Raises:
        DataError: the file does not exist or is not what its name says.
    """
    if not path.exists():
        raise DataError(f"no such file: {path}")
    with readable(path) as file:
        try:
            # Never as a pattern: a path may hold brackets or stars.
            if file.is_dir() or file.suffix.lower() == ".parquet":
                files = sorted(file.rglob("*.parquet")) if file.is_dir() else [file]
                frame = pl.scan_parquet(files, glob=False).collect()
            else:
                frame = pl.read_csv(file, infer_schema=False, null_values=NULLS, glob=False)
            return frame.rename(config.source.rename, strict=False)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}") from error


def write_rows(frame: pl.DataFrame, path: Path) -> None:
    """Write `.csv` or `.parquet`, whole or not at all (ConfigError for another name)."""
    if path.suffix not in {".csv", ".parquet"}:
        raise ConfigError(f"--output {path}: name it .csv or .parquet")
    with replacing(path) as temporary:
        frame.write_csv(temporary) if path.suffix == ".csv" else frame.write_parquet(temporary)


def bulk_threads(settings: Settings) -> int:
    """Return the threads for scoring many rows at once."""
    return settings.threads or os.cpu_count() or 1


def price(frame: pl.DataFrame, predictor: Predictor, threads: int) -> pl.DataFrame:
    """Return the frame with the prediction's columns; columns of an earlier prediction are replaced."""
    prediction = predictor.predict(frame, threads=threads).frame(predictor.config.target.column)
    return frame.drop(prediction.columns, strict=False).hstack(prediction)


def run(predictor: Predictor, input_path: Path, output: Path, settings: Settings) -> pl.DataFrame:
    """Price one file; on an error no output is replaced."""
    priced = price(read_rows(input_path, predictor.config), predictor, bulk_threads(settings))
    write_rows(priced, output)
    flagged = (priced["flags"] != "").sum()
    logger.info(
        "%s rows priced by %s (%s flagged); in %s", f"{priced.height:,}", predictor.version, f"{flagged:,}", output
    )
    return priced


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args_parser = parser(__doc__.splitlines()[0])
    add_input(args_parser, "CSV (also .gz, .zip) or Parquet; the workspace's raw holdout if not given")
    args_parser.add_argument("--output", type=Path, default=Path("predictions.csv"), help="a .csv or .parquet file")
    add_store(args_parser)
    args = args_parser.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    workspace = Workspace.of(config.name, settings)
    store = open_store(args.store, settings, workspace.store)
    predictor = current_predictor(store, config.name, settings)
    if args.input is None:
        load.ensure(config, workspace, settings)
    run(predictor, args.input or workspace.raw / "holdout.parquet", args.output, settings)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
