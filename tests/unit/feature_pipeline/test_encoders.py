"""Encoders learn from training rows only, and no row learns from itself."""

import shutil
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from src.core.config import CONFIGS, DatasetConfig, load_config
from src.core.errors import ConfigError
from src.core.recipes import TargetMean
from src.feature_pipeline import encoders
from tests.fitted import clean_housets


def fitted(frame: pl.DataFrame, config: DatasetConfig) -> encoders.Fitted:
    numbered = frame.with_columns(
        pl.int_range(pl.len()).alias(encoders.ROW), pl.col("price").log().alias(encoders.SCALED)
    )
    return encoders.fit(nw.from_native(numbered.lazy()), config)


def city_recipe(config: DatasetConfig) -> TargetMean:
    return next(r for r in config.fitted if isinstance(r, TargetMean) and r.column == "city_full")


def out_of_fold(frame: pl.DataFrame, config: DatasetConfig) -> np.ndarray:
    recipe = city_recipe(config)
    numbered = nw.from_native(frame.with_columns(pl.int_range(pl.len()).alias(encoders.ROW)))
    expression = encoders.out_of_fold(recipe, fitted(frame, config).out_of_fold[recipe.name])
    return numbered.select(expression.alias("x")).to_native()["x"].to_numpy()


def test_target_mean_is_the_smoothed_mean(config: DatasetConfig) -> None:
    frame = clean_housets(config, rows=200)
    table = fitted(frame, config).tables["city_target"]
    city = frame["city_full"].mode().sort()[0]
    z = frame["price"].log()
    inside = z.filter(frame["city_full"] == city)
    smoothing = city_recipe(config).smoothing
    assert table["default"] == pytest.approx(z.mean())
    assert table["table"][city] == pytest.approx((inside.sum() + smoothing * z.mean()) / (len(inside) + smoothing))


def test_a_rows_own_target_never_enters_its_own_encoding(config: DatasetConfig) -> None:
    frame = clean_housets(config, rows=120)
    before = out_of_fold(frame, config)
    for row in (0, 7, 119):
        changed = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == row).then(1e9).otherwise(pl.col("price")).alias("price")
        )
        after = out_of_fold(changed, config)
        assert after[row] == before[row]
        others = np.arange(len(frame)) % city_recipe(config).folds != row % city_recipe(config).folds
        assert (after[others] != before[others]).all()


def test_a_row_without_a_category_gets_the_prior_of_the_other_folds(config: DatasetConfig) -> None:
    frame = clean_housets(config, rows=50).with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise(pl.col("city_full")).alias("city_full")
    )
    folds = city_recipe(config).folds
    z = frame["price"].log().to_numpy()
    assert out_of_fold(frame, config)[3] == pytest.approx(z[np.arange(50) % folds != 3 % folds].mean())


def test_frequency_counts_training_rows(config: DatasetConfig) -> None:
    frame = clean_housets(config, rows=90)
    table = fitted(frame, config).tables["zipcode_freq"]
    assert table["default"] == 0
    assert table["table"] == {zipcode: float(n) for zipcode, n in frame["zipcode"].value_counts().iter_rows()}


def test_two_fits_of_the_same_rows_are_identical(config: DatasetConfig) -> None:
    frame = clean_housets(config, rows=400)
    assert fitted(frame, config) == fitted(frame, config)


@pytest.mark.parametrize("transform", ["log", "none"])
def test_the_order_in_which_an_engine_adds_rows_changes_no_bit(config: DatasetConfig, transform: str) -> None:
    frame = clean_housets(config, rows=4000)
    target = pl.col("price").log() if transform == "log" else pl.col("price") * 100
    numbered = frame.with_columns(pl.int_range(pl.len()).alias(encoders.ROW), target.alias(encoders.SCALED))
    fits = [
        encoders.fit(nw.from_native(numbered.sample(fraction=1, shuffle=True, seed=seed)), config) for seed in range(3)
    ]
    assert fits[0] == fits[1] == fits[2]
    assert fits[0].tables["city_target"]["default"] == pytest.approx(numbered[encoders.SCALED].mean(), rel=1e-11)


@pytest.mark.parametrize("target", [0.0, 1e-12, -3.0, 1e30])
def test_targets_of_any_size_have_their_mean(config: DatasetConfig, target: float) -> None:
    frame = clean_housets(config, rows=100)
    numbered = frame.with_columns(pl.int_range(pl.len()).alias(encoders.ROW), pl.lit(target).alias(encoders.SCALED))
    table = encoders.fit(nw.from_native(numbered), config).tables["city_target"]
    assert [table["default"], *table["table"].values()] == pytest.approx([target] * (1 + len(table["table"])), rel=1e-5)


def test_the_metros_table_holds_thirty_places_under_tidied_names(config: DatasetConfig) -> None:
    table = encoders.lookup_table(config)["table"]
    assert len(table) == 30
    assert table["washington-arlington-alexandria"] == [38.9072, -77.0369]


def test_a_lookup_file_that_is_missing_or_wrong_is_a_config_error(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "housets.yaml", tmp_path)
    config = load_config(str(tmp_path / "housets.yaml"))
    with pytest.raises(ConfigError, match=r"metros\.csv does not exist; it is looked for beside the YAML"):
        encoders.lookup_table(config)
    (tmp_path / "metros.csv").write_text("city_full,lat\nPittsburgh,40\n")
    with pytest.raises(ConfigError, match="lacks the column 'lng'"):
        encoders.lookup_table(config)
    (tmp_path / "metros.csv").write_text('city_full,lat,lng\nPittsburgh,40,-79\n"PITTSBURGH, PA",40,-79\n')
    with pytest.raises(ConfigError, match="two rows have the same city_full"):
        encoders.lookup_table(config)


def test_the_lookup_stands_beside_a_yaml_that_is_given_by_path(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "housets.yaml", tmp_path)
    (tmp_path / "metros.csv").write_text("city_full,lat,lng\nAtlantis,1,2\n")
    config = load_config(str(tmp_path / "housets.yaml"))
    for one in (config, config.variant("ridge"), config.model_copy()):
        assert encoders.lookup_table(one) == {"table": {"atlantis": [1.0, 2.0]}}
    assert config.digest == load_config("housets").digest, "where a YAML stands is no part of the model"
