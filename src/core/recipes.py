"""The feature recipes that a dataset's YAML can name, as declarations; `feature_pipeline` carries them out.

Each recipe turns declared columns, all of the type that it `takes`, into one or more float32 features. Those marked
*fitted* learn a table from training rows; the others depend on the row alone. Those that read texts are in
`text_recipes`; docs/recipes.md shows what each gives.
"""

from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from src.core.sections import Section
from src.core.spelling import slug
from src.core.text_recipes import Extract, Items, OneHot, Ordinal, YesNo

# Features are float32: a larger number would become infinite.
LARGEST = float(np.finfo(np.float32).max)
# A caller may send no longer text.
LONGEST_TEXT = 2_000  # characters


class Numbers(Section):
    """Take numeric columns as they are; missing stays missing."""

    recipe: Literal["numbers"]
    columns: tuple[str, ...] = Field(min_length=1)
    takes: ClassVar = "number"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.columns

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns


DatePart = Literal["year", "quarter", "month", "months_since_2000"]


class DateParts(Section):
    """Split a date column into calendar numbers."""

    recipe: Literal["date_parts"]
    column: str
    parts: tuple[DatePart, ...] = Field(min_length=1)
    takes: ClassVar = "date"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return self.parts


class Ratio(Section):
    """Divide one numeric column by another; missing where either is missing, or the divisor is 0 or too small."""

    recipe: Literal["ratio"]
    name: str
    numerator: str
    denominator: str
    takes: ClassVar = "number"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.numerator, self.denominator)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


class Part(NamedTuple):
    """The part of a text column that tells categories apart."""

    column: str
    prefix: int | None = None
    last_of: str | None = None

    @property
    def flag(self) -> str:
        """The flag of a category that training never saw, for example `unknown_zipcode_3`."""
        ends = (f"_{self.prefix}" if self.prefix else "", "_last" if self.last_of else "")
        return f"unknown_{self.column}{''.join(ends)}"

    def of(self, text: str | None) -> str | None:
        """Take the part of one cleaned text."""
        if text is None:
            return None
        if self.last_of:
            text = text.rpartition(self.last_of)[2].lstrip(" ")
        return text[: self.prefix] if self.prefix else text


class _Fitted(Section):
    column: str
    prefix: int | None = Field(None, ge=1, description="encode only the first characters, for example ZIP-3")
    last_of: str | None = Field(
        None, min_length=1, description="encode only what stands after the last of these, as in `society, district`"
    )
    name: str
    takes: ClassVar = "text"

    @property
    def part(self) -> Part:
        return Part(self.column, self.prefix, self.last_of)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


class Frequency(_Fitted):
    """Encode a category by its number of training rows (fitted); unseen categories get 0."""

    recipe: Literal["frequency"]


class TargetMean(_Fitted):
    """Encode a category by the smoothed mean of the transformed target (fitted).

    `(sum + smoothing * prior) / (count + smoothing)`, prior = mean of all training rows (Micci-Barreca 2001), or with
    `within` that of the rows which agree in that column, itself drawn to the mean of all; a category is then one
    within it. A training row gets the table of the other folds, so its own target never enters its own encoding.
    Unseen categories get the prior.
    """

    recipe: Literal["target_mean"]
    within: str | None = Field(None, description="column of larger groups, as a city is of localities")
    smoothing: float = Field(20.0, ge=0)
    folds: int = Field(5, ge=2)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column, self.within) if self.within else (self.column,)


Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
# Axes repeat after half a turn, with the other sign.
Angle = Annotated[float, Field(gt=0, lt=180)]


class Distance(Section):
    """Measure kilometres from a row's coordinates to given points, or to the nearest of them.

    Equirectangular: a degree of longitude is as long everywhere as it is at the point, and not across the 180th
    meridian. Missing where a coordinate is missing or is none (latitude beyond 90, longitude beyond 180).
    """

    recipe: Literal["distance"]
    latitude: str
    longitude: str
    points: dict[str, tuple[Latitude, Longitude]] = Field(min_length=1)
    nearest: str | None = Field(None, description="instead of a feature per point, one of this name: the smallest")
    takes: ClassVar = "number"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.latitude, self.longitude)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.nearest,) if self.nearest else tuple(slug(f"km_to_{point}") for point in self.points)


class Rotate(Section):
    """Project coordinates on axes turned by some degrees, `x * cos + y * sin`, so that a tree can cut diagonally."""

    recipe: Literal["rotate"]
    x: str
    y: str
    degrees: tuple[Angle, ...] = Field(min_length=1)
    takes: ClassVar = "number"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x, self.y)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.x}_rotated_{degrees:g}" for degrees in self.degrees)


Fitted = Frequency | TargetMean
Recipe = Annotated[
    Numbers | DateParts | Ratio | Fitted | YesNo | Ordinal | OneHot | Extract | Items | Distance | Rotate,
    Field(discriminator="recipe"),
]
