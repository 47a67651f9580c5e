"""One predictions file a month, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from src.batch import run_monthly
from src.core.batch_report import BatchReport, Reporting, read_report
from src.core.cli import run_command
from src.core.config import Settings
from src.core.errors import DataError
from src.core.predictions_store import open_predictions
from tests.conftest import Published
from tests.integration.stores import BucketPlace


def arguments(published: Published, source: Path, output: Path, *more: str) -> list[str]:
    return ["--input", str(source), "--output-dir", str(output), "--store", str(published.space.store), *more]


def test_every_month_has_a_file_with_keys_prices_and_actuals(published: Published, tmp_path: Path) -> None:
    source = published.space.raw / "holdout.parquet"
    assert run_command(run_monthly.main, arguments(published, source, tmp_path)) == 0
    raw = pl.read_parquet(source)
    months = raw["date"].dt.strftime("%Y_%m").unique()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"preds_{month}.parquet" for month in months)
    written = pl.concat([pl.read_parquet(path) for path in sorted(tmp_path.iterdir())])
    assert written.columns == [
        *("zipcode", "date", "city_full", "predicted_price", "lower_80", "upper_80", "lower_95", "upper_95", "flags"),
        *("actual_price", "model_version"),
    ]
    assert written.height == raw.height
    assert sorted(written["actual_price"].to_list()) == sorted(raw["price"].to_list())
    pointer = published.store.current("housets")
    assert pointer is not None
    assert written["model_version"].unique().to_list() == [pointer.version]


def test_running_a_month_again_replaces_its_file_with_the_same(published: Published, tmp_path: Path) -> None:
    source = published.space.raw / "holdout.csv"
    path = tmp_path / "preds_2022_03.csv"
    assert run_command(run_monthly.main, arguments(published, source, tmp_path, "--month", "2022-3", "--csv")) == 0
    first = path.read_bytes()
    assert run_command(run_monthly.main, arguments(published, source, tmp_path, "--month", "2022-03", "--csv")) == 0
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_rows_without_an_actual_are_priced(published: Published, tmp_path: Path) -> None:
    pl.read_parquet(published.space.raw / "holdout.parquet").drop("price").write_parquet(tmp_path / "new.parquet")
    out = tmp_path / "out"
    assert run_command(run_monthly.main, arguments(published, tmp_path / "new.parquet", out)) == 0
    written = pl.read_parquet(out / "preds_2022_01.parquet")
    assert written["actual_price"].null_count() == written.height > 0


def test_a_month_that_fails_stops_no_other_and_fails_the_command(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = pl.read_csv(published.space.raw / "holdout.csv", infer_schema=False)
    bad = pl.col("date").str.starts_with("2022-02")
    broken = raw.with_columns(pl.when(bad).then(pl.lit("many")).otherwise(pl.col("inventory")).alias("inventory"))
    broken.write_csv(tmp_path / "broken.csv")
    out = tmp_path / "out"
    assert run_command(run_monthly.main, arguments(published, tmp_path / "broken.csv", out)) == 1
    err = capsys.readouterr().err
    assert "error: 1 of 24 months failed: 2022-02: " in err
    assert "column inventory" in err
    assert len(list(out.iterdir())) == 23
    assert not (out / "preds_2022_02.parquet").exists()


def test_a_month_without_data_says_so(published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = published.space.raw / "holdout.parquet"
    asked = arguments(published, source, tmp_path, "--month", "2031-05", "--month", "2022-01")
    assert run_command(run_monthly.main, asked) == 1
    assert "2031-05: no data for this month" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["preds_2022_01.parquet"]


def test_rows_without_a_readable_date_are_reported(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = pl.read_csv(published.space.raw / "holdout.csv", infer_schema=False)
    first = pl.int_range(pl.len()) == 0
    raw.with_columns(pl.when(first).then(pl.lit("soon")).otherwise(pl.col("date")).alias("date")).write_csv(
        tmp_path / "x.csv"
    )
    assert run_command(run_monthly.main, arguments(published, tmp_path / "x.csv", tmp_path / "out")) == 1
    assert "undated: no readable date" in capsys.readouterr().err


@pytest.mark.parametrize("month", ["2022", "2022-13", "January", "22-01"])
def test_a_month_is_written_as_year_and_month(month: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(run_monthly.main, ["--month", month]) == 2
    assert f"--month '{month}': write it as 2022-01" in capsys.readouterr().err


def test_output_goes_to_the_predictions_store_and_input_comes_from_an_address(
    published: Published, s3_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BucketPlace(s3_settings)
    place.write("housets.parquet", (published.space.raw / "holdout.parquet").read_bytes())
    away = s3_settings.model_copy(update={"predictions_store": place.uri})
    for name, value in {
        "WORKSPACE": str(tmp_path / "work"),
        "S3_ENDPOINT_URL": str(s3_settings.s3_endpoint_url),
        "AWS_REGION": "us-east-1",
        "PREDICTIONS_STORE": place.uri,
        "BATCH_INPUT": f"{place.uri}/models/{{dataset}}.parquet",
        "CACHE": str(tmp_path / "cache"),
        "THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    store = ["--store", str(published.space.store), "--month", "2022-03"]
    report = tmp_path / "report.json"
    assert run_command(run_monthly.main, [*store, "--report", str(report)]) == 0
    (file,) = open_predictions("housets", away).files()
    assert file.name == "preds_2022_03.parquet"
    assert pl.read_parquet(open_predictions("housets", away).read(file.name)[0]).height > 0
    assert json.loads(report.read_text())["done"][0]["where"] == f"{place.uri}/housets/preds_2022_03.parquet"
    there = f"{place.uri}/models/housets.parquet"
    assert run_command(run_monthly.main, [*store, "--input", there, "--output-dir", str(tmp_path / "here")]) == 0
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["preds_2022_03.parquet"]
    assert not list((tmp_path / "cache").iterdir()), "what was downloaded is gone"
    assert not (tmp_path / "work").exists()


def test_a_report_is_kept_after_each_month(published: Published, tmp_path: Path) -> None:
    said: list[Any] = []

    class Listening(Reporting):
        def say(self, **changes: Any) -> None:
            super().say(**changes)
            said.append(read_report(tmp_path / "report.json"))

    reporting = Listening("housets", tmp_path / "report.json")
    output = run_monthly.FolderPredictions(tmp_path / "out")
    with run_monthly.reported(reporting):
        run_monthly.run(
            published.predictor.config,
            published.space.raw / "holdout.parquet",
            output,
            published.store,
            published.settings,
            ["2022-01", "2022-02"],
            reporting=reporting,
        )
    assert [(report.months, len(report.done), report.finished) for report in said] == [
        *[(None, 0, False), (2, 0, False), (2, 1, False), (2, 2, False), (2, 2, True)]
    ]
    last = said[-1]
    assert last.model_version == published.predictor.version
    assert last.done[1].where == str(tmp_path / "out" / "preds_2022_02.parquet")
    assert last.done[1].rows == pl.read_parquet(last.done[1].where).height
    assert last.error is None


def test_a_report_names_what_failed(published: Published, tmp_path: Path) -> None:
    source, report = published.space.raw / "holdout.parquet", tmp_path / "report.json"
    asked = ["--report", str(report), "--month", "2031-05", "--month", "2022-01"]
    assert run_command(run_monthly.main, arguments(published, source, tmp_path / "out", *asked)) == 1
    said = read_report(report)
    assert said is not None
    assert [(month.month, month.error) for month in said.done] == [
        *[("2031-05", "no data for this month"), ("2022-01", "")]
    ]
    assert (said.finished, said.error) == (True, "1 of 2 months failed: 2031-05: no data for this month")
    absent = arguments(published, tmp_path / "absent.csv", tmp_path / "out", "--report", str(report))
    assert run_command(run_monthly.main, absent) == 2
    assert read_report(report) == BatchReport(
        dataset="housets", finished=True, error=f"no such file or folder: {tmp_path / 'absent.csv'}"
    )


def test_a_batch_that_breaks_off_leaves_its_report_unfinished(tmp_path: Path) -> None:
    reporting = Reporting("housets", tmp_path / "report.json")
    with pytest.raises(KeyboardInterrupt), run_monthly.reported(reporting):
        raise KeyboardInterrupt
    assert read_report(tmp_path / "report.json") == BatchReport(dataset="housets")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(DataError, match="no report of a batch"):
        read_report(tmp_path / "report.json")
    assert read_report(tmp_path / "none.json") is None
