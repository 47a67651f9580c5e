"""Categories within larger groups, and of a text's last part: localities of cities."""

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from src.core.config import DatasetConfig, parse_config
from src.feature_pipeline import feature_engineering, transforms
from src.feature_pipeline.rows import RowEncoder

CONFIG = """
name: rents
title: rents of localities
source: {origin: made up}
columns: {day: date, city: text, locality: text, rent: number}
target: {column: rent, transform: log}
keys: [day]
split: {by: time, column: day, eval_from: 2020-01-01, holdout_from: 2021-01-01}
features:
  - {recipe: target_mean, column: locality, last_of: ",", within: city, name: district, smoothing: 2, folds: 2}
  - {recipe: frequency, column: locality, last_of: ",", name: district_rows}
"""
ROWS = [
    ("Pune", "Rose House, Baner", 100.0),
    ("Pune", "Baner", 200.0),
    ("Pune", "Hill, Lake,Kothrud", 400.0),
    ("Delhi", "Baner", 50.0),
    ("Delhi", "Saket", 60.0),
    (None, "Saket", 70.0),
    ("Delhi", None, 80.0),
]


@pytest.fixture(scope="module")
def config() -> DatasetConfig:
    return parse_config(CONFIG, "test")


def rows_of(config: DatasetConfig) -> pl.DataFrame:
    del config
    return pl.DataFrame(ROWS, schema=["city", "locality", "rent"], orient="row").with_columns(
        pl.lit("2019-01-31").str.to_date().alias("day")
    )


def test_the_prior_is_the_groups_own_mean_drawn_to_that_of_all(config: DatasetConfig) -> None:
    table = feature_engineering.fit(rows_of(config), config).tables["district"]
    z = {rent: np.log(rent) for *_, rent in ROWS}
    everything = np.mean(list(z.values()))
    pune = (z[100] + z[200] + z[400] + 2 * everything) / 5
    assert table["default"] == pytest.approx(everything)
    assert table["groups"]["Pune"] == pytest.approx(pune)
    # Two listings of Baner in Pune, however the text before it; the Baner of Delhi is another.
    assert table["table"]["Pune\x1fBaner"] == pytest.approx((z[100] + z[200] + 2 * pune) / 4)
    assert set(table["table"]) == {"Pune\x1fBaner", "Pune\x1fKothrud", "Delhi\x1fBaner", "Delhi\x1fSaket"}


def test_a_frame_and_single_rows_agree_on_known_unknown_and_missing(config: DatasetConfig) -> None:
    fitted = feature_engineering.fit(rows_of(config), config)
    texts = [None, "", ",", "Baner", "x, Baner", "x,y ,  Saket", "Nowhere", "Kothrud,", "Baner\n, Saket"]
    asked = pl.DataFrame(
        [(city, text, 1.0) for city in (None, "Pune", "Delhi", "Goa") for text in texts],
        schema={"city": pl.String, "locality": pl.String, "rent": pl.Float64},
        orient="row",
    )
    cleaned = asked.with_columns(pl.col("locality").str.replace_all("[\\s]+", " ").str.strip_chars(" "))
    expressions = [*transforms.features(config, fitted.tables), transforms.unknown_flags(config, fitted.tables)]
    framed = nw.from_native(cleaned).select(expressions).to_native()
    X, flags = RowEncoder(config, fitted.tables).encode([{**row, "day": "2019-01-31"} for row in asked.to_dicts()])
    np.testing.assert_array_equal(framed.select(config.feature_names).to_numpy(), X)
    assert framed["flags"].to_list() == flags
    by_row = dict(zip(asked.select("city", "locality").rows(), zip(X[:, 0], flags, strict=True), strict=True))
    groups = fitted.tables["district"]["groups"]
    assert by_row["Pune", "Nowhere"] == (np.float32(groups["Pune"]), "unknown_locality_last")
    assert by_row["Goa", "Nowhere"][0] == np.float32(fitted.tables["district"]["default"])
    assert by_row["Pune", "x, Baner"][1] == ""


def test_a_training_row_does_not_learn_from_itself(config: DatasetConfig) -> None:
    def encoded(frame: pl.DataFrame) -> np.ndarray:
        made, _ = feature_engineering.encoded_splits({"train": frame}, config)
        return made["train"]["district"].to_numpy()

    frame = rows_of(config)
    changed = frame.with_columns(pl.when(pl.int_range(pl.len()) == 1).then(9e9).otherwise("rent").alias("rent"))
    assert encoded(changed)[1] == encoded(frame)[1]
    assert encoded(changed)[0] != encoded(frame)[0]
