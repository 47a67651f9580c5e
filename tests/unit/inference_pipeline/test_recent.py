"""The newest row of each place: what is chosen, what is passed over, and how it is found again."""

from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from src.api.contract import RowContract, examples
from src.core.config import DatasetConfig, Settings, load_config
from src.core.errors import BundleError
from src.core.spelling import spelled
from src.feature_pipeline import load, sources, splits
from src.inference_pipeline.recent import RecentRows, newest
from tests.conftest import SHARED
from tests.factories import homes_config, homes_frame, housets_splits

HOUSETS = load_config("housets")


def lazy(parts: dict[str, pl.DataFrame]) -> list[pl.LazyFrame]:
    return [part.lazy() for part in parts.values()]


def chosen(parts: list[pl.LazyFrame], config: DatasetConfig, **options: Any) -> pl.DataFrame:
    found = newest(parts, config, **options)
    assert found is not None
    return found


def as_file(frame: pl.DataFrame) -> bytes:
    stream = BytesIO()
    frame.write_parquet(stream)
    return stream.getvalue()


def homes(*rows: tuple[str | None, str | None, str | None, float | None]) -> tuple[list[pl.LazyFrame], DatasetConfig]:
    """Make homes of (place, region, day, latitude), one a split."""
    config = homes_config(place="garden", region="status", columns=COLUMNS, keys=[])
    frame = homes_frame(len(rows)).with_columns(
        pl.Series("garden", [row[0] for row in rows], pl.String),
        pl.Series("status", [row[1] for row in rows], pl.String),
        pl.Series("day", [row[2] and date.fromisoformat(row[2]) for row in rows], pl.Date),
        pl.Series("lat", [row[3] for row in rows], pl.Float64),
        pl.lit(0.0).alias("lng"),
        pl.lit(1.0).alias("price"),
        *(pl.lit("a").alias(name) for name in TEXTS),
    )
    return [frame[[i]].lazy() for i in range(len(rows))], config


TEXTS = ("floor", "coast", "energy", "plot", "facilities", "balcony", "garage")
COLUMNS: dict[str, Any] = {
    "day": "date",
    "price": "number",
    "garden": {"type": "text", "tidy": True, "nullable": True},
    "status": {"type": "text", "tidy": True, "nullable": True},
    "garage": {"type": "text", "tidy": True, "renames": {"own garage": "yes"}},
    "lat": {"type": "number", "min": -90, "max": 90},
    "lng": "number",
    **dict.fromkeys(("floor", "coast", "energy", "plot", "facilities", "balcony"), "text"),
}


def test_each_place_has_its_newest_row_and_no_target() -> None:
    parts = housets_splits(1_500)
    found = chosen(lazy(parts), HOUSETS)
    rows = pl.concat(parts.values())
    last = dict(rows.group_by("zipcode").agg(pl.col("date").max()).iter_rows())
    assert dict(found.select("zipcode", "date").iter_rows()) == last
    assert set(found.columns) == set(HOUSETS.raw_inputs)
    assert not {HOUSETS.target.column, *HOUSETS.leakage} & set(found.columns)
    assert found.join(rows, on=found.columns, how="semi", nulls_equal=True).height == found.height, "rows are real ones"
    assert as_file(found) == as_file(chosen(lazy(parts), HOUSETS))


@pytest.mark.parametrize("name", ["california", "iris"])
def test_a_data_set_without_places_has_none(name: str) -> None:
    assert newest([], load_config(name)) is None


def test_the_newest_is_found_in_any_split_and_of_one_day_the_last() -> None:
    parts, config = homes(
        ("Roof", "A", "2021-01-01", 1.0),
        ("roof ", "a", "2023-01-01", 2.0),
        ("roof", "a", "2022-01-01", 3.0),
        ("roof", "b", "2020-01-01", 4.0),
        ("roof", "b", "2020-01-01", 5.0),
    )
    found = chosen(parts, config)
    assert found["lat"].to_list() == [2.0, 5.0], "a place is one within its region, however it is spelled"
    rows = RecentRows(as_file(found), config)
    assert rows.places() == {"a": ["roof"], "b": ["roof"]}
    newest_one, of_b = rows.of("ROOF"), rows.of("roof", "B")
    assert newest_one is not None
    assert of_b is not None
    assert (newest_one.region, newest_one.month, newest_one.row["lat"]) == ("a", "2023-01", 2.0)
    assert (of_b.region, of_b.month, of_b.row["lat"]) == ("b", "2020-01", 5.0)


def test_without_dates_the_last_row_is_the_newest() -> None:
    parts, config = homes(("roof", "a", "2023-01-01", 1.0), ("roof", "a", "2021-01-01", 2.0))
    undated = config.model_copy(
        update={"split": load_config("amsterdam_rent").split, "columns": config.columns, "features": config.features}
    )
    found = chosen(parts, undated)
    assert found["lat"].to_list() == [2.0]
    row = RecentRows(as_file(found), undated).of("roof")
    assert row is not None
    assert row.month is None


def test_rows_that_may_not_be_sent_are_passed_over() -> None:
    parts, config = homes(
        ("roof", "a", "2020-01-01", 1.0),
        ("roof", "a", "2021-01-01", None),  # nothing says how a missing latitude is written
        ("roof", "a", "2022-01-01", 91.0),
        ("yard", "a", "2020-01-01", None),
        ("", "a", "2020-01-01", 1.0),
        (None, "a", "2020-01-01", 1.0),
    )
    found = chosen(parts, config)
    assert found.select("garden", "lat").rows() == [("roof", 1.0)]


def test_a_place_without_a_region_is_known_too() -> None:
    parts, config = homes(("roof", None, "2020-01-01", 1.0), ("yard", "a", "2020-01-01", 2.0))
    rows = RecentRows(as_file(chosen(parts, config)), config)
    assert rows.places() == {"a": ["yard"], None: ["roof"]}
    assert rows.places(["A"]) == {"a": ["yard"]}
    found = rows.of("roof")
    assert found is not None
    assert found.region is None
    assert rows.of("roof", "a") is None


def test_of_too_many_places_those_with_most_rows_stay() -> None:
    parts = housets_splits(1_500)
    rows = pl.concat(parts.values()).group_by("zipcode").len().sort("len", "zipcode", descending=[True, False])
    found = chosen(lazy(parts), HOUSETS, most=3)
    assert sorted(found["zipcode"]) == sorted(rows["zipcode"].head(3))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("housets", "housets/HouseTS_sample.csv"),
        ("dc_house", "housets/DC_House.csv"),
        ("india_rent", "india_rent/House_Rent_Dataset.csv"),
        ("amsterdam_rent", "amsterdam_rent/rent_apartments.sqlite"),
    ],
)
def test_every_row_of_the_real_data_is_one_that_predict_takes(name: str, file: str, tmp_path: Path) -> None:
    path = SHARED / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    config = load_config(name)
    rows = load.read(sources.resolve(str(path), config, Settings(workspace=tmp_path), tmp_path), config)
    found = RecentRows(as_file(chosen(lazy(splits.split(rows, config)), config)), config)
    contract, known = RowContract(config), set[str]()
    for region, names in found.places().items():
        for place in names:
            one = found.of(place, region)
            assert one is not None
            contract.check(examples([one.row], config))
        known |= {*names}
    column = config.columns[config.place or ""]
    assert known == {spelled(name, column) for name in rows[config.place].unique()}, "no place is left out"


def test_rows_of_another_config_are_refused() -> None:
    with pytest.raises(BundleError, match=r"recent\.parquet does not hold the rows of housets"):
        RecentRows(as_file(pl.DataFrame({"x": [1]})), HOUSETS).places()
