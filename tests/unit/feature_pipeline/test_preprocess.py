"""Cleaning keeps every row; only training rows are dropped, and each rule says how many."""

import json

import polars as pl
import pytest

from src.core.config import DatasetConfig, Settings
from src.core.errors import DataError
from src.feature_pipeline import encoders, preprocess, splits
from tests.fitted import clean_housets, typed_housets


def test_cleaning_keeps_rows_and_order_and_joins_places(config: DatasetConfig) -> None:
    raw = typed_housets(config, rows=300)
    clean = preprocess.clean(raw.lazy(), config, {"lookup": encoders.lookup_table(config)}).collect()
    unchanged = [name for name in raw.columns if name != "city_full"]
    assert clean.select(unchanged).equals(raw.select(unchanged))
    assert clean["lat"].null_count() == clean["lng"].null_count() == 0


def test_training_rules_report_what_they_took(config: DatasetConfig) -> None:
    frame = clean_housets(config, rows=60).unique(maintain_order=True)
    dear = frame.head(2).with_columns(median_list_price=pl.lit(999_999_999.0), zipcode=pl.lit("00001"))
    unknown = frame.head(1).with_columns(median_list_price=pl.lit(None, pl.Float64), zipcode=pl.lit("00002"))
    cheap = frame.filter(pl.col("median_list_price").fill_null(0) <= 19_000_000)
    copies = cheap.tail(3)
    kept, dropped = preprocess.drop_training_rows(pl.concat([cheap, dear, unknown, copies, copies]), config)
    assert dropped == {"exact duplicate": 6 + 1, "median_list_price > 19,000,000": 1} or dropped == {
        "exact duplicate": 6,
        "median_list_price > 19,000,000": 2,
    }
    assert kept.head(cheap.height).equals(cheap)
    assert kept.tail(1).equals(unknown)


def test_rows_that_share_a_key_but_differ_are_both_kept(config: DatasetConfig) -> None:
    frame = clean_housets(config, rows=5).unique(maintain_order=True).head(1)
    other = frame.with_columns(price=pl.col("price") + 1)
    kept, dropped = preprocess.drop_training_rows(pl.concat([frame, other, frame]), config)
    assert kept.equals(pl.concat([frame, other]))
    assert dropped["exact duplicate"] == 1


def write_splits(frame: pl.DataFrame, config: DatasetConfig, settings: Settings):
    folder = settings.workspace / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in splits.split(frame, config).items():
        part.write_parquet(folder / f"{name}.parquet")
    return folder


def test_eval_and_holdout_keep_every_row(config: DatasetConfig, settings: Settings) -> None:
    frame = typed_housets(config, rows=400)
    raw = write_splits(pl.concat([frame, frame]), config, settings)
    out = settings.workspace / "processed"
    report = preprocess.run(config, raw, out)
    for name in ("eval", "holdout"):
        assert pl.read_parquet(out / f"{name}.parquet").height == pl.read_parquet(raw / f"{name}.parquet").height
        assert report[name].dropped == {}
    assert report["train"].dropped["exact duplicate"] >= report["train"].rows_in / 2
    assert json.loads((out / "preprocess.json").read_text())["train"]["rows_out"] == report["train"].rows_out


def test_unknown_metros_are_counted_and_refused_above_the_threshold(config: DatasetConfig, settings: Settings) -> None:
    frame = typed_housets(config, rows=400)
    one = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("Atlantis")).otherwise(pl.col("city_full"))
    report = preprocess.run(
        config, write_splits(frame.with_columns(one.alias("city_full")), config, settings), settings.workspace / "out"
    )
    assert sum(done.unmatched for done in report.values()) == 1
    everywhere = write_splits(frame.with_columns(city_full=pl.lit("Atlantis")), config, settings)
    with pytest.raises(
        DataError, match=r"train: \d+ of \d+ rows \(100.0%\) have a city_full .*'atlantis'.*at most 2.0%"
    ):
        preprocess.run(config, everywhere, settings.workspace / "refused")
    assert not (settings.workspace / "refused").exists()


def test_a_missing_split_says_what_to_run(config: DatasetConfig, settings: Settings) -> None:
    with pytest.raises(DataError, match=r"train\.parquet does not exist; run the stage before this one"):
        preprocess.run(config, settings.workspace, settings.workspace / "out")
