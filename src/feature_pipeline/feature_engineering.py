"""Stage: clean splits to feature matrices. Encoders are fitted on train and applied to every split.

Reads `processed/`, writes `features/{train,eval,holdout}.parquet` (the config's meta columns, then float32 features),
`encoders.pkl` (plain tables) and `features.json`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core import scale
from src.core.cli import add_input, add_output_dir, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import DataError
from src.core.plain_pickle import dump_plain
from src.core.recipes import TargetMean
from src.core.workspace import SPLITS, Workspace
from src.feature_pipeline import encoders, preprocess
from src.feature_pipeline.load import scan_split, write_splits
from src.feature_pipeline.transforms import Tables, features, unknown_flags

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Matrix:
    """One split, ready for a model.

    `X`: float32, shape (n, f), C-contiguous, columns in the order of `config.feature_names`, NaN = missing.
    `y`: float64, shape (n,), in the target's unit, or class numbers. `meta`: the config's meta columns.
    """

    X: NDArray[np.float32]
    y: NDArray[np.float64]
    meta: pl.DataFrame


def fit(frame: pl.DataFrame, config: DatasetConfig) -> encoders.Fitted:
    """Fit the encoders on clean training rows, in their order."""
    target = numbered_target(frame[config.target.column], config, "train")
    if target.null_count() or (config.target.transform == "log" and (target <= 0).any()):
        raise DataError(f"train: {config.target.column} must be there in every row, and above 0 for a log target")
    scaled = scale.forward(config.target.transform, target.to_numpy())
    numbered = frame.lazy().with_columns(pl.int_range(pl.len()).alias(encoders.ROW), pl.Series(encoders.SCALED, scaled))
    return encoders.fit(nw.from_native(numbered), config)


def numbered_target(target: pl.Series, config: DatasetConfig, where: str) -> pl.Series:
    """Return the target as numbers: as it is, or the position of each row's class in `target.classes`.

    Raises:
        DataError: a class that the config does not list; `where` says of which rows.
    """
    if config.task == "regression":
        return target
    classes = config.target.classes
    unknown = target.filter(~target.is_in(list(classes))).drop_nulls()
    if len(unknown):
        raise DataError(
            f"{where}: {target.name} is {unknown[0]!r} in {(target == unknown[0]).sum():,} rows, which is not among "
            f"target.classes ({', '.join(classes)}): list it there, or give the column a rename"
        )
    return target.replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Float64)


def encode(frame: pl.LazyFrame, config: DatasetConfig, tables: Tables) -> pl.LazyFrame:
    """Turn clean rows into the model's features; n rows in, n rows out, in order."""
    return nw.from_native(frame).select(features(config, tables)).to_native()


def flag(frame: pl.LazyFrame, config: DatasetConfig, tables: Tables) -> pl.LazyFrame:
    """Name what is unknown about each clean row, in one column `flags`; n rows in, n rows out, in order."""
    return nw.from_native(frame).with_columns(unknown_flags(config, tables)).select("flags").to_native()


def _encode_split(
    frame: pl.DataFrame, config: DatasetConfig, fitted: encoders.Fitted, *, training: bool
) -> pl.LazyFrame:
    instead = {
        recipe.name: encoders.out_of_fold(recipe, fitted.out_of_fold[recipe.name])
        for recipe in config.fitted
        if training and isinstance(recipe, TargetMean)
    }
    numbered = frame.lazy().with_columns(pl.int_range(pl.len()).alias(encoders.ROW))
    wanted = features(config, fitted.tables, instead)
    meta = [nw.col(name) for name in config.meta_columns]
    return nw.from_native(numbered).select(*meta, *wanted).to_native()


def encoded_splits(
    clean: Mapping[str, pl.DataFrame], config: DatasetConfig
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """Fit the encoders on `train` and encode every split; returns the features and the fitted tables."""
    fitted = fit(clean["train"], config)
    for split, frame in clean.items():  # before a search and a fit, not after them
        numbered_target(frame[config.target.column], config, split)
    tables = dict(fitted.tables)
    if config.lookup:
        tables["lookup"] = encoders.lookup_table(config)
    lazy = [_encode_split(frame, config, fitted, training=split == "train") for split, frame in clean.items()]
    return dict(zip(clean, pl.collect_all(lazy), strict=True)), tables


def run(config: DatasetConfig, input_dir: Path, output_dir: Path) -> dict[str, int]:
    """Fit on train, encode every split; returns rows by split. On an error no split is replaced."""
    clean = dict(zip(SPLITS, pl.collect_all([scan_split(input_dir, split) for split in SPLITS]), strict=True))
    encoded, tables = encoded_splits(clean, config)
    rows = {split: frame.height for split, frame in encoded.items()}
    write_splits(
        output_dir,
        encoded,
        record="features.json",
        content={"features": config.feature_names, "rows": rows},
        more={"encoders.pkl": lambda path: dump_plain(tables, path)},
    )
    return rows


def read_matrix(path: Path, config: DatasetConfig) -> Matrix:
    """Read one split of features.

    Raises:
        DataError: the file is missing, or was made with other features.
    """
    return matrix_of(scan_split(path.parent, path.stem).collect(), config, str(path))


def matrix_of(frame: pl.DataFrame, config: DatasetConfig, where: str) -> Matrix:
    """Turn a split of features into arrays; `where` names it in errors (DataError when a feature is not there)."""
    lacking = [name for name in (*config.feature_names, *config.meta_columns) if name not in frame.columns]
    if lacking:
        raise DataError(f"{where} lacks {lacking[0]!r}: it was made with another config; run feature_engineering again")
    X = frame.select(config.feature_names).to_numpy(order="c")
    y = numbered_target(frame[config.target.column], config, where).to_numpy().astype(np.float64)
    return Matrix(X, y, frame.select(config.meta_columns))


def ensure(config: DatasetConfig, workspace: Workspace, settings: Settings) -> None:
    """Run the stages up to features when there are none yet, so that later stages work in a clean clone."""
    if not (workspace.features / "features.json").is_file():
        preprocess.ensure(config, workspace, settings)
        logger.info("no features in %s yet: making them", workspace.features)
        run(config, workspace.processed, workspace.features)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args_parser = parser(__doc__.splitlines()[0])
    add_input(args_parser, "folder of the clean splits; the workspace's data/processed if not given")
    add_output_dir(args_parser, "folder of the features; the workspace's data/features if not given")
    args = args_parser.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    workspace = Workspace.of(config.name, settings)
    if args.input is None:
        preprocess.ensure(config, workspace, settings)
    output_dir = args.output_dir or workspace.features
    rows = run(config, args.input or workspace.processed, output_dir)
    counts = ", ".join(f"{split} {count:,}" for split, count in rows.items())
    logger.info("%d features: %s rows; in %s", len(config.feature_names), counts, output_dir)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
