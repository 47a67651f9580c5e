"""The recipes that read numbers out of text columns. They compare with the cleaned text (`spelling.spelled`)."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, model_validator

from src.core.pattern import portable
from src.core.sections import Column, Section
from src.core.spelling import slug, spelled


def _text(value: Any) -> Any:
    """Refuse what YAML has made a number of: 007 is 7 by now."""
    if isinstance(value, bool | int | float):
        raise ValueError(f"write it in quotes, as it stands in the data, for example '{value}'")  # noqa: TRY004
    return value


Label = Annotated[str, BeforeValidator(_text), Field(pattern=r"\S")]
Labels = Annotated[tuple[Label, ...], Field(min_length=1)]


def _codes(pairs: Iterable[tuple[str, int]], column: Column, where: str) -> dict[str, float]:
    codes: dict[str, float] = {}
    for text, code in pairs:
        if codes.setdefault(spelled(text, column), float(code)) != code:
            raise ValueError(f"{where}: {text!r} is listed twice, once the text is cleaned as its column is")
    return codes


class YesNo(Section):
    """Read yes as 1 and no as 0 in text columns; any other text is missing, and flagged."""

    recipe: Literal["yes_no"]
    columns: tuple[str, ...] = Field(min_length=1)
    yes: Labels = ("yes", "y", "true", "t", "1")
    no: Labels = ("no", "n", "false", "f", "0")
    suffix: str = Field("", description="added to the columns' names, where those are taken")
    takes: ClassVar = "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.columns

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{column}{self.suffix}" for column in self.columns)

    def codes(self, column: Column) -> dict[str, float]:
        """Return cleaned text -> 1 or 0; each word also in small letters, CAPITALS and Capitalised."""
        words = [(word, 1) for word in self.yes] + [(word, 0) for word in self.no]
        cases = [(case, code) for w, code in words for case in (w, w.lower(), w.upper(), w.capitalize())]
        return _codes(cases, column, "features: yes_no")


class Ordinal(Section):
    """Number the values of a text column by their place in `order`, from 0; others are missing, and flagged."""

    recipe: Literal["ordinal"]
    column: str
    order: Labels
    name: str
    takes: ClassVar = "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def codes(self, column: Column) -> dict[str, float]:
        """Return cleaned text -> place in the order."""
        return _codes(((text, place) for place, text in enumerate(self.order)), column, f"features: {self.name}")


class OneHot(Section):
    """Give each listed value of a text column a feature: 1 where it stands, else 0; missing where the text is."""

    recipe: Literal["one_hot"]
    column: str
    values: Labels
    takes: ClassVar = "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(slug(f"{self.column}_{value}") for value in self.values)

    def codes(self, column: Column) -> dict[str, float]:
        """Return cleaned text -> position of its feature."""
        return _codes(((text, i) for i, text in enumerate(self.values)), column, f"features: one_hot of {self.column}")


class Extract(Section):
    """Read the number that a text hides: the one group of `pattern`; missing where the text has none."""

    recipe: Literal["extract"]
    column: str
    pattern: Annotated[str, AfterValidator(portable)]
    name: str
    words: dict[Label, FiniteFloat] = Field(
        default_factory=dict, description="whole words that stand for a number, in any case; replaced beforehand"
    )
    decimal: Literal[".", ","] = Field(".", description="decimal mark; the other one may group thousands")
    takes: ClassVar = "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def replacements(self, column: Column) -> list[tuple[str, str]]:
        """Return (cleaned word, its number as the column writes numbers), longer words first."""
        words = {spelled(word, column): format(Decimal(repr(n)).normalize(), "f") for word, n in self.words.items()}
        return sorted(((w, n.replace(".", self.decimal)) for w, n in words.items()), key=lambda pair: -len(pair[0]))


class Items(Section):
    """Tell which items a list in a text column has, 1 or 0 each, and how many; missing where the text is."""

    recipe: Literal["items"]
    column: str
    items: Labels
    separator: str = Field(",", pattern=r"^[^\w\s$\\]$", description="one punctuation mark")
    count: str | None = Field(None, description="name of a feature that counts all items, listed here or not")
    takes: ClassVar = "text"

    @model_validator(mode="after")
    def _items_are_whole(self) -> "Items":
        for item in self.items:
            if self.separator in item:
                raise ValueError(f"item {item!r} holds the separator {self.separator!r}: list its parts")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        return (*(slug(f"{self.column}_{item}") for item in self.items), *((self.count,) if self.count else ()))

    def keys(self, column: Column) -> list[str]:
        """Return the items as they are compared: cleaned, in small letters."""
        return [spelled(item, column).lower() for item in self.items]


Listed = YesNo | Ordinal | OneHot
TextRecipe = YesNo | Ordinal | OneHot | Extract | Items
