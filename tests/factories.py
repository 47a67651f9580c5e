"""Small seeded frames for tests."""

from typing import Any

import numpy as np
import polars as pl
import yaml

from src.core.config import DatasetConfig, load_config, parse_config
from src.core.strict_yaml import StrictLoader
from src.feature_pipeline import load, splits
from src.feature_pipeline.simulate import simulate


def housets_frame(rows: int = 200, seed: int = 0, *, traps: bool = True) -> pl.DataFrame:
    """Return `rows` rows as HouseTS's CSV reads, of a few ZIP codes (one of them in New Jersey, so without ACS).

    They are spread over all months, so train, eval and holdout each have some.
    """
    zips = max(3, -(-rows // 142))
    market = simulate(zips, seed=seed, traps=traps)
    return market[[i * market.height // rows for i in range(rows)]]


def housets_splits(rows: int = 600, seed: int = 0, *, traps: bool = True) -> dict[str, pl.DataFrame]:
    """Return typed `train`, `eval` and `holdout` of one small market, as the load stage writes them."""
    config = load_config("housets")
    return splits.split(load.typed(housets_frame(rows, seed, traps=traps).lazy(), config, "test"), config)


# Every recipe that reads texts or coordinates, on columns spelled as in the data sets of Indian rents (floor, status),
# Californian house values (coast, coordinates) and Amsterdam rents (the others).
HOMES = r"""
name: homes
title: made-up homes
source: {}
columns:
  day: date
  price: number
  floor: text
  status: {type: text, tidy: true}
  coast: text
  energy: text
  garden: {type: text, tidy: true}
  plot: text
  facilities: text
  balcony: text
  garage: {type: text, tidy: true, renames: {own garage: yes}}
  lat: number
  lng: number
target: {column: price}
keys: [day]
split: {by: time, column: day, eval_from: 2020-01-01, holdout_from: 2022-01-01}
features:
  - {recipe: yes_no, columns: [balcony, garage]}
  - {recipe: yes_no, columns: [garage], yes: [own, ja], no: [nee], suffix: _own}
  - {recipe: ordinal, column: energy, order: [C, B, A, A+, A++], name: energy_rank}
  - {recipe: one_hot, column: status, values: [Furnished, Semi-Furnished, Unfurnished]}
  - {recipe: one_hot, column: coast, values: [<1H OCEAN, INLAND, NEAR BAY]}
  - {recipe: extract, column: floor, pattern: '^(-?\d+)', name: floor_number,
     words: {ground: 0, upper basement: -1, lower basement: -2}}
  - {recipe: extract, column: floor, pattern: 'out of (\d+)$', name: floors}
  - {recipe: extract, column: garden, pattern: '(\d+)(?: m²|$)', name: garden_m2, words: {not present: 0}}
  - {recipe: extract, column: plot, pattern: '(-?[\d.,]+)', name: plot_m2, decimal: ",", words: {half: 0.5}}
  - {recipe: items, column: facilities, items: [Bath, Roof terrace, Lift], count: facilities_count}
  - {recipe: distance, latitude: lat, longitude: lng, points: {sf: [37.77, -122.42], la: [34.05, -118.24]}}
  - {recipe: distance, latitude: lat, longitude: lng, nearest: km_to_city,
     points: {sf: [37.77, -122.42], la: [34.05, -118.24]}}
  - {recipe: rotate, x: lng, y: lat, degrees: [30, 45, 67.5]}
"""


def homes_config(**changed: Any) -> DatasetConfig:
    """Return the config of the made-up homes, with some of its sections replaced."""
    return parse_config(yaml.safe_dump({**yaml.load(HOMES, StrictLoader), **changed}, sort_keys=False), "homes")


def homes_frame(rows: int = 200, seed: int = 0) -> pl.DataFrame:
    """Return typed and clean rows of the made-up homes: real and odd spellings, and coordinates, in any combination."""
    random = np.random.default_rng(seed)
    spellings: dict[str, list[str | None]] = {
        "floor": ["1 out of 2", "Ground out of 3", "Lower Basement out of 19", "GROUND", "ground ground", "45\u2028"],
        "status": ["furnished", "semi-furnished", "bare", ""],
        "coast": ["<1H OCEAN", "NEAR BAY", "near bay"],
        "energy": ["A", "A++", "a"],
        "garden": ["present (47 m²)", "present (42 m², located on the west)", "not present", "present", "²"],
        "plot": ["1.250,5 m2", "half", "1.5", "-0", "half-half", "9" * 39, "9" * 400, "\u0663"],
        "facilities": ["Lift, Storage space, Bath", "roof terrace", " , ,", "", "bath;lift", "Bath,, Bath\u00a0,"],
        "balcony": ["yes", "No", "maybe"],
        "garage": ["yes", "no", "own"],
    }
    columns = {name: random.choice([*known, None], rows).tolist() for name, known in spellings.items()}
    numbers = [None, -0.0, 37.77, -118.24, 90.0, 180.0, 181.0, 3e38, -3e38]
    places = {name: random.choice(numbers, rows).tolist() for name in ("lat", "lng")}
    return pl.DataFrame({**columns, **places}, dict.fromkeys(columns, pl.String) | dict.fromkeys(places, pl.Float64))
