"""Where places are: regions by what the API knows of them, US ZIP codes by their public list."""

from functools import lru_cache
from typing import Any

import pandas as pd
import zipcodes


def points_of(groups: pd.DataFrame, by: str, about: dict[str, Any]) -> pd.DataFrame:
    """Return the groups whose place is known, with `lat` and `lng`."""
    if by == "region":
        known = about["coordinates"]
    elif about["place"] == "zipcode":
        known = {code: found for code in groups[by].dropna() if (found := _of_zip(code))}
    else:
        known = {}
    here = groups[groups[by].isin(list(known))].copy()
    here["lat"] = [known[name][0] for name in here[by]]
    here["lng"] = [known[name][1] for name in here[by]]
    return here


@lru_cache(maxsize=50_000)
def _of_zip(code: str) -> tuple[float, float] | None:
    try:
        found = zipcodes.matching(code)
    except (ValueError, TypeError):
        return None
    return (float(found[0]["lat"]), float(found[0]["long"])) if found else None
