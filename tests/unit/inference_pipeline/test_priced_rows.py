"""Rows and their scores by month and region, as asked for."""

import itertools

import numpy as np
import polars as pl
import pytest

from src.core import metrics, sealed_parquet
from src.core.config import DatasetConfig, load_config
from src.core.errors import DataError
from src.inference_pipeline.prediction_file import Layout, read_month
from src.inference_pipeline.priced_rows import By, Part, PricedRows, Selection, assembled, summary_columns
from tests.predictions import REGIONS, flowers_frame, month_frame

MONTHS = ("2021-12", "2022-01", "2022-02", "2022-03")
BOSTON, DENVER = REGIONS


def priced(config: DatasetConfig, frames: dict[str, pl.DataFrame]) -> PricedRows:
    layout = Layout(config)
    months = {month: read_month(sealed_parquet.to_bytes(frame), month, layout) for month, frame in frames.items()}
    starts = itertools.accumulate((frame.height for frame in months.values()), initial=0)
    parts = [Part(month, month, "", start, months[month].height) for month, start in zip(months, starts, strict=False)]
    return PricedRows(layout, assembled(layout, months), tuple(parts))


@pytest.fixture(scope="module")
def rows(config: DatasetConfig) -> PricedRows:
    return priced(config, {month: month_frame(month) for month in MONTHS})


def scored(frame: pl.DataFrame) -> dict[str, float]:
    known = frame.drop_nulls("actual_price")
    y, yhat = known["actual_price"].to_numpy(), known["predicted_price"].to_numpy()
    found = {"n": frame.height, "n_without_actual": frame.height - known.height}
    found |= {"mean_actual": y.mean(), "mean_predicted": frame["predicted_price"].mean()}
    found |= {name: getattr(metrics, name)(y, yhat) for name in ("mae", "rmse", "mape", "mdape", "bias")}
    for level in ("80", "95"):
        low, high = (known[f"{side}_{level}"].to_numpy() for side in ("lower", "upper"))
        found[f"coverage_{level}"] = metrics.coverage(y, low, high)
        found[f"mean_lower_{level}"] = frame[f"lower_{level}"].mean()
        ends = [frame[name].to_numpy() for name in (f"lower_{level}", f"upper_{level}")]
        found[f"mean_width_{level}"] = metrics.mean_width(*ends)
        found[f"mean_relative_width_{level}"] = metrics.mean_relative_width(frame["predicted_price"].to_numpy(), *ends)
    return found


@pytest.mark.parametrize("by", ["none", "month", "region", "month,region", "year"])
def test_a_summary_has_the_metrics_of_each_group(rows: PricedRows, by: By) -> None:
    keys = [] if by == "none" else by.split(",")
    every = pl.concat([month_frame(month) for month in MONTHS]).with_columns(
        month=pl.col("date").dt.strftime("%Y-%m"),
        year=pl.col("date").dt.strftime("%Y"),
        region=pl.col("city_full").replace_strict({raw: name for name, raw in REGIONS.items()}),
    )
    found = rows.summary(by)
    assert found.columns[: len(keys)] == list(keys)
    if keys:
        assert found.select(keys).rows() == sorted(every.select(keys).unique().rows())
    for row in found.iter_rows(named=True):
        here = every.filter(pl.all_horizontal(pl.lit(value=True), *(pl.col(key) == row[key] for key in keys)))
        assert {name: value for name, value in row.items() if name not in keys} == pytest.approx(scored(here))


def test_a_place_has_the_rows_of_its_months(rows: PricedRows) -> None:
    found = rows.summary("place", Selection(regions=(BOSTON,)))
    assert found["place"].to_list() == [f"{code:05}" for code in range(2102, 2121, 2)]
    assert found["n"].to_list() == [len(MONTHS)] * 10
    one = rows.summary("none", Selection(places=("02102",)))
    assert found.row(0)[1:] == one.row(0)


def test_a_decile_is_a_tenth_of_the_selected_rows_by_their_actual_value(rows: PricedRows) -> None:
    selection = Selection(regions=(BOSTON,))
    found = rows.summary("decile", selection)
    actual = rows.page(selection, limit=10_000).frame["actual_price"].drop_nulls().sort().to_numpy()
    tenths = [part for part in np.array_split(actual, 10) if len(part)]
    assert found["decile"].drop_nulls().to_list() == [f"{i:02}" for i in range(1, len(tenths) + 1)]
    known = found.drop_nulls("decile")
    assert known["n"].sum() == len(actual)
    assert known["n"].max() - known["n"].min() <= 1
    assert known["mean_actual"].is_sorted()


def test_errors_are_counted_by_bins(rows: PricedRows) -> None:
    found = rows.errors()
    frame = rows.page(limit=10_000).frame.drop_nulls("actual_price")
    error = (frame["predicted_price"] / frame["actual_price"] - 1).to_numpy()
    assert found["n"].sum() == len(error)
    assert (found["low"][0], found["high"][-1]) == (None, None)
    for low, high, n in found.rows():
        assert n == np.sum((error >= (-np.inf if low is None else low)) & (error < (np.inf if high is None else high)))
    assert rows.errors(Selection(regions=("nowhere",)))["n"].sum() == 0


def test_errors_beyond_all_numbers_are_in_the_outer_bins(config: DatasetConfig) -> None:
    frame = month_frame("2022-03", 4).with_columns(
        actual_price=pl.Series([1e-300, 1e-300, 0.0, None]), predicted_price=pl.Series([1e300, -1e300, 1.0, 1.0])
    )
    assert priced(config, {"2022-03": frame}).errors()["n"].to_list() == [1, *[0] * 40, 1]


def test_rows_from_all_over_are_as_many_as_asked_for(rows: PricedRows) -> None:
    whole = rows.page(limit=10_000, sort="predicted_price").frame
    some = rows.page(limit=7, sort="predicted_price", spread=True)
    assert (some.frame.height, some.total) == (7, whole.height)
    assert some.frame.rows() == [whole.row(i * whole.height // 7) for i in range(7)]
    assert rows.page(limit=10_000, sort="predicted_price", spread=True).frame.equals(whole)


def test_what_cannot_be_said_is_null(config: DatasetConfig) -> None:
    frame = month_frame("2022-03", 2).with_columns(
        actual_price=pl.Series([None, None], dtype=pl.Float64), predicted_price=pl.Series([1e300, -1e300])
    )
    found = priced(config, {"2022-03": frame}).summary("region").row(0, named=True)
    assert (found["n"], found["n_without_actual"]) == (1, 1)
    assert (found["mae"], found["mean_actual"], found["coverage_80"]) == (None, None, None)
    huge = frame.with_columns(actual_price=pl.Series([-1e300, 1e300]))
    found = priced(config, {"2022-03": huge}).summary().row(0, named=True)
    assert found["rmse"] is None, "too large for a number, and no JSON has infinity"
    assert found["mae"] == pytest.approx(2e300)


def test_rows_are_selected_by_region_place_and_month(rows: PricedRows) -> None:
    def total(**selection: object) -> int:
        return rows.page(Selection(**selection)).total  # type: ignore[arg-type]

    assert total() == 80
    assert total(regions=(BOSTON,)) == 40
    assert total(regions=("Boston-Cambridge, MA", BOSTON.upper())) == 40, "spelled as a caller likes"
    assert total(regions=(BOSTON, DENVER, "atlantis")) == 80
    assert total(regions=("atlantis",)) == total(places=("99999",)) == 0
    assert total(places=("2101", "02102")) == 8
    assert total(places=("02101",), regions=(BOSTON,)) in (0, 4)
    assert total(first="2022-01") == 60
    assert total(last="2022-01") == 40
    assert total(first="2022-01", last="2022-02", places=("02101",)) == 2
    assert total(first="2030-01") == total(last="2000-01") == total(first="2022-02", last="2022-01") == 0
    assert rows.summary("month", Selection(first="2022-02")).get_column("month").to_list() == ["2022-02", "2022-03"]
    assert rows.summary("region", Selection(regions=(DENVER,))).get_column("region").to_list() == [DENVER]
    assert rows.summary("month", Selection(places=("99999",))).height == 0
    assert rows.summary("none", Selection(places=("99999",))).row(0, named=True)["mae"] is None


def test_pages_are_cut_out_of_one_order(rows: PricedRows) -> None:
    whole = rows.page(limit=1000)
    assert whole.frame.columns == month_frame("2022-03", 1).columns
    assert whole.frame["date"].is_sorted()
    pages = [rows.page(offset=offset, limit=7) for offset in range(0, 80, 7)]
    assert pl.concat([page.frame for page in pages]).equals(whole.frame)
    assert {page.total for page in pages} == {80}
    assert rows.page(offset=1000).frame.height == 0
    assert rows.page(limit=0).total == 80


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", month_frame("2022-03", 1).columns)
@pytest.mark.parametrize("regions", [(), (BOSTON,)])
def test_rows_are_sorted_by_any_column_and_equal_ones_keep_their_order(
    rows: PricedRows, sort: str, descending: bool, regions: tuple[str, ...]
) -> None:
    selection = Selection(regions=regions)
    plain = rows.page(selection, limit=1000).frame.rows(named=True)
    known = [row for row in plain if row[sort] is not None]
    # Python's sort is stable in both directions.
    wanted = sorted(known, key=lambda row: row[sort], reverse=descending)
    wanted += [row for row in plain if row[sort] is None]
    found = rows.page(selection, sort=sort, descending=descending, limit=1000).frame
    assert found.rows(named=True) == wanted
    part = rows.page(selection, sort=sort, descending=descending, offset=3, limit=5)
    assert part.frame.rows(named=True) == wanted[3:8]


def test_a_summary_is_sorted_and_cut(rows: PricedRows) -> None:
    whole = rows.summary("month,region")
    page = rows.summary_page("month,region", sort="mae", descending=True, offset=1, limit=3)
    assert (page.total, page.offset) == (8, 1)
    assert page.frame["mae"].to_list() == sorted(whole["mae"].to_list(), reverse=True)[1:4]
    assert rows.summary_page("month,region").frame.equals(whole)
    by_n = rows.summary_page("month,region", sort="n").frame
    assert by_n.equals(whole), "equal ones stay in order"
    assert rows.summary_page("month", sort="region", descending=True).frame.equals(rows.summary("month"))
    groups = {"month", "year", "region", "place", "decile"}
    assert rows.summary("none").columns == [one for one in summary_columns(rows.layout) if one not in groups]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda rows: rows.page(sort="secret"), "sort: 'secret' is not one of zipcode, date"),
        (lambda rows: rows.page(sort="__month"), "sort: '__month' is not one of"),
        (
            lambda rows: rows.summary_page("month", sort="zipcode"),
            "sort: 'zipcode' is not one of month, year, region, place, decile, n, ",
        ),
        (lambda rows: rows.page(Selection(first="2022-13")), "from: '2022-13' is not a month: write it as 2022-01"),
        (lambda rows: rows.summary("none", Selection(last="now")), "to: 'now' is not a month"),
    ],
)
def test_what_cannot_be_asked_is_refused(rows: PricedRows, ask: object, said: str) -> None:
    assert callable(ask)
    with pytest.raises(DataError, match=said):
        ask(rows)


def test_the_latest_month(rows: PricedRows) -> None:
    page = rows.latest(7)
    assert (page.total, page.frame.height) == (20, 7)
    assert page.frame["date"].dt.strftime("%Y-%m").unique().to_list() == ["2022-03"]
    assert rows.latest(1000).frame.height == 20
    assert rows.months == MONTHS


def test_nothing_yet_is_no_rows(config: DatasetConfig) -> None:
    nothing = priced(config, {})
    assert nothing.page(sort="zipcode").frame.columns == month_frame("2022-03", 1).columns
    assert nothing.latest().total == 0
    assert nothing.summary("month,region").height == 0
    assert nothing.summary().row(0, named=True)["n"] == 0
    assert nothing.page(Selection(regions=(BOSTON,), first="2022-01")).total == 0


def test_classes_are_counted_and_judged_by_accuracy() -> None:
    flowers = priced(load_config("iris"), {"all": flowers_frame()})
    (row,) = flowers.summary().rows(named=True)
    assert row == {"n": 4, "n_without_actual": 1, "accuracy": pytest.approx(2 / 3)}
    assert flowers.latest(2).frame["actual_species"].to_list() == ["setosa", "virginica"]
    assert flowers.page(sort="predicted_species", descending=True, limit=1).frame["predicted_species"][0] == "virginica"
    for by in ("month", "region", "month,region"):
        with pytest.raises(DataError, match="iris have no"):
            flowers.summary(by)  # type: ignore[arg-type]
    for selection in (Selection(regions=("x",)), Selection(places=("x",)), Selection(first="2022-01")):
        with pytest.raises(DataError, match="iris have no"):
            flowers.page(selection)


def test_a_million_rows_take_sixty_bytes_each(config: DatasetConfig) -> None:
    frames = {f"2020-{month:02}": month_frame(f"2020-{month:02}", 5_000) for month in range(1, 13)}
    assert priced(config, frames).frame.estimated_size() / 60_000 < 60


def test_answers_do_not_change_what_is_kept(rows: PricedRows) -> None:
    before = rows.frame.clone()
    rows.page(sort="predicted_price", limit=10).frame.with_columns(pl.lit(0.0).alias("predicted_price"))
    rows.summary("month,region")
    assert rows.frame.equals(before)
    assert not np.isnan(rows.frame["actual_price"].to_numpy()[:-1]).all()
