"""The embedded default: a seeded housing market with HouseTS's 39 columns, types, order and traps.

`market.py` says how its prices come about.
"""

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from src.core.cli import EXIT_CODES, run_command
from src.core.errors import ConfigError
from src.core.files import replacing
from src.feature_pipeline.market import (
    METROS,
    PRICE_NOISE,
    Array,
    census,
    draw_zips,
    log_value,
    market,
    place_counts,
)

log = logging.getLogger(__name__)

ALLOWED = {"zips": (1, 10_000), "months": (1, 240), "seed": (0, 2**32 - 1)}
DEFAULTS = {"zips": 400, "months": 142, "seed": 7}


def irreducible_mape(noise: float = PRICE_NOISE) -> float:
    """Return the smallest MAPE that any predictor can expect, as a fraction.

    A prediction exp(value + c) errs by |exp(c - e) - 1|. Its mean, least at c = -noise^2 (the median of e weighted by
    1 / price), is then 2 Phi(noise) - 1 = erf(noise / sqrt 2), or 4.78 % at 0.06. Predicting exp(value) itself gives
    E|exp(e) - 1| = exp(noise^2 / 2) erf(noise / sqrt 2), which is 0.2 % of that more.
    """
    return math.erf(noise / math.sqrt(2))


IRREDUCIBLE_MAPE = irreducible_mape()


def simulate(zips: int = 400, months: int = 142, seed: int = 7, *, traps: bool = True) -> pl.DataFrame:
    """Simulate a market: `zips` x `months` rows by date and ZIP code, from 2012-03 on, as HouseTS's CSV reads.

    Args:
        zips: ZIP codes, shared out among the 30 metros as in HouseTS.
        months: months of each.
        seed: the same seed gives the same frame.
        traps: zeros for missing, exact duplicates and absurd list prices.

    Raises:
        ConfigError: a size or the seed is out of range.
    """
    for key, asked in (("zips", zips), ("months", months), ("seed", seed)):
        _check(f"simulate: {key}", key, asked)
    rng = np.random.default_rng(seed)
    places = draw_zips(zips, rng)
    value, heat = log_value(places, months, rng)
    price = np.exp(value + rng.normal(0, PRICE_NOISE, value.shape))
    stamp = pl.date_range(pl.date(2012, 3, 1), pl.date(2012, 3, 1).dt.offset_by(f"{months - 1}mo"), "1mo", eager=True)
    row_month, row_zip = np.divmod(np.arange(zips * months), zips)
    frame = pl.DataFrame(
        {
            "date": stamp.dt.month_end().dt.to_string()[row_month],
            **_flat(market(places, value, heat, price, rng)),
            "city": pl.Series([metro[0] for metro in METROS])[places.metro[row_zip]],
            "zipcode": places.zipcode[row_zip],
            "year": stamp.dt.year().cast(pl.Int64)[row_month],
            **_flat(place_counts(places, months, rng)),
            **_flat(census(places, value, rng)),
            "price": price.ravel(),
            "city_full": pl.Series([metro[1] for metro in METROS])[places.metro[row_zip]],
        }
    )
    return set_traps(frame, zips, rng) if traps else frame


def _flat(columns: dict[str, Array]) -> dict[str, Array]:
    return {name: values.ravel() for name, values in columns.items()}


def set_traps(frame: pl.DataFrame, zips: int, rng: np.random.Generator) -> pl.DataFrame:
    """Spoil a market as HouseTS is spoilt; the number of rows stays.

    A month without sales is 0 in every market column; some inventories are 0; New Jersey's ZIP codes have no ACS;
    some list prices are absurd; and some months are lost, with the month before written in their place once more.
    """
    rows = frame.height
    silent = rng.random(rows) < 0.005
    empty = silent | (rng.random(rows) < 0.005)
    absurd = rng.choice(rows, size=min(rows, max(3, rows // 10_000)), replace=False)
    asked = np.full(rows, np.nan)
    asked[absurd] = np.round(np.exp(rng.uniform(np.log(2e7), np.log(999_999_999), len(absurd))))
    asked[absurd[0]] = 999_999_999
    spoilt = frame.with_columns(
        _zero_where(pl.lit(pl.Series(silent)), "median_sale_price", "off_market_in_two_weeks", frame),
        _zero_where(pl.col("zipcode").is_between(7000, 8999), "Total Population", "Median Commute Time", frame),
    ).with_columns(
        _zero_where(pl.lit(pl.Series(empty)), "inventory", "inventory", frame),
        pl.coalesce(pl.lit(pl.Series(asked).fill_nan(None)), "median_list_price").alias("median_list_price"),
    )
    return spoilt[_with_repeats(rows, zips, rng)]


def _zero_where(rows: pl.Expr, first: str, last: str, frame: pl.DataFrame) -> pl.Expr:
    block = frame.columns[frame.columns.index(first) : frame.columns.index(last) + 1]
    return pl.when(rows).then(0.0).otherwise(pl.col(block)).name.keep()


def _with_repeats(rows: int, zips: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    # Only even months are lost, so that the month before is whole, and never January, so that no copy crosses a split.
    order = np.arange(rows)
    month = order // zips
    eligible = order[(month % 2 == 0) & (month % 12 != 10) & (month > 0)]
    lost = rng.choice(eligible, size=min(len(eligible), max(2, rows // 500)), replace=False)
    order[lost] -= zips
    return order


def parse_source(source: str) -> dict[str, int]:
    """Read `simulate:zips=400,months=142,seed=7` into `simulate`'s arguments; what is not given has its default.

    Raises:
        ConfigError: an unknown or repeated key, or a value out of range.
    """
    scheme, _, options = source.partition(":")
    if scheme != "simulate":
        raise ConfigError(f"source {source!r}: expected simulate:zips=400,months=142,seed=7")
    given: dict[str, int] = {}
    for part in filter(None, (option.strip() for option in options.split(","))):
        key, _, text = (piece.strip() for piece in part.partition("="))
        if key not in ALLOWED or key in given:
            problem = "is given twice" if key in given else "is not an option"
            raise ConfigError(f"source {source!r}: {key!r} {problem}; allowed: {_allowed()}")
        try:
            value = int(text)
        except ValueError as error:
            raise ConfigError(
                f"source {source!r}: {key}={text!r} is not a whole number; allowed: {_allowed()}"
            ) from error
        _check(f"source {source!r}: {key}", key, value)
        given[key] = value
    return DEFAULTS | given


def _allowed() -> str:
    return ", ".join(f"{key} from {low:,} to {high:,}" for key, (low, high) in ALLOWED.items())


def _check(where: str, key: str, value: int) -> None:
    low, high = ALLOWED[key]
    if not low <= value <= high:
        raise ConfigError(f"{where} must be from {low:,} to {high:,}, not {value:,}")


def write_csv(path: Path, zips: int = 400, months: int = 142, seed: int = 7) -> int:
    """Simulate a market into a CSV file, whole or not at all, and return its number of rows."""
    frame = simulate(zips, months, seed)
    with replacing(path) as temporary:
        frame.write_csv(temporary)
    return frame.height


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate a market into a CSV file."""
    made = argparse.ArgumentParser(
        description=main.__doc__, epilog=EXIT_CODES, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--output", type=Path, required=True, help="CSV file to write")
    for key, (low, high) in ALLOWED.items():
        made.add_argument(f"--{key}", type=int, default=DEFAULTS[key], help=f"{low:,} to {high:,}")
    args = made.parse_args(argv)
    rows = write_csv(args.output, args.zips, args.months, args.seed)
    log.info("wrote %s rows of %s ZIP codes to %s", f"{rows:,}", f"{args.zips:,}", args.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
