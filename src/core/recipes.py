"""The feature recipes that a dataset's YAML can name, as declarations; `feature_pipeline` carries them out.

Each recipe turns declared columns into one or more float32 features. Those marked *fitted* learn a table
from training rows; the others depend on the row alone.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Recipe(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Numbers(_Recipe):
    """Take numeric columns as they are; missing stays missing."""

    recipe: Literal["numbers"]
    columns: tuple[str, ...] = Field(min_length=1)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.columns

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns


DatePart = Literal["year", "quarter", "month", "months_since_2000"]


class DateParts(_Recipe):
    """Split a date column into calendar numbers."""

    recipe: Literal["date_parts"]
    column: str
    parts: tuple[DatePart, ...] = Field(min_length=1)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return self.parts


class Ratio(_Recipe):
    """Divide one numeric column by another; missing where either is missing, or the divisor is 0 or too small."""

    recipe: Literal["ratio"]
    name: str
    numerator: str
    denominator: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.numerator, self.denominator)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


class Frequency(_Recipe):
    """Encode a category by its number of training rows (fitted); unseen categories get 0."""

    recipe: Literal["frequency"]
    column: str
    prefix: int | None = Field(None, ge=1, description="encode only the first characters, for example ZIP-3")
    name: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


class TargetMean(_Recipe):
    """Encode a category by the smoothed mean of the transformed target (fitted).

    `(sum + smoothing * prior) / (count + smoothing)`, prior = mean of all training rows (Micci-Barreca 2001).
    A training row gets the table of the other folds, so its own target never enters its own encoding.
    Unseen categories get the prior.
    """

    recipe: Literal["target_mean"]
    column: str
    prefix: int | None = Field(None, ge=1, description="encode only the first characters, for example ZIP-3")
    name: str
    smoothing: float = Field(20.0, ge=0)
    folds: int = Field(5, ge=2)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


Fitted = Frequency | TargetMean
Recipe = Annotated[Numbers | DateParts | Ratio | Frequency | TargetMean, Field(discriminator="recipe")]
