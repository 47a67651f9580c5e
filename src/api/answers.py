"""The answer of POST /predict: prices with their intervals, or classes with their probabilities."""

from math import isfinite
from typing import Any

import polars as pl
from pydantic_core import to_json

from src.api.contract import Row
from src.api.problems import Problem
from src.api.version import Served
from src.inference_pipeline.predictor import Classification, Prediction


def written(content: dict[str, Any]) -> bytes:
    """Write an answer as JSON."""
    return to_json(content, inf_nan_mode="null")


def content_of(said: Prediction | Classification, rows: list[Row] | pl.DataFrame, served: Served) -> dict[str, Any]:
    """Make the answer to rows, in their order."""
    check_priced(said)
    flags = [one.split(";") if one else [] for one in said.flags]
    content: dict[str, Any]
    if isinstance(said, Classification):
        shares = [dict(zip(said.classes, row, strict=True)) for row in said.probabilities.tolist()]
        content = {"predictions": said.labels, "probabilities": shares}
    else:
        content = {"predictions": said.estimate.tolist(), "intervals": {}}
        for level in said.lower:
            ends = zip(said.lower[level].tolist(), said.upper[level].tolist(), strict=True)
            content["intervals"][f"{100 * level:g}"] = list(ends)
    content |= {"flags": flags, "model": served.about}
    target = served.config.target.column
    if isinstance(rows, pl.DataFrame):
        actuals = rows[target].to_list() if target in rows.columns else []
    else:
        actuals = [row.get(target) for row in rows]
    if any(actual is not None for actual in actuals):
        content["actuals"] = actuals
    return content


def check_priced(said: Prediction | Classification) -> None:
    """Refuse an answer that is none: numbers so large that their price is not finite (Problem)."""
    # Of few numbers a list is looked through faster than an array.
    ends = [] if isinstance(said, Classification) else [*said.upper.values()]
    if not all(isfinite(one) for values in (said.estimate.ravel(), *ends) for one in values.tolist()):
        raise Problem(422, "no-price", "A row's values are so far from any that the model knows that it has no price.")
