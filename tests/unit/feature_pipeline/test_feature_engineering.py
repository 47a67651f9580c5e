"""Features are fitted on train, applied to every split, and never look ahead."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from src.core.config import DatasetConfig, Settings, parse_config
from src.core.errors import ConfigError, DataError
from src.core.plain_pickle import load_plain
from src.feature_pipeline import feature_engineering, preprocess
from tests.factories import homes_config
from tests.fitted import typed_housets
from tests.unit.feature_pipeline.test_preprocess import write_splits


def features(frame: pl.DataFrame, config: DatasetConfig, settings: Settings) -> dict[str, pl.DataFrame]:
    clean, out = settings.workspace / "processed", settings.workspace / "features"
    preprocess.run(config, write_splits(frame, config, settings), clean)
    feature_engineering.run(config, clean, out)
    return {name: pl.read_parquet(out / f"{name}.parquet") for name in ("train", "eval", "holdout")}


def test_splits_hold_meta_columns_then_float32_features(config: DatasetConfig, settings: Settings) -> None:
    made = features(typed_housets(config, rows=400), config, settings)
    for frame in made.values():
        assert frame.columns == [*config.meta_columns, *config.feature_names]
        assert set(frame.select(config.feature_names).dtypes) == {pl.Float32}
    matrix = feature_engineering.read_matrix(settings.workspace / "features" / "eval.parquet", config)
    assert matrix.X.dtype == np.float32
    assert matrix.X.flags.c_contiguous
    assert matrix.X.shape == (made["eval"].height, len(config.feature_names))
    assert matrix.y.tolist() == made["eval"]["price"].to_list()


def test_a_later_months_rows_change_no_feature_of_an_earlier_month(config: DatasetConfig, settings: Settings) -> None:
    frame = typed_housets(config, rows=600)
    before = features(frame, config, settings)
    late = pl.col("date") >= date(2020, 7, 1)
    numbers = [name for name, column in config.columns.items() if column.type == "number"]
    shaken = frame.with_columns(
        *[pl.when(late).then(pl.col(name) * 7 + 1).otherwise(pl.col(name)).alias(name) for name in numbers],
        pl.when(late).then(pl.lit("Pittsburgh")).otherwise(pl.col("city_full")).alias("city_full"),
        pl.when(late).then(pl.lit("15201")).otherwise(pl.col("zipcode")).alias("zipcode"),
    )
    after = features(shaken, config, settings)
    assert after["train"].equals(before["train"])
    assert after["eval"].filter(~late).equals(before["eval"].filter(~late))
    assert not after["holdout"].equals(before["holdout"])


def test_only_train_teaches_the_encoders(config: DatasetConfig, settings: Settings) -> None:
    frame = typed_housets(config, rows=400)
    features(frame, config, settings)
    tables = load_plain(settings.workspace / "features" / "encoders.pkl")
    trained = frame.filter(pl.col("date") < date(2020, 1, 1))
    assert set(tables["zipcode_freq"]["table"]) == set(trained["zipcode"])
    assert set(tables) == {"zipcode_freq", "city_target", "zip3_target", "lookup"}


@pytest.mark.parametrize("leak", ["median_sale_price", "price"])
def test_the_target_and_listed_leaks_cannot_be_features(config: DatasetConfig, leak: str) -> None:
    text = config.model_dump_json()
    assert '"numbers","columns":["median_list_price"' in text
    with pytest.raises(ConfigError, match=f"numbers uses '{leak}', which is the target or leaks it"):
        parse_config(text.replace('"columns":["median_list_price"', f'"columns":["{leak}"'), "test")
    assert not {"median_sale_price", "price"} & set(config.raw_inputs)


def test_features_of_another_config_are_refused(config: DatasetConfig, settings: Settings) -> None:
    features(typed_housets(config, rows=400), config, settings)
    path = settings.workspace / "features" / "train.parquet"
    pl.read_parquet(path).drop("lat").write_parquet(path)
    with pytest.raises(DataError, match=r"lacks .lat.*run feature_engineering again"):
        feature_engineering.read_matrix(path, config)


def test_a_target_that_has_no_logarithm_is_refused(config: DatasetConfig, settings: Settings) -> None:
    with pytest.raises(DataError, match="above 0 for a log target"):
        features(typed_housets(config, rows=400).with_columns(price=pl.lit(0.0)), config, settings)


@pytest.mark.parametrize("split", ["train", "eval", "holdout"])
def test_a_class_that_is_not_listed_is_named_with_its_split_before_anything_is_trained(split: str) -> None:
    config = homes_config(
        target={"column": "coast", "classes": ["inland", "bay"]},
        task="classification",
        features=[{"recipe": "numbers", "columns": ["lat"]}],
        tuning={"metric": "log_loss"},
    )
    frame = pl.DataFrame({"day": [date(2019, 1, 1)] * 4, "coast": ["inland", "bay"] * 2, "lat": [1.0] * 4})
    clean = dict.fromkeys(("train", "eval", "holdout"), frame)
    feature_engineering.encoded_splits(clean, config)
    clean[split] = frame.with_columns(coast=pl.Series(["inland", "reef", "bay", "reef"]))
    with pytest.raises(DataError, match=f"{split}: coast is 'reef' in 2 rows, which is not among target.classes"):
        feature_engineering.encoded_splits(clean, config)
