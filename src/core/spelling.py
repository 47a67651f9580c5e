"""How one text is spelled: what cleaning does to a value, and the name that a value gives to a feature."""

import re

from src.core.sections import Column

# Any dash that a typesetter may have chosen, and any run of white space. Spelled out, because `\\s` and `strip()` mean
# other characters in Python than in Polars.
DASHES = "[\u2010-\u2015\u2212]"
BLANKS = " \t\r\n\f\v\u00a0\u2002-\u200a\u202f\u3000"
SPACES = f"[{BLANKS}]+"


def tidy(text: str | None, column: Column) -> str | None:
    """Do to one value what `transforms.tidied` does to a column."""
    return text if text is None or not column.tidy else _tidied(text, column)


def spelled(text: str, column: Column) -> str:
    """Do to one value what loading and cleaning do to a column, so that a text of the YAML meets those of the rows."""
    text = re.sub(SPACES, " ", text).strip(" ")
    if column.pad is not None:
        text = text.removesuffix(".0").zfill(column.pad)
    return _tidied(text, column) if column.tidy else text


def _tidied(text: str, column: Column) -> str:
    tidied = re.sub(SPACES, " ", re.sub(DASHES, "-", text.lower())).strip(" ")
    if column.drop:
        tidied = re.sub(column.drop, "", tidied)
    return column.renames.get(tidied, tidied)


def slug(text: str) -> str:
    """Make a feature's name of a text: `ocean_proximity <1H OCEAN` becomes `ocean_proximity_1h_ocean`.

    A plus is written out, as it is all that tells the energy label A+ from A.
    """
    return re.sub(r"[\W_]+", "_", text.lower().replace("+", " plus ")).strip("_")
