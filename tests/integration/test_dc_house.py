"""A second data set, with other column names and fewer columns, needs a YAML and no code."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from src.core.config import DatasetConfig, Settings, load_config
from src.core.plain_pickle import load_plain
from src.feature_pipeline import feature_engineering, load, preprocess
from src.feature_pipeline.rows import RowEncoder
from tests.conftest import SHARED


@pytest.fixture(scope="module")
def dc_house() -> Path:
    """The DC extract, which is not part of the project."""
    path = SHARED / "housets" / "DC_House.csv"
    if not path.is_file():
        pytest.skip(f"no DC rows at {path}")
    return path


@pytest.fixture(scope="module")
def dc_config() -> DatasetConfig:
    return load_config("dc_house")


@pytest.fixture(scope="module")
def folder(dc_house: Path, dc_config: DatasetConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the stages from the raw file to features, each into its own folder."""
    root = tmp_path_factory.mktemp("dc")
    load.run(dc_config, str(dc_house), Settings(workspace=root), root / "raw")
    preprocess.run(dc_config, root / "raw", root / "processed")
    feature_engineering.run(dc_config, root / "processed", root / "features")
    return root


def test_no_row_is_lost_on_the_way(folder: Path, dc_config: DatasetConfig) -> None:
    heights = {
        stage: [pl.read_parquet(folder / stage / f"{name}.parquet").height for name in ("train", "eval", "holdout")]
        for stage in ("raw", "processed", "features")
    }
    assert heights == {stage: [40 * 94, 40 * 24, 40 * 24] for stage in ("raw", "processed", "features")}


def test_the_files_names_become_the_configs(folder: Path, dc_house: Path, dc_config: DatasetConfig) -> None:
    raw = pl.concat(pl.read_parquet(folder / "raw" / f"{name}.parquet") for name in ("train", "eval", "holdout"))
    assert raw.columns == list(dc_config.columns)
    file = pl.read_csv(dc_house, try_parse_dates=True).with_columns(pl.col("zipcode").cast(pl.String))
    pairs = [("latitude", "lat"), ("longitude", "lng"), ("metro", "city_full"), ("price", "price")]
    both = file.join(raw, on=["zipcode", "date"], suffix="_loaded", validate="1:1")
    assert both.height == file.height
    for old, new in pairs:
        loaded = both[new if new != old else f"{new}_loaded"]
        assert loaded.equals(both[old], check_names=False), new


def test_features_are_whole_and_sensible(folder: Path, dc_config: DatasetConfig) -> None:
    train = feature_engineering.read_matrix(folder / "features" / "train.parquet", dc_config)
    holdout = feature_engineering.read_matrix(folder / "features" / "holdout.parquet", dc_config)
    column = {name: i for i, name in enumerate(dc_config.feature_names)}
    for matrix in (train, holdout):
        assert np.isfinite(matrix.X).all(axis=0).tolist() == [True] * len(column)
        # A ZIP code's level in train says most about its price later, too.
        assert np.corrcoef(matrix.X[:, column["zipcode_target"]], np.log(matrix.y))[0, 1] > 0.8
    assert train.meta["date"].max() == date(2019, 12, 31)
    assert holdout.X[:, column["months_since_2000"]].min() == 22 * 12


def test_one_row_under_the_configs_names_is_priced_from_the_same_bits(folder: Path, dc_config: DatasetConfig) -> None:
    raw = pl.read_parquet(folder / "raw" / "eval.parquet").head(50)
    encoder = RowEncoder(dc_config, load_plain(folder / "features" / "encoders.pkl"))
    X, flags = encoder.encode(raw.select(dc_config.raw_inputs).to_dicts())
    matrix = feature_engineering.read_matrix(folder / "features" / "eval.parquet", dc_config)
    assert np.array_equal(X, matrix.X[:50], equal_nan=True)
    assert flags == [""] * 50
