"""Validation with Great Expectations itself: a clean split passes, each planted fault is named, warnings go on."""

import json
import logging
import re
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from src.core.cli import run_command
from src.core.config import DatasetConfig, Expectation, load_config
from src.core.errors import ConfigError, DataError
from src.feature_pipeline import validate
from src.feature_pipeline.expectations import rules
from src.feature_pipeline.load import read, split
from tests.factories import housets_splits

# Great Expectations imports modules that Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SCHEMA = {"expect_column_to_exist", "expect_column_values_to_be_of_type"}


# Great Expectations takes seconds for all of HouseTS's columns; these have every kind of fault that is planted below.
FEW = [
    "date", "median_list_price", "median_list_ppsf", "homes_sold", "sold_above_list", "city", "zipcode", "price",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> DatasetConfig:
    return load_config("housets")


@pytest.fixture(scope="module")
def config(whole: DatasetConfig) -> DatasetConfig:
    """HouseTS as if it had few columns."""
    plain = whole.model_dump(mode="json")
    plain |= {
        "columns": {name: plain["columns"][name] for name in FEW},
        "expectations": [one for one in plain["expectations"] if one["args"].get("column") in (None, *FEW)],
        "features": [{"recipe": "numbers", "columns": ["median_list_price"]}],
        "model": {},
        "missing": [],
        "leakage": [],
        "segments": [],
        "lookup": None,
        "region": None,
    }
    return DatasetConfig.model_validate(plain)


@pytest.fixture(scope="module")
def splits() -> dict[str, pl.DataFrame]:
    return housets_splits(rows=600, traps=False)


@pytest.fixture(scope="module")
def train(splits: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return splits["train"]


@pytest.fixture
def raw(splits: dict[str, pl.DataFrame], tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, frame in splits.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


def expecting(config: DatasetConfig, *entries: Expectation) -> DatasetConfig:
    return config.model_copy(update={"expectations": entries})


def at(frame: pl.DataFrame, rows: list[int], column: str, value: Any) -> pl.DataFrame:
    """Plant one value in some rows."""
    chosen = pl.int_range(pl.len()).is_in(rows)
    return frame.with_columns(pl.when(chosen).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


def failure(frame: pl.DataFrame, config: DatasetConfig, name: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        validate.validate(frame, config, name, None)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_clean_market_passes_every_expectation(splits: dict[str, pl.DataFrame], whole: DatasetConfig) -> None:
    for name, frame in splits.items():
        result = validate.validate(frame, whole, name, None)
        assert result.passed
        assert result.rows == frame.height
        assert {check.passed for check in result.checks} == {True}
        assert {check.columns for check in result.checks if check.rule in SCHEMA} == {(c,) for c in whole.columns}


def test_the_real_rows_pass(real_housets: Path, whole: DatasetConfig) -> None:
    for name, frame in split(read(real_housets, whole), whole).items():
        assert validate.validate(frame, whole, name, None).passed


def test_a_missing_price_is_named_with_its_rows(train: pl.DataFrame, config: DatasetConfig) -> None:
    message = failure(at(train, [0, 5, 7, 9], "price", None), config)
    assert "a critical expectation failed" in message
    assert "train: price: expect_column_values_to_not_be_null: 4 of 398 rows" in message
    first = train.row(0, named=True)
    assert f"for example zipcode={first['zipcode']}, date={first['date']}, price=missing | " in message
    assert message.count("price=missing") == validate.EXAMPLES


def test_a_bad_zip_code_is_named(train: pl.DataFrame, config: DatasetConfig) -> None:
    message = failure(at(train, [3], "zipcode", "2351"), config)
    assert "zipcode: expect_column_values_to_match_regex (regex ^[0-9]{5}$): 1 of 398 rows" in message
    assert "zipcode=2351, date=" in message


def test_a_value_out_of_range_is_named(train: pl.DataFrame, config: DatasetConfig) -> None:
    message = failure(at(train, [1, 2], "sold_above_list", 1.5), config)
    assert "sold_above_list: expect_column_values_to_be_between (min_value 0, max_value 1): 2 of 398 rows" in message
    assert "sold_above_list=1.5" in message


def test_a_missing_column_is_named_once(train: pl.DataFrame, config: DatasetConfig) -> None:
    lines = failure(train.drop("sold_above_list"), config).splitlines()
    assert lines[1:] == ["  train: sold_above_list: expect_column_to_exist: is missing"]


def test_a_missing_target_is_named_once(train: pl.DataFrame, config: DatasetConfig) -> None:
    lines = failure(train.drop("price"), config).splitlines()
    assert lines[1:] == ["  train: price: expect_column_to_exist: is missing"]


@pytest.mark.parametrize(
    ("column", "dtype", "words"),
    [
        ("price", pl.String, "is String, not number"),
        ("zipcode", pl.Int64, "is Int64, not text"),
        ("homes_sold", pl.Int64, "is Int64, not number"),
        ("date", pl.String, "is String, not date"),
    ],
)
def test_a_wrong_type_is_named(
    train: pl.DataFrame, config: DatasetConfig, column: str, dtype: type[pl.DataType], words: str
) -> None:
    message = failure(train.with_columns(pl.col(column).cast(dtype)), config)
    assert f"{column}: expect_column_values_to_be_of_type" in message
    assert words in message
    assert len(message.splitlines()) == 2


def test_rows_of_another_split_are_refused(splits: dict[str, pl.DataFrame], config: DatasetConfig) -> None:
    leaked = pl.concat([splits["train"], splits["eval"].head(2)])
    assert "date: expect_column_values_to_be_between (max_value 2020-01-01, strict_max True): 2 of" in failure(
        leaked, config
    )
    assert "for example zipcode=" in failure(leaked, config)
    assert "date: expect_column_values_to_be_between (min_value 2022-01-01)" in failure(
        pl.concat([splits["holdout"], splits["eval"].head(2)]), config, "holdout"
    )


def test_the_first_day_of_a_split_is_in_it_and_not_in_the_one_before(
    splits: dict[str, pl.DataFrame], config: DatasetConfig
) -> None:
    edge = at(splits["eval"], [0], "date", date(2020, 1, 1))
    assert validate.validate(edge, config, "eval", None).passed
    assert "1 of 398 rows" in failure(at(splits["train"], [0], "date", date(2020, 1, 1)), config)


def undated(config: DatasetConfig, **rule: Any) -> DatasetConfig:
    plain = config.model_dump(mode="json") | {"split": {"by": "random", **rule}, "segments": [], "expectations": []}
    return DatasetConfig.model_validate(plain)


@pytest.mark.parametrize(
    ("rule", "said"),
    [({}, "rows_are_in_one_split_only: 7 of 7"), ({"group": ["zipcode"]}, "zipcode: rows_are_in_one_split_only")],
)
def test_rows_that_are_in_two_random_splits_are_refused(
    splits: dict[str, pl.DataFrame], config: DatasetConfig, tmp_path: Path, rule: dict[str, Any], said: str
) -> None:
    for name, frame in {**splits, "eval": splits["train"].head(7)}.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=said):
        validate.run(undated(config, **rule), tmp_path, tmp_path / "quality")
    found = json.loads((tmp_path / "quality" / "holdout.json").read_text())["checks"][-1]
    assert (found["rule"], found["passed"]) == ("rows_are_in_one_split_only", not rule)


def test_scattered_copies_only_warn(
    splits: dict[str, pl.DataFrame], config: DatasetConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, frame in {**splits, "eval": splits["train"].head(7)}.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    done = validate.run(undated(config, duplicates="scatter"), tmp_path, tmp_path / "quality")
    assert done["eval"].passed
    assert "eval: the table: rows_are_in_one_split_only: 7 of 7 rows equal a row of another split" in caplog.text


@pytest.mark.parametrize("day", [date(1066, 10, 14), date(9999, 12, 31)])
def test_a_date_that_nanoseconds_cannot_hold_is_named(
    splits: dict[str, pl.DataFrame], config: DatasetConfig, day: date
) -> None:
    message = failure(at(splits["eval"], [0], "date", day), config, "eval")
    assert "1 of 101 rows" in message
    assert f"date={day}" in message


def test_too_few_rows_are_named(train: pl.DataFrame, config: DatasetConfig) -> None:
    message = failure(train.head(12), config)
    assert "the table: expect_table_row_count_to_be_between (min_value 50): found 12" in message


def test_an_empty_split_is_refused_and_its_values_count_as_unchecked(
    train: pl.DataFrame, config: DatasetConfig, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"the table: expect_table_row_count_to_be_between \(min_value 1\): found 0"):
        validate.validate(train.head(0), config, "train", tmp_path)
    checks = json.loads((tmp_path / "train.json").read_text())["checks"]
    assert {c["passed"] for c in checks if c["rule"] == "expect_column_values_to_match_regex"} == {None}
    assert {c["passed"] for c in checks if c["rule"] == "expect_column_to_exist"} == {True}


def test_a_repeated_key_warns_and_goes_on(
    train: pl.DataFrame, config: DatasetConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "src"):
        result = validate.validate(pl.concat([train, train.head(2)]), config, "train", None)
    assert result.passed
    (warning,) = result.failed("warning")
    assert warning.rule == "expect_compound_columns_to_be_unique"
    assert warning.rows == 4
    assert warning.examples[0] == {"zipcode": train["zipcode"][0], "date": str(train["date"][0])}
    assert "zipcode, date: expect_compound_columns_to_be_unique: 4 of 400 rows" in caplog.text


def test_a_repeated_key_stops_where_the_config_says_critical(train: pl.DataFrame, config: DatasetConfig) -> None:
    unique = Expectation(rule="expect_compound_columns_to_be_unique", args={"column_list": ["zipcode", "date"]})
    message = failure(pl.concat([train, train.head(1)]), expecting(config, unique))
    assert "zipcode, date: expect_compound_columns_to_be_unique: 2 of 399 rows" in message


def test_traps_of_the_simulator_warn_only(whole: DatasetConfig) -> None:
    for name, frame in housets_splits(rows=600).items():
        assert validate.validate(frame, whole, name, None).passed


@pytest.mark.parametrize(
    ("rule", "args", "column", "value", "words"),
    [
        ("expect_column_values_to_be_in_set", {"column": "city", "value_set": ["NY", "CHI", "LA", "PHL", "DC", "PGH"]},
         "city", "XX", "city=XX"),
        ("expect_column_max_to_be_between", {"column": "price", "max_value": 1e8}, "price", 2e8, "found 200000000.0"),
        ("expect_column_proportion_of_non_null_values_to_be_between", {"column": "price", "min_value": 1},
         "price", None, "found 0.99"),
        ("expect_column_pair_values_a_to_be_greater_than_b",
         {"column_A": "median_list_ppsf", "column_B": "sold_above_list"}, "median_list_ppsf", -1.0,
         "median_list_ppsf, sold_above_list"),
        ("expect_column_value_lengths_to_equal", {"column": "zipcode", "value": 5}, "zipcode", "123456",
         "zipcode=123456"),
        ("expect_column_values_to_be_between", {"column": "date", "min_value": date(2012, 1, 1)},
         "date", date(1999, 1, 1), "date=1999-01-01"),
    ],
)  # fmt: skip
def test_other_rules_of_great_expectations_work_from_the_yaml(
    train: pl.DataFrame, config: DatasetConfig, rule: str, args: dict[str, Any], column: str, value: Any, words: str
) -> None:
    asked = expecting(config, Expectation(rule=rule, args=args))
    assert validate.validate(train, asked, "train", None).passed
    assert words in failure(at(train, [4], column, value), asked)


def test_mostly_lets_a_share_of_rows_fail(train: pl.DataFrame, config: DatasetConfig) -> None:
    spoilt = at(train, [0, 1, 2], "sold_above_list", 9.0)
    args = {"column": "sold_above_list", "max_value": 1}
    rule = "expect_column_values_to_be_between"
    lenient = expecting(config, Expectation(rule=rule, args=args | {"mostly": 0.99}))
    assert validate.validate(spoilt, lenient, "train", None).passed
    assert "mostly 0.999" in failure(spoilt, expecting(config, Expectation(rule=rule, args=args | {"mostly": 0.999})))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Expectation(rule="expect_column_value_to_be_betwen"), "no rule 'expect_column_value_to_be_betwen'"),
        (Expectation(rule="expect_column_values_to_be_between", args={"column": "price", "min": 3}), "min: extra"),
        (Expectation(rule="expect_column_values_to_be_between", args={"column": "price"}), "cannot both be None"),
        (Expectation(rule="expect_column_values_to_not_be_null"), "column: field required"),
        (Expectation(rule="expect_column_values_to_not_be_null", args={"column": "prize"}), "did you mean 'price'?"),
        (Expectation(rule="expect_column_values_to_not_be_null", args={"column": "#"}), "(columns: date, "),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named_with_its_place(config: DatasetConfig, entry: Expectation, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(expecting(config, entry), "train")
    assert "configs of housets: expectations[0]" in str(caught.value)
    assert message in str(caught.value)


def test_an_argument_that_only_fails_at_work_is_named_too(train: pl.DataFrame, config: DatasetConfig) -> None:
    bad = Expectation(rule="expect_column_values_to_match_regex", args={"column": "zipcode", "regex": "["})
    with pytest.raises(ConfigError, match=r"expectations\[0\]: expect_column_values_to_match_regex cannot be checked"):
        validate.validate(train, expecting(config, bad), "train", None)


def test_an_unknown_split_is_refused(train: pl.DataFrame, config: DatasetConfig) -> None:
    with pytest.raises(ConfigError, match="no split 'test'; the splits are train, eval, holdout"):
        validate.validate(train, config, "test", None)


def test_the_command_writes_results_and_data_docs_and_nothing_else(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    assert run_command(validate.main, ["--input", str(raw), "--output-dir", str(tmp_path / "quality")]) == 0
    written = {path.name for path in (tmp_path / "quality").iterdir()}
    assert written == {"train.json", "eval.json", "holdout.json", "index.html", "docs"}
    assert list(home.iterdir()) == []
    index = (tmp_path / "quality" / "docs" / "index.html").read_text()
    for name in ("train", "eval", "holdout"):
        assert f"validations/{name}/" in index
        result = json.loads((tmp_path / "quality" / f"{name}.json").read_text())
        assert result["passed"] is True
        assert result["rows"] == pl.read_parquet(raw / f"{name}.parquet").height
    assert "Calculating Metrics" not in capsys.readouterr().err


def test_nothing_is_sent_anywhere(
    train: pl.DataFrame, config: DatasetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr("socket.socket.connect", lambda _self, address: calls.append(address))
    assert validate.validate(train, config, "train", tmp_path / "quality").passed
    assert (tmp_path / "quality" / "docs" / "index.html").is_file()
    assert calls == []


def test_a_failure_exits_with_2_and_leaves_the_evidence(
    raw: Path, tmp_path: Path, splits: dict[str, pl.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    at(splits["eval"], [0], "price", None).write_parquet(raw / "eval.parquet")
    at(splits["holdout"], [0], "zipcode", "x").write_parquet(raw / "holdout.parquet")
    quality = tmp_path / "quality"
    assert run_command(validate.main, ["--input", str(raw), "--output-dir", str(quality)]) == 2
    error = capsys.readouterr().err
    assert "2 critical expectations failed" in error
    assert "eval: price: expect_column_values_to_not_be_null: 1 of 101 rows" in error
    assert "holdout: zipcode: expect_column_values_to_match_regex" in error
    assert "Traceback" not in error
    assert json.loads((quality / "train.json").read_text())["passed"] is True
    assert json.loads((quality / "eval.json").read_text())["passed"] is False
    assert (quality / "docs" / "index.html").is_file()


def test_a_second_run_replaces_the_docs(raw: Path, config: DatasetConfig, tmp_path: Path) -> None:
    for _ in range(2):
        validate.run(config, raw, tmp_path / "quality")
    pages = list((tmp_path / "quality" / "docs" / "validations" / "train").rglob("*.html"))
    assert len(pages) == 1
    assert not list((tmp_path / "quality").glob(".docs*"))


def test_splits_that_are_not_there_are_named(config: DatasetConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.parquet does not exist"):
        validate.run(config, tmp_path, tmp_path / "quality")
    assert not (tmp_path / "quality").exists()


def test_the_page_shows_the_failures_and_needs_no_network(
    raw: Path, tmp_path: Path, splits: dict[str, pl.DataFrame], config: DatasetConfig
) -> None:
    at(splits["eval"], [0], "zipcode", "<b>x").write_parquet(raw / "eval.parquet")
    with pytest.raises(DataError, match=r"index\.html"):
        validate.run(config, raw, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert 'eval: 101 rows, <span class="failed">FAILED</span>' in page
    assert 'holdout: 101 rows, <span class="passed">passed</span>' in page
    assert "zipcode=&lt;b&gt;x" in page
    assert "http" not in page
    assert "src=" not in page
    linked = re.findall(r'href="([^"]+)"', page)
    assert len(linked) == 3
    assert all((tmp_path / path).is_file() for path in linked)


def test_a_month_is_asked_only_what_a_month_can_hold(config: DatasetConfig) -> None:
    month = housets_splits(traps=False)["holdout"].head(5).drop("price", "median_sale_price")
    result = validate.check_month(month, config, "2022-01")
    assert result.passed, "few rows, and no target yet"
    asked = {(check.rule, *check.columns): check.passed for check in result.checks}
    assert not [rule for rule, *_ in asked if rule.startswith("expect_table_")]
    assert asked["expect_column_values_to_match_regex", "zipcode"] is True
    assert asked["expect_column_values_to_be_between", "price"] is None
    broken = month.drop("median_list_price").with_columns(pl.lit(2.0).alias("sold_above_list"))
    failed = {check.columns for check in validate.check_month(broken, config, "2022-01").failed("critical")}
    assert failed == {("median_list_price",), ("sold_above_list",)}
