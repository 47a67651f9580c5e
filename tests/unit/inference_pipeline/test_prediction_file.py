"""A month's file is read as the batch wrote it, or refused with what is wrong."""

from datetime import date
from io import BytesIO

import polars as pl
import pytest

from src.core import sealed_parquet
from src.core.config import DatasetConfig, load_config
from src.core.errors import DataError
from src.inference_pipeline.prediction_file import Layout, read_month
from tests.predictions import REGIONS, flowers_frame, month_frame

MONTH = "2022-03"


@pytest.fixture(scope="module")
def layout(config: DatasetConfig) -> Layout:
    return Layout(config)


def read(frame: pl.DataFrame, layout: Layout, month: str = MONTH) -> pl.DataFrame:
    return read_month(sealed_parquet.to_bytes(frame), month, layout)


def test_names_are_as_cleaning_spells_them_and_rows_in_order(layout: Layout) -> None:
    rows = read(month_frame(MONTH, 6), layout)
    assert rows.columns == month_frame(MONTH, 1).columns
    assert rows["city_full"].to_list() == [name for name in REGIONS for _ in range(3)]
    assert rows["zipcode"].to_list() == ["02102", "02104", "02106", "02101", "02103", "02105"]
    wanted = month_frame(MONTH, 6).with_columns(pl.col("zipcode").str.zfill(5)).sort("zipcode")
    assert rows.sort(pl.col("zipcode").cast(pl.String))["predicted_price"].equals(wanted["predicted_price"])


def test_dates_and_codes_of_a_csv_are_read(layout: Layout) -> None:
    texts = month_frame(MONTH).with_columns(pl.col("date").dt.strftime("%Y-%m-%d"), pl.col("zipcode").cast(pl.Int64))
    assert read(texts, layout).equals(read(month_frame(MONTH), layout))
    times = month_frame(MONTH).with_columns(pl.col("date").cast(pl.Datetime))
    assert read(times, layout)["date"].unique().to_list() == [date(2022, 3, 28)]


def test_numbers_that_are_none_are_missing(layout: Layout) -> None:
    bad = pl.Series([float("nan"), float("inf"), -float("inf"), 1.0])
    rows = read(month_frame(MONTH, 4).with_columns(actual_price=bad, upper_95=bad), layout)
    for name in ("actual_price", "upper_95"):
        assert sorted(rows[name].to_list(), key=str) == [1.0, None, None, None]


def test_what_may_be_missing_is_null_and_what_is_not_known_is_left_out(layout: Layout) -> None:
    some = month_frame(MONTH).drop("lower_95", "upper_95", "flags", "actual_price", "model_version")
    rows = read(some.with_columns(secret=pl.lit("x")), layout)
    assert rows.columns == month_frame(MONTH, 1).columns
    assert all(rows[name].null_count() == rows.height for name in ("lower_95", "flags", "actual_price"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.exclude("zipcode"), "no column zipcode"),
        (pl.exclude("predicted_price"), "no column predicted_price"),
        ([pl.exclude("date"), pl.lit("soon").alias("date")], "column date: 20 values are not a date"),
        ([pl.exclude("date"), pl.lit(None, pl.Date).alias("date")], "rows without a date"),
        ([pl.exclude("date"), pl.lit(date(2022, 4, 1)).alias("date")], "rows of 2022-04"),
        ([pl.exclude("predicted_price"), pl.lit("dear").alias("predicted_price")], "not of their column's type"),
        ([pl.exclude("zipcode"), pl.concat_list("zipcode").alias("zipcode")], "zipcode"),
    ],
)
def test_a_file_that_is_not_the_batchs_is_refused(change: pl.Expr | list[pl.Expr], said: str, layout: Layout) -> None:
    with pytest.raises(DataError, match=said):
        read(month_frame(MONTH).select(change), layout)


def test_a_damaged_file_is_refused(layout: Layout) -> None:
    stream = BytesIO()
    month_frame(MONTH).write_csv(stream)
    for content in (b"", stream.getvalue(), sealed_parquet.to_bytes(month_frame(MONTH))[:-100]):
        with pytest.raises(DataError, match="damaged"):
            read_month(content, MONTH, layout)


def test_classes_have_probabilities_and_one_batch(layout: Layout) -> None:
    iris = Layout(load_config("iris"))
    rows = read(flowers_frame(), iris, "all")
    assert rows.columns == flowers_frame().columns
    assert rows["predicted_species"].to_list() == flowers_frame()["predicted_species"].to_list(), "as in the file"
    assert rows["probability_setosa"].to_list() == [0.5, 0.25, 0.25, 0.0]
    with pytest.raises(DataError, match="of a data set with dates"):
        read(flowers_frame(), iris, MONTH)
    with pytest.raises(DataError, match="of one without dates"):
        read(month_frame(MONTH), layout, "all")


def test_no_rows_are_a_month_as_well(layout: Layout) -> None:
    assert read(month_frame(MONTH).clear(), layout).height == 0
