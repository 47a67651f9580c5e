"""The simulated market: HouseTS's shape and traps, a known floor, and a command that writes it whole or not at all."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from src.core.cli import run_command
from src.core.config import DatasetConfig
from src.core.errors import ConfigError
from src.feature_pipeline import simulate
from src.feature_pipeline.market import METROS, PLACES, PRICE_NOISE, draw_zips, log_value, share_out

ACS = ["Total Population", "Median Age", "Per Capita Income", "Median Rent", "Median Home Value", "Median Commute Time"]
SALES = ["median_sale_price", "median_list_price", "median_ppsf", "homes_sold", "inventory", "avg_sale_to_list"]


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return simulate.simulate(zips=120, seed=7)


def test_columns_are_those_of_housets_in_their_order(market: pl.DataFrame, config: DatasetConfig) -> None:
    assert market.columns == list(config.columns)
    assert market.shape == (120 * 142, 39)
    assert market["date"].head(1).item() == "2012-03-31"
    assert market["date"].tail(1).item() == "2023-12-31"


def test_types_survive_the_csv_and_equal_those_of_the_real_file(tmp_path: Path, real_housets: Path) -> None:
    rows = simulate.write_csv(tmp_path / "market.csv", zips=30, months=20, seed=3)
    back = pl.read_csv(tmp_path / "market.csv")
    assert rows == 600
    assert back.schema == pl.read_csv(real_housets).schema
    assert back.equals(simulate.simulate(30, 20, 3))


def test_the_seed_decides_everything() -> None:
    assert simulate.simulate(40, 24, 5).equals(simulate.simulate(40, 24, 5))
    assert not simulate.simulate(40, 24, 5).equals(simulate.simulate(40, 24, 6))


def test_metros_have_their_proportions(market: pl.DataFrame) -> None:
    assert share_out(6226).tolist() == [metro[2] for metro in METROS]
    assert share_out(400).sum() == 400
    per_metro = dict(market.group_by("city").agg(pl.col("zipcode").n_unique()).iter_rows())
    assert per_metro["NY"] == 16
    assert len(per_metro) == 30


def test_zip_codes_are_distinct_even_at_the_largest_size() -> None:
    places = draw_zips(simulate.ALLOWED["zips"][1], np.random.default_rng(0))
    assert len(np.unique(places.zipcode)) == len(places.zipcode) == 10_000
    assert places.zipcode.min() >= 1000
    assert places.zipcode.max() <= 99_999


def test_prefixes_belong_to_one_metro_only() -> None:
    prefixes = [prefix for metro in METROS for prefix in metro[4].split()]
    assert len(prefixes) == len(set(prefixes))


def test_leading_zeros_are_lost(market: pl.DataFrame) -> None:
    assert market.schema["zipcode"] == pl.Int64
    assert market.filter(pl.col("zipcode") < 10_000).height > 0


def test_zero_stands_for_missing(market: pl.DataFrame) -> None:
    silent = market.filter(pl.col("homes_sold") == 0)
    assert 0 < silent.height < 0.02 * market.height
    assert silent.select(pl.all_horizontal(pl.col(SALES) == 0).all()).item()
    assert market.filter((pl.col("inventory") == 0) & (pl.col("homes_sold") > 0)).height > 0
    assert sum(market.null_count().row(0)) == 0


def test_some_zip_codes_have_no_acs_in_any_month(market: pl.DataFrame) -> None:
    without = market.group_by("zipcode").agg((pl.col(ACS) == 0).mean())
    assert set(without["Total Population"]) == {0.0, 1.0}
    assert without.filter(pl.col("Total Population") == 1).select(pl.all_horizontal(pl.col(ACS) == 1).all()).item()


def test_duplicates_are_exact_and_stay_in_their_split(market: pl.DataFrame) -> None:
    twice = market.filter(market.is_duplicated())
    assert market.height - market.unique().height == 17040 // 500
    for first, second in (("2019-12-31", "2020-01-31"), ("2021-12-31", "2022-01-31")):
        assert market.filter(pl.col("date") == first).height <= 120
        assert market.filter(pl.col("date") == second).height >= 120
    assert twice.height >= 2 * 34


def test_some_list_prices_are_absurd(market: pl.DataFrame) -> None:
    assert market["median_list_price"].max() == 999_999_999
    assert 3 <= market.filter(pl.col("median_list_price") > 19_000_000).height < 20


def test_names_are_as_odd_as_in_housets(market: pl.DataFrame) -> None:
    assert market.filter(pl.col("city") == "DC")["city_full"].unique().to_list() == ["DC_Metro"]
    assert market["Total School Age Population"].equals(market["Total School Enrollment"], null_equal=False)
    assert market.filter(pl.col("Median Commute Time") > 1000).height > market.height / 2


def test_without_traps_nothing_is_missing_twice_or_absurd() -> None:
    clean = simulate.simulate(60, 60, 1, traps=False)
    truly_zero = {*PLACES, "pending_sales", "sold_above_list", "off_market_in_two_weeks"}
    assert clean.unique().height == clean.height
    numbers = clean.select(pl.col(pl.Float64).exclude(truly_zero))
    assert numbers.select(pl.all().min()).min_horizontal().item() > 0
    assert clean["median_list_price"].max() < 19_000_000  # type: ignore[operator]


def test_the_floor_is_the_error_of_the_best_prediction() -> None:
    rng = np.random.default_rng(1)
    value, _ = log_value(draw_zips(300, rng), 142, rng)
    noise = rng.normal(0, PRICE_NOISE, value.shape)
    errors = {c: np.abs(np.exp(c * PRICE_NOISE**2 - noise) - 1).mean() for c in (-3.0, -1.0, 1.0)}
    assert errors[-1.0] == pytest.approx(simulate.IRREDUCIBLE_MAPE, rel=0.01)
    assert errors[-1.0] == min(errors.values())
    assert pytest.approx(0.0478, abs=1e-4) == simulate.irreducible_mape()
    assert simulate.irreducible_mape(0.1) > simulate.irreducible_mape(0.05)


def test_prices_boom_in_2021(market: pl.DataFrame) -> None:
    by_year = dict(market.group_by("year").agg(pl.col("price").log().mean()).iter_rows())
    assert by_year[2022] - by_year[2020] > 0.2
    assert by_year[2022] - by_year[2020] > 2 * (by_year[2019] - by_year[2017])


def test_only_the_sale_price_sees_the_noise() -> None:
    rows = simulate.simulate(400, 60, 2, traps=False)
    logs = pl.col("price", "median_sale_price", "median_ppsf", "median_list_price").log()
    change = rows.select(logs.diff().over("zipcode")).drop_nulls()
    surprise = change["price"] - change["median_list_price"]
    seen = np.corrcoef(surprise, change["median_sale_price"] - change["median_list_price"])[0, 1]
    blind = np.corrcoef(change["price"], change["median_ppsf"])[0, 1]
    assert seen > 0.5 > abs(blind)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("simulate:zips=6226,months=142,seed=7", {"zips": 6226, "months": 142, "seed": 7}),
        ("simulate:", {"zips": 400, "months": 142, "seed": 7}),
        ("simulate: zips = 12 , seed=0", {"zips": 12, "months": 142, "seed": 0}),
    ],
)
def test_a_source_reads_as_arguments(source: str, expected: dict[str, int]) -> None:
    assert simulate.parse_source(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("simulate:zip=3", "'zip' is not an option; allowed: zips from 1 to 10,000"),
        ("simulate:zips=3,zips=4", "'zips' is given twice"),
        ("simulate:zips=many", "zips='many' is not a whole number"),
        ("simulate:zips", "zips='' is not a whole number"),
        ("simulate:zips=0", "zips must be from 1 to 10,000, not 0"),
        ("simulate:months=9999", "months must be from 1 to 240, not 9,999"),
        ("simulate:seed=-1", "seed must be from 0"),
        ("pretend:zips=3", "expected simulate:zips=400"),
    ],
)
def test_nonsense_names_what_is_allowed(source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        simulate.parse_source(source)


def test_sizes_are_checked_without_a_source_too() -> None:
    with pytest.raises(ConfigError, match="zips must be from 1 to 10,000, not 20,000"):
        simulate.simulate(zips=20_000)


@pytest.mark.parametrize("size", [(1, 1), (1, 142), (2, 3), (400, 1)])
def test_the_smallest_markets_work(size: tuple[int, int]) -> None:
    assert simulate.simulate(*size).height == size[0] * size[1]


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    output = tmp_path / "new" / "market.csv"
    assert run_command(simulate.main, ["--output", str(output), "--zips", "5", "--months", "3"]) == 0
    assert pl.read_csv(output).height == 15


def test_a_wrong_size_leaves_the_old_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "market.csv"
    output.write_text("old")
    assert run_command(simulate.main, ["--output", str(output), "--months", "0"]) == 2
    assert "months must be from 1 to 240, not 0" in capsys.readouterr().err
    assert output.read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_disk_that_is_full_ends_the_command_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "market.csv"
    full = tmp_path / f".market.{simulate.__name__}.csv"
    full.symlink_to("/dev/full")
    monkeypatch.setattr("src.core.files.Path.with_name", lambda *_: full)
    assert run_command(simulate.main, ["--output", str(output), "--zips", "20"]) == 1
    assert not output.exists()
