"""Recipes of texts and coordinates: what real values become, and the same bits in a frame and in a row."""

import math
import tracemalloc
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core.config import DatasetConfig
from src.feature_pipeline import feature_engineering, load, preprocess
from src.feature_pipeline.rows import RowEncoder
from src.feature_pipeline.transforms import Tables
from tests.factories import homes_config

NAN = math.nan
CONFIG = homes_config()
ENCODER = RowEncoder(CONFIG, {})
Encoded = tuple[np.ndarray, list[str]]


def through_frame(
    rows: list[dict[str, Any]], config: DatasetConfig = CONFIG, tables: Tables = MappingProxyType({})
) -> Encoded:
    kinds = {"number": pl.Float64, "text": pl.String, "date": pl.String}
    schema = {name: kinds[config.columns[name].type] for name in config.raw_inputs}
    typed = load.typed(pl.LazyFrame(rows, schema=schema), config, "test")
    clean = preprocess.clean(typed.lazy(), config, tables)
    X = feature_engineering.encode(clean, config, tables).collect().to_numpy(order="c")
    return X, feature_engineering.flag(clean, config, tables).collect()["flags"].to_list()


def bits(X: np.ndarray) -> np.ndarray:
    """Every NaN alike, every other value by its bits."""
    return np.where(np.isnan(X), np.uint32(0x7FC00000), X.view(np.uint32))


def home(**values: Any) -> dict[str, Any]:
    return {name: values.get(name) for name in CONFIG.raw_inputs} | {"day": "2020-01-31"}


def features(**values: Any) -> dict[str, float]:
    """Encode one row both ways, hold that they agree, and name the features."""
    X, flags = ENCODER.encode([home(**values)])
    wanted, wanted_flags = through_frame([home(**values)])
    assert np.array_equal(bits(X), bits(wanted))
    assert flags == wanted_flags
    return dict(zip(CONFIG.feature_names, X[0].tolist(), strict=True)) | {"flags": flags[0]}


def same(found: list[float], wanted: list[float]) -> bool:
    return np.array_equal(found, wanted, equal_nan=True)


@pytest.mark.parametrize(
    ("floor", "number", "of"),
    [
        ("1 out of 2", 1, 2),
        ("Ground out of 2", 0, 2),
        ("Upper Basement out of 4", -1, 4),
        ("Lower Basement out of 19", -2, 19),
        ("45 out of 78", 45, 78),
        ("3", 3, NAN),
        ("Ground", 0, NAN),
        ("  GROUND   out\u00a0of 1 ", 0, 1),
        ("underground out of 2", NAN, 2),
        ("Grounds out of 2", NAN, 2),
        ("", NAN, NAN),
        (None, NAN, NAN),
    ],
)
def test_floors_of_indian_rents(floor: str | None, number: float, of: float) -> None:
    found = features(floor=floor)
    assert same([found["floor_number"], found["floors"]], [number, of])


@pytest.mark.parametrize(
    ("garden", "size"),
    [
        ("Present (47 m²)", 47),
        ("Present (42 m², located on the west)", 42),
        ("Present (500 m², located on the west)", 500),
        ("Not present", 0),
        ("Present", NAN),
        (None, NAN),
    ],
)
def test_gardens_of_amsterdam(garden: str | None, size: float) -> None:
    assert same([features(garden=garden)["garden_m2"]], [size])


@pytest.mark.parametrize(
    ("plot", "size"),
    [
        ("1.250,5 m2", 1250.5),
        ("12,5", 12.5),
        ("1.234.567", 1_234_567),
        ("-3", -3),
        ("007", 7),
        ("half a hectare", 0.5),
        ("half/half", 0.5),
        ("1.5", NAN),  # in this column a point groups thousands: 1.5 is neither 15 nor one and a half
        ("12.34,5", NAN),
        ("1,2,3", NAN),
        ("5-3", 5),
        ("--", NAN),
        ("...", NAN),
        ("\u0663", NAN),  # an Arabic three, which Python would read and Polars would not
        ("9" * 38, np.float32(1e38)),
        ("9" * 39, NAN),
        ("9" * 400, NAN),
    ],
)
def test_numbers_are_read_as_the_column_writes_them_or_not_at_all(plot: str, size: float) -> None:
    assert same([features(plot=plot)["plot_m2"]], [size])


@pytest.mark.parametrize(
    ("energy", "rank", "flags"),
    [
        ("C", 0, ""),
        ("A", 2, ""),
        (" A+ ", 3, ""),
        ("A++", 4, ""),
        ("A+++++", NAN, "unknown_energy"),
        ("a", NAN, "unknown_energy"),
        (None, NAN, ""),
    ],
)
def test_energy_labels(energy: str | None, rank: float, flags: str) -> None:
    found = features(energy=energy)
    assert same([found["energy_rank"]], [rank])
    assert found["flags"] == flags


@pytest.mark.parametrize(
    ("status", "codes", "flags"),
    [
        ("Semi-Furnished", [0, 1, 0], ""),
        ("Unfurnished", [0, 0, 1], ""),
        ("  FURNISHED", [1, 0, 0], ""),
        ("Semi–Furnished", [0, 1, 0], ""),
        ("bare", [0, 0, 0], "unknown_status"),
        ("", [0, 0, 0], "unknown_status"),
        (None, [NAN, NAN, NAN], ""),
    ],
)
def test_one_hot_of_a_tidied_column(status: str | None, codes: list[float], flags: str) -> None:
    found = features(status=status)
    assert same([found[f"status_{name}"] for name in ("furnished", "semi_furnished", "unfurnished")], codes)
    assert found["flags"] == flags


@pytest.mark.parametrize(
    ("coast", "codes", "flags"),
    [
        ("<1H OCEAN", [1, 0, 0], ""),
        ("NEAR BAY", [0, 0, 1], ""),
        ("ISLAND", [0, 0, 0], "unknown_coast"),
        ("near bay", [0, 0, 0], "unknown_coast"),
    ],
)
def test_one_hot_of_a_column_that_is_not_tidied_minds_case(coast: str, codes: list[float], flags: str) -> None:
    found = features(coast=coast)
    assert [found[f"coast_{name}"] for name in ("1h_ocean", "inland", "near_bay")] == codes
    assert found["flags"] == flags


@pytest.mark.parametrize(
    ("text", "code", "flags"),
    [
        ("yes", 1, ""),
        ("no", 0, ""),
        ("Yes", 1, ""),
        ("TRUE", 1, ""),
        ("0", 0, ""),
        ("maybe", NAN, "unknown_balcony"),
        ("", NAN, "unknown_balcony"),
        (None, NAN, ""),
    ],
)
def test_yes_and_no(text: str | None, code: float, flags: str) -> None:
    found = features(balcony=text)
    assert same([found["balcony"]], [code])
    assert found["flags"] == flags


def test_the_same_column_can_be_read_twice_and_is_flagged_where_one_reading_does_not_know_it() -> None:
    found = features(garage="Own Garage")
    assert same([found["garage"], found["garage_own"], found["flags"] == "unknown_garage"], [1, NAN, True])


@pytest.mark.parametrize(
    ("facilities", "found"),
    [
        ("Lift, Storage space, Shower, Bath, Toilet", [1, 0, 1, 5]),
        ("Roof terrace,  Bath", [1, 1, 0, 2]),
        ("bath;lift", [0, 0, 0, 1]),
        ("ROOF TERRACE ,LIFT,", [0, 1, 1, 2]),
        ("Bathtub, Roof", [0, 0, 0, 2]),
        ("Bath, Bath", [1, 0, 0, 2]),
        (", ,,", [0, 0, 0, 0]),
        ("", [0, 0, 0, 0]),
        (None, [NAN] * 4),
    ],
)
def test_lists_of_facilities(facilities: str | None, found: list[float]) -> None:
    named = features(facilities=facilities)
    assert same([named[f"facilities_{name}"] for name in ("bath", "roof_terrace", "lift", "count")], found)


def haversine(a: tuple[float, float], b: tuple[float, float]) -> float:
    (lat1, lng1), (lat2, lng2) = (np.radians(a), np.radians(b))
    chord = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lng2 - lng1) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(chord))


@pytest.mark.parametrize("place", [(37.88, -122.23), (37.34, -121.89), (38.58, -121.49), (37.77, -122.42)])
def test_distances_are_near_those_on_the_sphere(place: tuple[float, float]) -> None:
    found = features(lat=place[0], lng=place[1])
    assert found["km_to_sf"] == pytest.approx(haversine(place, (37.77, -122.42)), rel=0.005, abs=1e-9)
    assert found["km_to_city"] == found["km_to_sf"] < found["km_to_la"]


@pytest.mark.parametrize("place", [(None, -122.0), (37.0, None), (90.1, 0.0), (0.0, 180.5), (1e30, 1e30)])
def test_what_is_no_place_has_no_distance(place: tuple[float, float]) -> None:
    found = features(lat=place[0], lng=place[1])
    assert all(math.isnan(found[name]) for name in ("km_to_sf", "km_to_la", "km_to_city"))


def test_turned_axes() -> None:
    found = features(lat=1.0, lng=math.sqrt(3))
    turned = [found[f"lng_rotated_{degrees}"] for degrees in ("30", "45", "67.5")]
    assert turned == pytest.approx([2, 2 * math.cos(math.radians(15)), 2 * math.cos(math.radians(37.5))])
    large = features(lat=3.4e38, lng=3.4e38)
    assert all(math.isnan(large[f"lng_rotated_{degrees}"]) for degrees in ("30", "45", "67.5"))
    assert math.isnan(features(lat=1.0)["lng_rotated_30"])


def test_a_text_of_a_million_characters() -> None:
    long = "1 out of 2, bath " * 60_000
    found = features(floor=long, facilities=long, garden=long, plot=long)
    assert [found["floor_number"], found["facilities_count"], found["plot_m2"]] == [1, 60_001, 1]


def test_long_texts_do_not_stay_in_memory() -> None:
    encoder = RowEncoder(CONFIG, {})
    tracemalloc.start()
    for i in range(50):
        encoder.encode([home(floor=f"{i} " + "x" * 200_000)])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000


def test_a_place_that_the_lookup_table_leaves_empty_is_missing() -> None:
    sections = {"lookup": {"table": "places.csv", "by": "coast", "add": ["up", "across"]}}
    distance = {"recipe": "distance", "latitude": "up", "longitude": "across", "points": {"sf": [37.77, -122.42]}}
    config = homes_config(**sections, features=[distance, {"recipe": "numbers", "columns": ["up"]}])
    tables = {"lookup": {"table": {"INLAND": [None, -120], "NEAR BAY": [37, -122]}}}
    rows = [{"coast": coast, "day": "2020-01-31"} for coast in ("INLAND", "NEAR BAY", "ISLAND", None)]
    X, flags = RowEncoder(config, tables).encode(rows)
    wanted, wanted_flags = through_frame(rows, config, tables)
    assert np.array_equal(bits(X), bits(wanted))
    assert np.isnan(X[:, 0]).tolist() == [True, False, True, True]
    assert flags == wanted_flags == ["", "", "unknown_coast", "unknown_coast"]


PIECES = [
    "Ground",
    "ground",
    "upper basement",
    "out of",
    "Present (47 m²)",
    "bath",
    "Roof Terrace",
    "lift",
    "half",
    "yes",
]
PIECES += ["A+", "INLAND", "12", "-3", "1.250,5", ",", ", ", ".", " ", "\u00a0", "\t", "–", "²", "\u2028"]


def text() -> st.SearchStrategy[str | None]:
    return st.none() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6).map("".join)


def number() -> st.SearchStrategy[float | None]:
    return st.none() | st.sampled_from([NAN, -0.0, 3e38, -3e38, 90.0, -122.42]) | st.floats(-200, 200)


def rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    kinds = {"text": text(), "number": number(), "date": st.just("2020-01-31")}
    fields = {name: kinds[CONFIG.columns[name].type] for name in CONFIG.raw_inputs}
    return st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=5)


@settings(deadline=None)  # on a busy machine a frame takes its time
@given(rows())
def test_one_row_and_a_frame_give_the_same_bits(made: list[dict[str, Any]]) -> None:
    X, flags = ENCODER.encode(made)
    wanted, wanted_flags = through_frame(made)
    assert np.array_equal(bits(X), bits(wanted))
    assert flags == wanted_flags
    assert not np.isinf(X).any()


def test_a_model_without_categories_flags_nothing() -> None:
    config = homes_config(features=[{"recipe": "numbers", "columns": ["lat"]}])
    made = [{"lat": 1.0, "day": "2020-01-31"}] * 3
    assert RowEncoder(config, {}).encode(made)[1] == through_frame(made, config)[1] == ["", "", ""]
