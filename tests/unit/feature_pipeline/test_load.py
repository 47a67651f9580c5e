"""Sources become typed splits, or one clear error."""

import gzip
import hashlib
import json
import shutil
import zipfile
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from src.core.cli import run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.feature_pipeline import load
from tests.factories import housets_frame


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "market.csv"
    housets_frame(rows=400).write_csv(path)
    return path


def test_splits_are_cut_by_time_and_recorded(config: DatasetConfig, settings: Settings, csv: Path) -> None:
    out = settings.workspace / "raw"
    loaded = load.run(config, str(csv), settings, out)
    parts = {name: pl.read_parquet(out / f"{name}.parquet") for name in ("train", "eval", "holdout")}
    assert parts["train"]["date"].max() < date(2020, 1, 1) <= parts["eval"]["date"].min()
    assert parts["eval"]["date"].max() < date(2022, 1, 1) <= parts["holdout"]["date"].min()
    assert {name: part.height for name, part in parts.items()} == loaded.splits
    assert sum(loaded.splits.values()) == loaded.rows == 400
    assert loaded.sha256 == hashlib.sha256(csv.read_bytes()).hexdigest()
    assert json.loads((out / "load.json").read_text())["sha256"] == loaded.sha256


def test_zip_codes_have_five_characters_and_zero_is_missing_where_listed(config: DatasetConfig, csv: Path) -> None:
    raw, frame = pl.read_csv(csv, infer_schema_length=None), load.read(csv, config)
    assert frame["zipcode"].str.len_chars().unique().to_list() == [5]
    coded = config.missing[0].columns
    assert all((frame[name] == 0).sum() == 0 for name in coded)
    assert sum(frame[name].null_count() for name in coded) == sum((raw[name] == 0).sum() for name in coded) > 0
    assert (frame["sold_above_list"] == 0).sum() == (raw["sold_above_list"] == 0).sum()


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zip", ".parquet", "folder"])
def test_every_kind_of_file_gives_the_same_frame(config: DatasetConfig, csv: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"copy{suffix}"
    if suffix == ".csv.gz":
        path.write_bytes(gzip.compress(csv.read_bytes()))
    elif suffix == ".csv.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(csv, "inner/market.csv")
    else:
        frame = pl.read_csv(csv, infer_schema_length=None)
        if suffix == "folder":
            path.mkdir()
            frame.head(150).write_parquet(path / "a.parquet")
            frame.slice(150).write_parquet(path / "b.parquet")
        else:
            frame.write_parquet(path)
    assert load.read(path, config).equals(load.read(csv, config))


def test_a_written_split_reads_back_unchanged(config: DatasetConfig, settings: Settings, csv: Path) -> None:
    out = settings.workspace / "raw"
    load.run(config, str(csv), settings, out, csv=True)
    assert load.read(out / "holdout.csv", config).equals(load.read(out / "holdout.parquet", config))


def edit(csv: Path, column: str, value: str) -> Path:
    frame = pl.read_csv(csv, infer_schema=False)
    first = pl.int_range(pl.len()) == 0
    frame.with_columns(pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)).write_csv(csv)
    return csv


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("date", "31/03/2012", "column date: 1 values are not a date like 2021-05-31, for example '31/03/2012'"),
        ("price", "a lot", "a lot"),
        ("price", "inf", "column price: 1 values are not a finite number"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(
    config: DatasetConfig, csv: Path, column: str, value: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        load.read(edit(csv, column, value), config)


def test_a_missing_date_a_missing_target_and_an_empty_split_are_named(
    config: DatasetConfig, settings: Settings, csv: Path
) -> None:
    frame = pl.read_csv(csv, infer_schema=False)
    frame.drop("price", "inventory").write_csv(csv)
    with pytest.raises(DataError, match="lacks the columns inventory, price"):
        load.run(config, str(csv), settings, settings.workspace / "raw")
    frame.filter(pl.col("date") < "2020").write_csv(csv)
    with pytest.raises(DataError, match="the eval split is empty: date runs from 2012-03-31 to 2019"):
        load.run(config, str(csv), settings, settings.workspace / "raw")
    frame.with_columns(date=pl.lit(None, pl.String)).write_csv(csv)
    with pytest.raises(DataError, match="400 rows have no date"):
        load.run(config, str(csv), settings, settings.workspace / "raw")
    frame.clear().write_csv(csv)
    with pytest.raises(DataError, match="the train split is empty"):
        load.run(config, str(csv), settings, settings.workspace / "raw")
    assert not (settings.workspace / "raw").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"PAR1....", "named as text but its content is Parquet"),
        ("a.csv", b"\x00\x01\x02", "its content is binary"),
        ("a.parquet", b"date,price\n", "named as Parquet but its content is text"),
        ("a.parquet", b"PAR1 cut short", "cannot read"),
        ("a.csv.gz", b"date,price\n", "named as gzip but its content is text"),
        ("a.zip", b"\x1f\x8b..", "named as zip but its content is gzip"),
        ("a.xlsx", b"PK\x03\x04", "cannot tell what it is"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(
    config: DatasetConfig, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        load.read(path, config)


def test_a_zip_must_hold_one_csv(config: DatasetConfig, csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(csv, "a.csv")
        archive.write(csv, "b.csv")
    with pytest.raises(DataError, match=r"must hold one CSV, it holds 2: a\.csv, b\.csv"):
        load.read(path, config)


def test_the_data_root_is_searched_before_the_simulator(
    config: DatasetConfig, settings: Settings, csv: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = settings.data_root / config.source.files[0]
    own.parent.mkdir(parents=True)
    shutil.copy(csv, own)
    assert load.run(config, None, settings, settings.workspace / "raw").source == str(own)


def test_without_a_file_or_a_default_the_message_says_what_to_fetch(config: DatasetConfig, settings: Settings) -> None:
    bare = config.model_copy(update={"source": config.source.model_copy(update={"default": None})})
    with pytest.raises(ConfigError, match=r"get it from kaggle:shengkunwang/housets-dataset and save it as .*HouseTS"):
        load.run(bare, None, settings, settings.workspace / "raw")


def test_a_failed_load_leaves_the_previous_splits_whole(config: DatasetConfig, settings: Settings, csv: Path) -> None:
    out = settings.workspace / "raw"
    load.run(config, str(csv), settings, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(DataError):
        load.run(config, str(edit(csv, "date", "never")), settings, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_command_ends_with_code_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    assert run_command(load.main, ["--input", str(tmp_path / "nowhere.csv")]) == 2
    assert capsys.readouterr().err.strip() == f"error: no such file or folder: {tmp_path / 'nowhere.csv'}"
    assert run_command(load.main, ["--dataset", "atlantis"]) == 2
    assert "no dataset 'atlantis'" in capsys.readouterr().err


def test_nan_is_missing_and_an_infinity_of_any_width_is_refused(config: DatasetConfig, tmp_path: Path) -> None:
    frame, path = housets_frame(rows=20, traps=False), tmp_path / "market.parquet"
    first = pl.int_range(pl.len()) == 0

    def put(value: float, kind: type[pl.DataType]) -> None:
        days = pl.when(first).then(value).otherwise(pl.col("median_dom")).cast(kind).alias("median_dom")
        frame.with_columns(days).write_parquet(path)

    put(float("nan"), pl.Float64)
    assert load.read(path, config)["median_dom"].is_null().arg_true().to_list() == [0]
    for kind in (pl.Float64, pl.Float32, pl.String):
        put(float("inf"), kind)
        with pytest.raises(DataError, match="median_dom: 1 values are not a finite number"):
            load.read(path, config)


def test_a_column_of_lists_is_refused(config: DatasetConfig, tmp_path: Path) -> None:
    for name in ("zipcode", "median_dom"):
        housets_frame(rows=20).with_columns(pl.lit([1]).alias(name)).write_parquet(tmp_path / "market.parquet")
        with pytest.raises(DataError, match=rf"column {name}: holds List"):
            load.read(tmp_path / "market.parquet", config)


@pytest.mark.parametrize("kind", [pl.Boolean, pl.Date, pl.Datetime, pl.Duration, pl.Binary])
def test_what_is_no_number_is_refused_whatever_it_casts_to(config: DatasetConfig, kind: type[pl.DataType]) -> None:
    rows = housets_frame().with_columns(inventory=pl.lit(None, kind))
    with pytest.raises(DataError, match=r"rows: column inventory: holds \w+(\(.*\))?, not number"):
        load.typed(rows.lazy(), config, "rows")


def test_texts_that_are_stored_as_categories_are_read(config: DatasetConfig) -> None:
    rows = housets_frame().with_columns(date=pl.col("date").cast(pl.String), inventory=pl.lit("7.5"))
    stored = rows.cast({"date": pl.Categorical, "inventory": pl.Categorical, "city_full": pl.Categorical})
    assert load.typed(stored.lazy(), config, "rows").equals(load.typed(rows.lazy(), config, "rows"))


def test_csv_splits_never_outlive_the_parquet_ones(config: DatasetConfig, settings: Settings, csv: Path) -> None:
    out = settings.workspace / "raw"
    load.run(config, str(csv), settings, out, csv=True)
    assert (out / "holdout.csv").is_file()
    load.run(config, str(csv), settings, out)
    assert not list(out.glob("*.csv"))


def test_a_damaged_split_is_named(config: DatasetConfig, settings: Settings, csv: Path) -> None:
    out = settings.workspace / "raw"
    load.run(config, str(csv), settings, out)
    path = out / "eval.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"eval\.parquet is damaged"):
        load.scan_split(out, "eval")
