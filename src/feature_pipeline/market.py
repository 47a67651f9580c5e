"""How the simulated market works: its metros, its ZIP codes, and every column drawn from them.

How a price comes about, for ZIP code z in month t (all in logs):

    value[z, t] = metro level + ZIP-3 level + 0.28 affluence + 0.05 density + 0.5 home size + own taste
                  + cycle[metro, t] + season[month]
    price[z, t] = exp(value[z, t] + e),  e ~ Normal(0, PRICE_NOISE), independent

The cycle climbs until mid 2020, booms until mid 2022, then slips. Every other column is drawn from `value` and the
ZIP's traits with errors of its own; only `median_sale_price` sees `e`, which is why it leaks. So nobody who predicts
from the other columns can expect a smaller MAPE than `simulate.irreducible_mape()`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRICE_NOISE = 0.06

# City code, metro, ZIP codes in HouseTS, typical 2017 price in 1,000 USD, ZIP-3 prefixes (each in one metro only).
METROS: tuple[tuple[str, str, int, int, str], ...] = (
    ("NY", "New York-Newark-Jersey City", 830, 480, "070 117 105 114 076 112 100 077 119 115 104 074 109 113 088 078"),
    ("CHI", "Chicago-Naperville-Elgin", 376, 210, "604 601 606 600 463 605 531 464"),
    ("LA", "Los Angeles-Long Beach-Anaheim", 360, 670, "900 926 913 928 902 917 912 910"),
    ("PHL", "Philadelphia-Camden-Wilmington", 334, 250, "191 080 190 189 193 194 197 081"),
    ("DC", "DC_Metro", 314, 415, "201 220 223 208 221 206 227"),
    ("PGH", "Pittsburgh", 296, 130, "150 156 152 154 160 153"),
    ("BOS", "Boston-Cambridge-Newton", 272, 405, "021 038 019 023 018 020"),
    ("DAL", "Dallas-Fort Worth-Arlington", 251, 240, "750 760 751 762 761 752"),
    ("HOU", "Houston-The Woodlands-Sugar Land", 219, 210, "770 775 773 774"),
    ("MSP", "Minneapolis-St. Paul-Bloomington", 217, 280, "550 554 551 553"),
    ("DET", "Detroit-Warren-Dearborn", 213, 205, "480 483 481 482"),
    ("STL", "St. Louis", 211, 155, "622 620 631 630"),
    ("ATL", "Atlanta-Sandy Springs-Alpharetta", 203, 190, "300 302 301 303"),
    ("MIA", "Miami-Fort Lauderdale-Pompano Beach", 181, 370, "331 333 334 330"),
    ("SF", "San Francisco-Oakland-Berkeley", 166, 870, "945 941 940 949"),
    ("SEA", "Seattle-Tacoma-Bellevue", 156, 375, "980 981 983 984"),
    ("PHX", "Phoenix-Mesa-Chandler", 149, 355, "852 853 850"),
    ("CIN", "Cincinnati", 149, 160, "450 410 452"),
    ("BWI", "Baltimore-Columbia-Towson", 147, 380, "210 212 211"),
    ("RIV", "Riverside-San Bernardino-Ontario", 146, 280, "923 925 922"),
    ("TPA", "Tampa-St. Petersburg-Clearwater", 129, 240, "346 336 335"),
    ("DEN", "Denver-Aurora-Lakewood", 125, 415, "802 800 801"),
    ("PDX", "Portland-Vancouver-Hillsboro", 118, 335, "970 986 972"),
    ("SAC", "Sacramento-Roseville-Folsom", 114, 380, "956 958 957"),
    ("CLT", "Charlotte-Concord-Gastonia", 105, 175, "281 280 282"),
    ("SA", "San Antonio-New Braunfels", 104, 235, "782 780"),
    ("SD", "San Diego-Chula Vista-Carlsbad", 95, 585, "920 921"),
    ("ORL", "Orlando-Kissimmee-Sanford", 91, 220, "327 328"),
    ("ATX", "Austin-Round Rock-Georgetown", 86, 370, "787 786"),
    ("LV", "Las Vegas-Henderson-Paradise", 69, 245, "890 891"),
)
MARKET = [
    "median_sale_price",
    "median_list_price",
    "median_ppsf",
    "median_list_ppsf",
    "homes_sold",
    "pending_sales",
    "new_listings",
    "inventory",
    "median_dom",
    "avg_sale_to_list",
    "sold_above_list",
    "off_market_in_two_weeks",
]
# Place: typical count, growth of its logarithm with density.
PLACES = {
    "bank": (8.0, 0.9), "bus": (0.35, 0.5), "hospital": (2.0, 0.8), "mall": (1.0, 0.7), "park": (24.0, 0.6),
    "restaurant": (18.0, 1.2), "school": (25.0, 0.6), "station": (1.5, 1.1), "supermarket": (6.0, 0.7),
}  # fmt: skip


@dataclass(frozen=True)
class Zips:
    """The lasting traits of the ZIP codes: arrays of shape (zips,), logs where a trait is a size or a price."""

    metro: NDArray[np.int64]
    zipcode: NDArray[np.int64]
    affluence: Array
    density: Array
    home_size: Array
    population: Array
    level: Array


def share_out(zips: int) -> NDArray[np.int64]:
    """Share ZIP codes out among the metros in HouseTS's proportions (largest remainders)."""
    exact = np.array([metro[2] for metro in METROS]) * zips / sum(metro[2] for metro in METROS)
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: zips - counts.sum()]] += 1
    return counts


def draw_zips(zips: int, rng: np.random.Generator) -> Zips:
    """Draw ZIP codes and their traits, in the order of their codes."""
    counts = share_out(zips)
    metro = np.repeat(np.arange(len(METROS)), counts)
    codes: list[int] = []
    for count, (_, _, _, _, prefixes) in zip(counts, METROS, strict=True):
        starts = [int(prefix) * 100 for prefix in prefixes.split()]
        last_two = {start: rng.permutation(np.arange(1, 100)) for start in starts}
        codes += [
            starts[i % len(starts)] + int(last_two[starts[i % len(starts)]][i // len(starts)]) for i in range(count)
        ]
    order = np.argsort(codes)
    zipcode, metro = np.array(codes, dtype=np.int64)[order], metro[order]
    affluence, density = rng.normal(0, 1, zips), rng.normal(0, 1, zips)
    home_size = 0.09 * affluence - 0.06 * density + rng.normal(0, 0.1, zips)
    zip3 = rng.normal(0, 0.12, 1000)[zipcode // 100]
    base = np.log([metro[3] * 1000.0 for metro in METROS])[metro]
    level = base + zip3 + 0.28 * affluence + 0.05 * density + 0.5 * home_size + rng.normal(0, 0.08, zips)
    population = 9.7 + 0.6 * density + rng.normal(0, 0.45, zips)
    return Zips(metro, zipcode, affluence, density, home_size, population, level)


def log_value(places: Zips, months: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the log value without noise and the heat of the market (its growth a year), both (months, zips)."""
    time = 2012 + (2 + np.arange(months)) / 12
    climb, boom = rng.normal(0.42, 0.1, len(METROS)), rng.normal(0.30, 0.07, len(METROS))
    knots = np.array([2007.0, 2012, 2020.5, 2022.5, 2023.5, 2040])
    log_index = np.array([0 * climb, 0 * climb, climb, climb + boom, climb + boom - 0.05, climb + boom + 0.45])

    def cycle(at: Array) -> Array:
        return np.stack([np.interp(at, knots, log_index[:, m] - 0.6 * climb[m]) for m in range(len(METROS))], axis=1)

    season = 0.015 * np.sin(2 * np.pi * (time - 0.25))
    value = places.level + cycle(time)[:, places.metro] + season[:, None]
    heat = (cycle(time + 0.25) - cycle(time - 0.25))[:, places.metro] * 2
    return value, heat


def market(places: Zips, value: Array, heat: Array, price: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Draw a month's market columns; a median of few homes errs more than one of many."""
    month = np.arange(len(value))[:, None] + 2  # January is 0
    rate = 55 * np.exp(places.population - 9.7) * (1 + 0.2 * np.sin(2 * np.pi * (month - 3) / 12))
    hot = heat - 0.05
    sold = np.maximum(rng.poisson(rate * (1 + hot)), 1.0)
    listed = np.maximum(rng.poisson(rate * 1.2), 1.0)
    per_foot = value - places.home_size - np.log(1750)

    def drawn(centre: Array, homes: Array) -> Array:
        spread = np.sqrt(0.02**2 + 0.2**2 / (homes + 5))
        return np.asarray(np.exp(centre + spread * rng.normal(size=value.shape)))

    def share(centre: float) -> Array:
        odds = np.exp(centre + 8 * hot + 0.3 * rng.normal(size=value.shape))
        return np.asarray(rng.binomial(sold.astype(np.int64), odds / (1 + odds)) / sold)

    return {
        "median_sale_price": np.round(drawn(np.log(price), sold)),
        "median_list_price": np.round(drawn(value + 0.03 + 0.025 * rng.normal(size=value.shape), listed)),
        "median_ppsf": drawn(per_foot, sold),
        "median_list_ppsf": drawn(per_foot + 0.02, listed),
        "homes_sold": sold,
        "pending_sales": rng.poisson(rate * 1.1).astype(np.float64),
        "new_listings": listed,
        "inventory": np.maximum(rng.poisson(rate * np.exp(0.1 - 5 * hot)), 1.0),
        "median_dom": np.maximum(np.round(2 * np.exp(3.85 - 5 * hot + 0.35 * rng.normal(size=value.shape))) / 2, 1.0),
        "avg_sale_to_list": np.clip(0.978 + 0.25 * hot + 0.015 * rng.normal(size=value.shape), 0.5, 2.0),
        "sold_above_list": share(-1.2),
        "off_market_in_two_weeks": share(-0.7),
    }


def place_counts(places: Zips, months: int, rng: np.random.Generator) -> dict[str, Array]:
    """Draw what is in a ZIP code; it stays the same in every month, and can be none."""
    counts = {}
    for name, (typical, growth) in PLACES.items():
        drawn = rng.poisson(typical * np.exp(growth * places.density + rng.normal(0, 0.3, len(places.level))))
        counts[name] = np.tile(drawn.astype(np.float64), (months, 1))
    return counts


def census(places: Zips, value: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Draw the ACS columns: one survey a year, home values and rents trailing the market by two years."""
    months, zips = len(value), len(places.level)
    years: NDArray[np.int64] = (np.arange(months) + 2) // 12
    trailing = value[np.maximum(12 * (years - 2) + 9, 0)]  # the December two years before
    relative = trailing - np.log(300_000)

    def yearly(spread: float) -> Array:
        errors = rng.normal(0, spread, (int(years[-1]) + 1, zips))
        return errors[years]

    def lasting(spread: float) -> Array:
        return rng.normal(0, spread, zips)

    people = np.round(np.exp(places.population + 0.005 * years[:, None] + yearly(0.01)))
    workers = np.round(people * np.exp(-0.65 + lasting(0.05)))
    pupils = np.round(people * np.exp(-0.03 + lasting(0.01)))
    growth = 0.03 * years[:, None]
    income = 28_000 * np.exp(0.33 * places.affluence + 0.2 * (places.level - np.log(300_000)) + growth)
    return {
        "Total Population": people,
        "Median Age": np.round(np.clip(39 + lasting(5) + yearly(0.3), 18, 80), 1),
        "Per Capita Income": np.round(income * np.exp(lasting(0.05) + yearly(0.02))),
        "Total Families Below Poverty": np.round(people * np.exp(-0.02 + lasting(0.005))),
        "Total Housing Units": np.round(people * np.exp(-0.9 + lasting(0.1))),
        "Median Rent": np.round(1150 * np.exp(0.45 * relative + lasting(0.1) + yearly(0.02))),
        "Median Home Value": np.round(np.exp(trailing - 0.05 + lasting(0.1) + yearly(0.02)), -2),
        "Total Labor Force": workers,
        "Unemployed Population": np.round(workers * np.exp(-2.8 - 0.3 * places.affluence + lasting(0.2) + yearly(0.1))),
        "Total School Age Population": pupils,
        "Total School Enrollment": pupils,
        "Median Commute Time": np.round(people * np.exp(-0.8 + lasting(0.1))),
    }
