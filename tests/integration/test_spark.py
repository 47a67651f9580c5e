"""The feature functions are written once: Spark and Polars give the same values for the same rows."""

from collections.abc import Callable, Iterator
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from src.core.config import DatasetConfig
from src.core.recipes import TargetMean
from src.feature_pipeline import encoders, text_features
from src.feature_pipeline.rows import RowEncoder
from src.feature_pipeline.text_features import mapped
from src.feature_pipeline.transforms import Tables, cleaned, features, known_values, padded, unknown_flags
from tests.factories import homes_config, homes_frame, housets_frame
from tests.fitted import clean_housets, housets_tables, typed_housets
from tests.system_parts import require_program

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]  # a Java machine starts, which runs what other tests follow
ROWS = 200
NAN = float("nan")

Spark = Callable[[pl.DataFrame], Any]
Function = Callable[[Any], Any]


@pytest.fixture(scope="module")
def to_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """Copy a Polars frame into a Spark of one thread, in one partition, so that rows keep their order."""
    require_program("java", "Java")
    from pyspark.sql import SparkSession
    from pyspark.sql import types as st

    folder = tmp_path_factory.mktemp("spark")
    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "1",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",  # a run this short never earns the better compiler
    }
    session = SparkSession.builder.master("local[1]").config(map=options).getOrCreate()
    types = {pl.Float64(): st.DoubleType(), pl.Int64(): st.LongType(), pl.String(): st.StringType()}
    types[pl.Date()] = st.DateType()

    def copy(frame: pl.DataFrame) -> Any:
        fields = [st.StructField(name, types[kind]) for name, kind in frame.schema.items()]
        return session.createDataFrame(frame.rows(), st.StructType(fields))

    yield copy
    session.stop()


@pytest.fixture(scope="module")
def tables(config: DatasetConfig) -> Tables:
    return housets_tables(config)


def same(frame: pl.DataFrame, to_spark: Spark, function: Function) -> pl.DataFrame:
    """Run on both engines, hold that names, types and every bit are equal, and return the values."""
    on_polars = function(nw.from_native(frame.lazy())).to_native().collect()
    on_spark = pl.from_arrow(function(nw.from_native(to_spark(frame))).to_native().toArrow())
    assert isinstance(on_spark, pl.DataFrame)
    assert on_spark.schema == on_polars.schema
    different = [name for name in on_polars.columns if not on_spark[name].equals(on_polars[name])]
    assert different == []
    return on_polars


def test_codes_for_missing(config: DatasetConfig, to_spark: Spark) -> None:
    raw = housets_frame(rows=ROWS)
    numbers = [name for name, column in config.columns.items() if column.type == "number"]
    frame = raw.select(pl.col(numbers).cast(pl.Float64))
    frame = frame.with_columns(price=pl.when(pl.int_range(pl.len()) == 3).then(NAN).otherwise("price"))
    known = same(frame, to_spark, lambda f: f.select(known_values(config, config.columns)))
    assert known["price"].null_count() == 1
    assert known["Median Rent"].null_count() == (frame["Median Rent"] == 0).sum() > 0


def test_leading_zeros(config: DatasetConfig, to_spark: Spark) -> None:
    zipcode = config.columns["zipcode"]
    numbers = same(housets_frame(rows=ROWS), to_spark, lambda f: f.select(padded("zipcode", zipcode)))
    assert numbers["zipcode"].str.len_chars().unique().to_list() == [5]
    texts = pl.DataFrame({"zipcode": ["2351.0", "\u00a02351", "2351.0\n", "-12", "+7", "123456", "", None]})
    written = same(texts, to_spark, lambda f: f.select(padded("zipcode", zipcode)))["zipcode"]
    assert written.to_list() == ["02351", "02351", "02351", "-0012", "+0007", "123456", "00000", None]


def test_cleaning(config: DatasetConfig, to_spark: Spark, tables: Tables) -> None:
    spellings = [
        "DC_Metro",
        "Boston–Cambridge-Newton,  MA-NH",
        "St. Louis,\u00a0MO-IL",
        "Atlantis",
        "ÉCOLE",
        None,
        "",
    ]
    index = pl.int_range(pl.len()) % 20
    frame = typed_housets(config, ROWS).with_columns(
        city_full=index.replace_strict(dict(enumerate(spellings)), default=pl.col("city_full"), return_dtype=pl.String)
    )
    clean = same(frame, to_spark, lambda f: f.with_columns(cleaned(config, tables, f.collect_schema().names())))
    assert clean["city_full"].head(3).to_list() == [
        "washington-arlington-alexandria",
        "boston-cambridge-newton",
        "st. louis",
    ]
    assert clean["lat"].null_count() == sum(name in spellings[3:] for name in frame["city_full"])


def test_features_and_flags(config: DatasetConfig, to_spark: Spark, tables: Tables) -> None:
    frame = clean_housets(config, ROWS, seed=1)
    tops, bottoms = [None, 1e300, 1.0, 0.0, 3.0, -5.0], [1.0, 1e-300, 0.0, 0.0, None, 2.0]
    row = pl.int_range(pl.len())
    odd = frame.with_columns(
        inventory=row.replace_strict(dict(enumerate(tops)), default=pl.col("inventory"), return_dtype=pl.Float64),
        homes_sold=row.replace_strict(dict(enumerate(bottoms)), default=pl.col("homes_sold"), return_dtype=pl.Float64),
        zipcode=pl.when(row == 7).then(pl.lit("00000")).when(row != 8).then("zipcode"),
    )
    wanted = same(odd, to_spark, lambda f: f.select(*features(config, tables), unknown_flags(config, tables)))
    assert wanted["months_of_supply"].head(6).to_list() == [None, None, None, None, None, -2.5]
    assert wanted["zipcode_freq"][7] == wanted["zipcode_freq"][8] == 0
    assert wanted["flags"][7] == wanted["flags"][8] == "unknown_zipcode;unknown_zipcode_3"


def test_features_of_texts_and_coordinates(to_spark: Spark) -> None:
    homes, frame = homes_config(), homes_frame(rows=ROWS)
    wanted = same(frame, to_spark, lambda f: f.select(*features(homes, {}), unknown_flags(homes, {})))
    rows = [{"day": "2020-01-31", **row} for row in frame.to_dicts()]
    encoded, flags = RowEncoder(homes, {}).encode(rows)
    assert np.array_equal(encoded, wanted.select(homes.feature_names).to_numpy(), equal_nan=True)
    assert flags == wanted["flags"].to_list()


def test_patterns_mean_the_same(to_spark: Spark) -> None:
    """Each of them would differ somewhere, were it handed to the engines as it is."""
    patterns = [
        r"(\d+)$",
        r"^\D*(\d)",
        r"\w (\d+)",
        r"\W(\d+)\W",
        r"[\w²-](\d)",
        r"a.(\d)",
        r"a\S?(\d+?)",
        r"(?:\d,|b)*(\d)",
    ]
    patterns += [r"x|(\d+)", r"(\d{2,})\s?[^\d\s]", r"\((\d+)\)", r"(\d+)?", r"#\#(\d)", r"([\d.]+)[\-\]&~]"]
    texts = [
        "a\n1",
        "a\u20281",
        "a\u00851",
        "12\u2028",
        "12\u0085",
        "é 7",
        "é7é",
        "²5",
        "-5",
        "٣ 4",
        "x 12",
        "12 x",
        "a123",
    ]
    texts += ["(3)", "b1,2,b4", "##8", "1.5-", "1.5]", "1..5~", "12 34", "", "\U0001f3e09", "a\U0001f3e09", "K5", "ſ 6"]
    recipes = [{"recipe": "extract", "column": "coast", "pattern": p, "name": f"f{i}"} for i, p in enumerate(patterns)]
    homes = homes_config(features=recipes)
    frame = pl.DataFrame({"coast": texts})
    wanted = same(frame, to_spark, lambda f: f.select(features(homes, {}))).to_numpy()
    # As they stand: loading would have made one blank of each run of white space.
    encode = [text_features.row_encoder(recipe, homes.columns) for recipe in homes.features]
    rows = [[number for one in encode for number in one({"coast": text})] for text in texts]
    assert np.array_equal(np.array(rows, dtype=np.float32), wanted, equal_nan=True)
    assert (~np.isnan(wanted)).sum(axis=0).all()


def test_encoders_are_fitted_alike(config: DatasetConfig, to_spark: Spark) -> None:
    frame = numbered(config)
    on_polars = encoders.fit(nw.from_native(frame.lazy()), config)
    assert encoders.fit(nw.from_native(to_spark(frame)), config) == on_polars
    assert [len(folds) for folds in on_polars.out_of_fold.values()] == [5, 5]


def test_training_rows_are_encoded_by_the_other_folds(config: DatasetConfig, to_spark: Spark) -> None:
    frame = numbered(config)
    fitted = encoders.fit(nw.from_native(frame.lazy()), config)
    recipes = [recipe for recipe in config.fitted if isinstance(recipe, TargetMean)]
    encoded = same(
        frame,
        to_spark,
        lambda f: f.select(encoders.out_of_fold(r, fitted.out_of_fold[r.name]).alias(r.name) for r in recipes),
    )
    assert encoded.null_count().row(0) == (0, 0)
    assert encoded["city_target"].n_unique() > frame["city_full"].n_unique()


def test_as_many_categories_as_the_country_has(config: DatasetConfig, to_spark: Spark) -> None:
    zips = [f"{i:05d}" for i in range(0, 99_616, 16)]
    frame = pl.DataFrame({"zipcode": [*zips[::40], "99999", None]})
    values = [i / 7 for i in range(len(zips))]
    coded = same(frame, to_spark, lambda f: f.select(mapped(nw.col("zipcode"), zips, values, -1.0).alias("x")))["x"]
    assert len(zips) == 6226
    assert coded.to_list() == [*values[::40], -1.0, -1.0]


def numbered(config: DatasetConfig) -> pl.DataFrame:
    clean = clean_housets(config, ROWS)
    return clean.with_columns(pl.int_range(pl.len()).alias(encoders.ROW), pl.col("price").log().alias(encoders.SCALED))
