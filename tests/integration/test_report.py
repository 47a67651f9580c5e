"""A month's report: what it measures, what it shows, where it goes, and what is left of it when something is down."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from src.batch import run_monthly
from src.core.cli import run_command
from src.core.config import Settings, load_config
from src.core.errors import ConfigError, StoreError
from src.core.predictions_store import FolderPredictions, PredictionsStore, file_name
from src.core.reports_store import FolderReports, open_reports
from src.inference_pipeline.prediction_file import Layout, read_month
from src.monitoring import database, drift, measures, report
from src.monitoring.measures import Measure
from src.monitoring.month_report import MonthReport, measured
from src.monitoring.reference import Reference
from tests.conftest import Published
from tests.flowers import iris_predictor
from tests.integration.stores import BucketPlace
from tests.once import untraced
from tests.predictions import flowers_frame

HOUSETS = load_config("housets")
NOW = datetime(2022, 5, 10, tzinfo=UTC)
MONTHS = ["2022-01", "2022-02", "2022-03"]
NEW_PLACES = 15


@dataclass(frozen=True)
class Reported:
    """Two good months and one whose feed broke, priced and reported on; read it, never write to it."""

    settings: Settings
    published: Published
    source: Path
    predictions: PredictionsStore
    made: list[MonthReport]

    def json(self, month: str) -> dict[str, object]:
        content = open_reports("housets", self.settings).read(month, report.CONTENT)
        assert content
        said: dict[str, object] = json.loads(content)
        return said

    def again(self, **options: object) -> list[MonthReport]:
        return report.run(
            HOUSETS,
            self.settings,
            source=str(self.source),
            predictions=self.predictions,
            store=self.published.store,
            now=NOW,
            **options,  # type: ignore[arg-type]
        )


def broken(raw: pl.DataFrame) -> pl.DataFrame:
    """Break March's feed: a column in cents, one lost, one stuck, and ZIP codes that nobody has seen."""
    is_march = pl.col("date").dt.strftime("%Y-%m") == "2022-03"
    first = is_march & (pl.int_range(pl.len()).over(is_march) < NEW_PLACES)

    def in_march(value: pl.Expr, name: str, where: pl.Expr = is_march) -> pl.Expr:
        return pl.when(where).then(value).otherwise(pl.col(name)).alias(name)

    return raw.with_columns(
        in_march(pl.col("median_list_price") * 100, "median_list_price"),
        in_march(pl.lit(None), "Median Rent"),
        in_march(pl.lit(7.0), "inventory"),
        in_march(pl.lit("00001"), "zipcode", first),
    )


@pytest.fixture(scope="module")
def reported(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    root = tmp_path_factory.mktemp("reports")
    raw = pl.read_parquet(published.space.raw / "holdout.parquet")
    source = root / "rows.parquet"
    broken(raw).filter(pl.col("date").dt.strftime("%Y-%m").is_in(MONTHS)).write_parquet(source)
    settings = Settings(workspace=root, threads=1)
    output = FolderPredictions(root / "predictions")
    told = Reported(settings, published, source, output, [])
    with untraced():
        run_monthly.run(HOUSETS, source, output, published.store, settings)
        done = told.again()
    return Reported(settings, published, source, output, done)


def found(report_: MonthReport) -> dict[tuple[str, str], Measure]:
    return {(one.name, one.segment): one for one in report_.measures}


def test_every_month_is_reported_with_its_measures_in_the_table(reported: Reported) -> None:
    assert [one.month for one in reported.made] == MONTHS
    with database.opened(reported.settings) as engine:
        table = measures.read(engine, "housets")
    assert table["month"].unique().sort().to_list() == MONTHS
    january = reported.made[0]
    rows = pl.read_parquet(reported.predictions.read(file_name("2022-01"))[0])
    said = found(january)
    error = ((rows["predicted_price"] - rows["actual_price"]) / rows["actual_price"]).to_numpy()
    assert said["mdape", ""].value == pytest.approx(np.median(np.abs(error)))
    assert said["bias", ""].value == pytest.approx(np.median(error))
    inside = rows["actual_price"].is_between(rows["lower_80"], rows["upper_80"]).mean()
    assert said["coverage_80", ""] == Measure("coverage_80", pytest.approx(inside), rows.height)  # type: ignore[arg-type]
    assert said["data_age_days", ""].value == (NOW.date() - datetime(2022, 1, 31, tzinfo=UTC).date()).days
    assert said["actuals_share", ""].value == 1
    kept = table.filter(pl.col("month") == "2022-01").select("name", "segment", "value", "rows").sort("name", "segment")
    wanted = sorted((one.name, one.segment, one.value, one.rows) for one in january.measures)
    assert kept.rows() == wanted
    metros = [one for one in january.measures if one.segment.startswith("metro=") and one.name == "rows"]
    assert sum(one.value for one in metros) == rows.height


def test_a_good_month_fails_no_expectation_and_a_broken_feed_shows(reported: Reported) -> None:
    for good in reported.made[:2]:
        assert found(good)["failed_expectations", ""].value == 0
        assert found(good)["missing_share", "column=Median Rent"].value < 0.5
    march = reported.made[2]
    said = found(march)
    assert said["drift", "column=median_list_price"].value > 20
    assert said["missing_share", "column=Median Rent"].value == 1
    assert ("drift", "column=Median Rent") not in said
    assert march.checked
    failed = {(check.rule, *check.columns) for check in march.checked.failed("critical")}
    assert {("column_keeps_its_values", "Median Rent"), ("column_varies", "inventory")} <= failed
    rows = said["rows", ""].value
    assert said["unseen_share", ""].value >= NEW_PLACES / rows
    beyond = {one.rule: one.subject for one in march.beyond}
    # The size is the list price over the price of a square foot, and goes with it.
    assert beyond["max_column_drift"] in ("median_list_price", "home_size")
    assert {"max_failed_expectations", "max_unseen_share"} <= {*beyond}


def test_the_page_says_what_matters_first_and_needs_no_network(reported: Reported) -> None:
    reports = open_reports("housets", reported.settings)
    page = (reports.read("2022-03", report.PAGE) or b"").decode()
    assert "http" not in page.replace("http://www.w3.org", "")
    words = ["What changed", "median_list_price: distance", "How much it matters", "Rules", "beyond its limit"]
    words += ["Which rows to look at: the largest errors", "The months so far", "<svg", "drift.html"]
    places = [page.find(word) for word in words]
    assert -1 not in places
    assert "<svg" not in (reports.read("2022-01", report.PAGE) or b"").decode(), "one month is no line"
    assert b"plotly" in (reports.read("2022-03", "drift.html") or b"").lower()
    assert reports.read("2022-03", "performance.html")
    said = reported.json("2022-03")
    assert len(said["look_at"]["rows"]) == 10  # type: ignore[index]
    assert "DriftedColumnsCount" in (reports.read("2022-03", report.EVIDENTLY) or b"").decode()


def test_only_what_changed_is_reported_again(reported: Reported) -> None:
    assert reported.again() == []
    content, tag = reported.predictions.read(file_name("2022-02"))
    assert reported.json("2022-02")["predictions_tag"] == tag
    reported.predictions.put(file_name("2022-02"), content)
    assert [one.month for one in reported.again()] == ["2022-02"]
    with pytest.raises(ConfigError, match="no predictions of 2031-01 in"):
        reported.again(months=["2031-01"])


def test_a_report_that_broke_off_does_not_pass_for_done(reported: Reported, tmp_path: Path) -> None:
    class Full(FolderReports):
        def put(self, month: str, name: str, content: bytes) -> None:
            if name == report.CONTENT:
                raise StoreError("the disk is full")
            super().put(month, name, content)

    with database.opened(Settings(workspace=tmp_path)) as engine:
        with pytest.raises(StoreError, match="the disk is full"):
            report.publish(reported.made[0], Full(tmp_path), engine)
        assert not (tmp_path / "2022-01" / report.CONTENT).exists()
        report.publish(reported.made[0], FolderReports(tmp_path), engine)
        assert measures.read(engine, "housets").height == len(reported.made[0].measures)
    assert json.loads((tmp_path / "2022-01" / report.CONTENT).read_text())["predictions_tag"] == reported.made[0].tag


def test_without_a_database_nothing_is_written(
    published: Published,
    reported: Reported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {
        "WORKSPACE": str(tmp_path),
        "PREDICTIONS_STORE": str(tmp_path / "predictions"),
        "DATABASE_URL": "postgresql+psycopg://keeper:s3cret@127.0.0.1:9/prices",
    }.items():
        monkeypatch.setenv(name, value)
    FolderPredictions(tmp_path / "predictions" / "housets").put(
        file_name("2022-01"), reported.predictions.read(file_name("2022-01"))[0]
    )
    asked = ["--input", str(reported.source), "--store", str(published.space.store)]
    assert run_command(report.main, asked) == 1
    err = capsys.readouterr().err
    assert "cannot reach postgresql+psycopg://127.0.0.1:9/prices: nobody listens there" in err
    assert "s3cret" not in err
    assert not (tmp_path / "reports").exists()
    assert run_command(report.main, [*asked, "--month", "2031-05"]) == 2
    assert run_command(report.main, ["--input", str(tmp_path / "none.csv")]) == 2


def test_the_batch_reports_on_what_it_priced(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    asked = ["--input", str(published.space.raw / "holdout.parquet"), "--store", str(published.space.store)]
    asked += ["--month", "2022-01", "--month", "2031-05", "--monitor"]
    with monkeypatch.context() as patch:
        patch.setattr(drift.importlib.util, "find_spec", lambda name: None)
        assert run_command(run_monthly.main, asked) == 2
        assert "`uv sync --group training`" in capsys.readouterr().err
        assert not (tmp_path / "predictions").exists()
    assert run_command(run_monthly.main, [*asked, "--csv"]) == 2
    capsys.readouterr()
    assert run_command(run_monthly.main, asked) == 1, "2031-05 has no data"
    assert "housets 2022-01: " in capsys.readouterr().out
    assert open_reports("housets", Settings(workspace=tmp_path)).read("2022-01", report.CONTENT)


def test_classes_without_dates_are_measured(tmp_path: Path) -> None:
    config = load_config("iris")
    known = pl.read_parquet(iris_predictor()._comparables._reference)  # type: ignore[union-attr]
    reference = Reference("v", config, {}, known)
    FolderPredictions(tmp_path).put(file_name("all"), _bytes(flowers_frame()))
    rows = read_month(FolderPredictions(tmp_path).read(file_name("all"))[0], "all", Layout(config), as_written=True)
    made = measured("all", rows, rows.select(config.raw_inputs), reference, config, at=NOW)
    said = found(made)
    assert said["accuracy", ""] == Measure("accuracy", pytest.approx(2 / 3), 3)  # type: ignore[arg-type]
    assert said["actuals_share", ""].value == 0.75
    assert said["log_loss", ""].value == pytest.approx(-np.log([0.5, 0.25, 0.25]).mean())
    assert ("data_age_days", "") not in said
    assert said["drift", "column=predicted"].value < 0.83
    assert {one.state for one in made.verdicts} == {"not enough data"}
    assert [row["actual_species"] for row in made.look_at] == ["versicolor"]
    assert "performance.html" in made.pages


def _bytes(frame: pl.DataFrame) -> bytes:
    from src.core import sealed_parquet

    return sealed_parquet.to_bytes(frame)


def test_measures_of_a_month_and_version_are_replaced_whole(engine: sa.Engine) -> None:
    later = datetime(2022, 6, 1, tzinfo=UTC)
    first = [Measure("rows", 9, 9), Measure("drift", 0.5, 9, "column=a"), Measure("drift", 0.1, 9, "column=b")]
    assert measures.replace(engine, "housets", "2022-01", "v1", first, NOW) == 3
    measures.replace(engine, "housets", "2022-02", "v1", first[:1], NOW)
    measures.replace(engine, "iris", "2022-01", "v1", first[:1], NOW)
    long = [
        Measure("rows", 8, 8),
        Measure("rows", 1, 1, "metro=" + "x" * 300),
        Measure("rows", 2, 2, "metro=" + "x" * 301),
    ]
    assert measures.replace(engine, "housets", "2022-01", "v1", long, later) == 2
    rows = measures.read(engine, "housets", months=["2022-01"])
    assert rows["value"].to_list() == [8, 2] or rows["value"].to_list() == [2, 8]
    assert rows["at"].unique().to_list() == [later]
    measures.replace(engine, "housets", "2022-01", "v2", first, NOW)
    assert measures.read(engine, "housets", months=["2022-01"])["version"].unique().to_list() == ["v1"]
    assert measures.read(engine, "housets", newest_version=False).height == 6
    assert measures.read(engine, "housets", names=["rows"], segment="")["month"].to_list() == ["2022-01", "2022-02"]
    assert measures.read(engine, "iris").height == 1
    assert measures.read(engine, "california").is_empty()


def test_a_report_store_is_beside_the_models(s3_settings: Settings, tmp_path: Path) -> None:
    place = BucketPlace(s3_settings)
    away = open_reports("housets", s3_settings.model_copy(update={"model_store": place.uri}))
    assert str(away) == f"{place.uri}/reports/housets"
    here = open_reports("iris", Settings(workspace=tmp_path, model_store=str(tmp_path / "models")))
    assert str(here) == str(tmp_path / "reports" / "iris")
    for store in (away, here):
        assert store.read("2022-01", "report.html") is None
        store.put("2022-01", "report.html", b"<p>")
        store.put("2022-01", "report.html", b"<h1>")
        assert store.read("2022-01", "report.html") == b"<h1>"
    kind = place.client.head_object(Bucket=place.bucket, Key="some/prefix/reports/housets/2022-01/report.html")
    assert kind["ContentType"] == "text/html; charset=utf-8"
    down = Settings(model_store="s3://models/x", s3_endpoint_url="http://127.0.0.1:9", aws_region="us-east-1")
    for refused in (lambda s: s.read("2022-01", "a"), lambda s: s.put("2022-01", "a", b"")):
        with pytest.raises(StoreError, match="unreachable"):
            refused(open_reports("housets", down))
    (tmp_path / "reports" / "iris" / "2022-02").write_text("a file, where the month's folder should be")
    with pytest.raises(StoreError, match=r"report\.html cannot be written"):
        here.put("2022-02", "report.html", b"")
