"""Features of coordinates, each as an expression for frames and as its twin for single rows.

Only sums, products and square roots, which are exact to the last bit in every engine; sines and cosines are constants.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import narwhals as nw

from src.core.recipes import LARGEST, Distance, Rotate

Encode = Callable[[dict[str, Any]], Sequence[float]]
# The mean radius of the Earth (IUGG) is 6371.0088 km.
KM_PER_DEGREE = 6371.0088 * math.pi / 180


def expressions(recipe: Distance | Rotate) -> list[nw.Expr]:
    """Return one expression per feature, in the order of `recipe.names`."""
    if isinstance(recipe, Rotate):
        x, y = nw.col(recipe.x), nw.col(recipe.y)
        turned = [x * cos + y * sin for cos, sin in _axes(recipe)]
        return [nw.when(value.abs() <= LARGEST).then(value) for value in turned]
    latitude, longitude = nw.col(recipe.latitude), nw.col(recipe.longitude)
    on_earth = (latitude.abs() <= 90) & (longitude.abs() <= 180)
    distances: list[nw.Expr] = []
    for north, east, scale in _points(recipe):
        up, across = (latitude - north) * KM_PER_DEGREE, (longitude - east) * scale
        distances.append(nw.when(on_earth).then((up * up + across * across).sqrt()))
    return [nw.min_horizontal(*distances)] if recipe.nearest else distances


def row_encoder(recipe: Distance | Rotate) -> Encode:
    """Return the function that does to one row what `expressions` do to a frame."""
    return _rotate(recipe) if isinstance(recipe, Rotate) else _distance(recipe)


def _axes(recipe: Rotate) -> list[tuple[float, float]]:
    return [(math.cos(math.radians(degrees)), math.sin(math.radians(degrees))) for degrees in recipe.degrees]


def _points(recipe: Distance) -> list[tuple[float, float, float]]:
    """Return latitude, longitude and kilometres per degree of longitude of each point."""
    return [(lat, lng, KM_PER_DEGREE * math.cos(math.radians(lat))) for lat, lng in recipe.points.values()]


def _rotate(recipe: Rotate) -> Encode:
    axes = _axes(recipe)

    def rotate(values: dict[str, Any]) -> list[float]:
        x, y = values[recipe.x], values[recipe.y]
        turned = [x * cos + y * sin for cos, sin in axes]
        return [value if abs(value) <= LARGEST else math.nan for value in turned]

    return rotate


def _distance(recipe: Distance) -> Encode:
    points, nearest = _points(recipe), recipe.nearest is not None
    absent = [math.nan] * len(recipe.names)

    def measure(values: dict[str, Any]) -> list[float]:
        latitude, longitude = values[recipe.latitude], values[recipe.longitude]
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):
            return absent
        distances = []
        for north, east, scale in points:
            up, across = (latitude - north) * KM_PER_DEGREE, (longitude - east) * scale
            distances.append(math.sqrt(up * up + across * across))
        return [min(distances)] if nearest else distances

    return measure
