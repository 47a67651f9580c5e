"""Small seeded frames for tests."""

import polars as pl

from src.core.config import load_config
from src.feature_pipeline import load
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
    return load.split(load.typed(housets_frame(rows, seed, traps=traps).lazy(), config, "test"), config)
