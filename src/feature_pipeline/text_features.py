"""Features of texts, each as an expression for frames and as its twin for single rows; both read cleaned texts."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import narwhals as nw

from src.core.pattern import spelled_out
from src.core.recipes import LARGEST
from src.core.sections import Column
from src.core.text_recipes import Extract, Items, OneHot, Ordinal, TextRecipe, YesNo

Columns = Mapping[str, Column]
Encode = Callable[[dict[str, Any]], Sequence[float]]
NAN = math.nan
# What may stand beside a whole word: a blank, or punctuation of ASCII. Whatever is beyond ASCII is part of a word.
EDGE = r"[\x00-/:-@\[-\^`{-\x7f]"


def expressions(recipe: TextRecipe, columns: Columns) -> list[nw.Expr]:
    """Return one expression per feature, in the order of `recipe.names`."""
    match recipe:
        case YesNo():
            return [_coded(name, recipe.codes(columns[name])) for name in recipe.columns]
        case Ordinal():
            return [_coded(recipe.column, recipe.codes(columns[recipe.column]))]
        case OneHot():
            return [nw.col(recipe.column) == value for value in recipe.codes(columns[recipe.column])]
        case Extract():
            return [_extracted(recipe, columns[recipe.column])]
        case Items():
            return _items(recipe, columns[recipe.column])


def row_encoder(recipe: TextRecipe, columns: Columns) -> Encode:
    """Return the function that does to one row what `expressions` do to a frame."""
    match recipe:
        case YesNo():
            codes = [(name, recipe.codes(columns[name])) for name in recipe.columns]
            return lambda values: [known.get(values[name], NAN) for name, known in codes]
        case Ordinal():
            places = recipe.codes(columns[recipe.column])
            return lambda values: (places.get(values[recipe.column], NAN),)
        case OneHot():
            return _one_hot(recipe, columns[recipe.column])
        case Extract():
            return _extract(recipe, columns[recipe.column])
        case Items():
            return _item_list(recipe, columns[recipe.column])


def mapped(key: nw.Expr, old: list[str], new: list[float], default: float | None) -> nw.Expr:
    """Replace categories by numbers; categories that are not in `old` get `default`."""
    return key.replace_strict(old, new, default=nw.lit(default, dtype=nw.Float64), return_dtype=nw.Float64)


def _coded(name: str, codes: dict[str, float]) -> nw.Expr:
    return mapped(nw.col(name), list(codes), list(codes.values()), None)


def _one_hot(recipe: OneHot, column: Column) -> Encode:
    codes = recipe.codes(column)
    count = len(codes)
    features: dict[str | None, list[float]] = {
        text: [float(i == position) for i in range(count)] for text, position in codes.items()
    }
    features[None] = [NAN] * count
    other = [0.0] * count
    return lambda values: features.get(values[recipe.column], other)


def _written(decimal: str) -> tuple[str, str]:
    """Return the pattern of a whole number or decimal fraction, and the mark that groups its thousands."""
    thousands = "," if decimal == "." else "."
    whole = f"[0-9]+|[0-9]{{1,3}}(?:[{thousands}][0-9]{{3}}){{1,12}}"
    return f"-?(?:{whole})(?:[{decimal}][0-9]+)?", thousands


def _word(word: str, end: str) -> str:
    """Return the pattern of a whole word in any case; the same in each engine, as case is spelled out."""
    letters = "".join(
        f"[{c.lower()}{c.upper()}]" if c.lower() != c.upper() and len(c.lower() + c.upper()) == 2 else re.escape(c)
        for c in word
    )
    return rf"(?<before>^|{EDGE}){letters}(?<after>{end}|{EDGE})"


def _extracted(recipe: Extract, column: Column) -> nw.Expr:
    text = nw.col(recipe.column)
    for word, number in recipe.replacements(column):
        for _ in range(2):  # words side by side share an edge, so every second one is left for the second time
            text = text.str.replace_all(_word(word, r"\z"), f"${{before}}{number}${{after}}")
    pattern = spelled_out(recipe.pattern, r"\z")
    # Narwhals cannot extract: what is around the group is replaced away instead.
    found = nw.when(text.str.contains(f"(?s){pattern}")).then(text.str.replace_all(rf"(?s)^.*?(?:{pattern}).*\z", "$1"))
    number_pattern, thousands = _written(recipe.decimal)
    written = nw.when(found.str.contains(rf"^(?:{number_pattern})\z")).then(found)
    plain = written.str.replace_all(f"[{thousands}]", "").str.replace_all(f"[{recipe.decimal}]", ".")
    value = plain.cast(nw.Float64)
    return nw.when(value.abs() <= LARGEST).then(value)


def _extract(recipe: Extract, column: Column) -> Encode:
    words = [
        (re.compile(_word(word, r"\Z").replace("(?<", "(?P<")), rf"\g<before>{number}\g<after>")
        for word, number in recipe.replacements(column)
    ]
    search = re.compile("(?s)" + spelled_out(recipe.pattern, r"\Z")).search
    number_pattern, thousands = _written(recipe.decimal)
    is_number = re.compile(number_pattern).fullmatch

    def extract(values: dict[str, Any]) -> tuple[float]:
        text = values[recipe.column]
        if text is None:
            return (NAN,)
        for word, number in words:
            text, count = word.subn(number, text)
            if count:
                text = word.sub(number, text)
        found = search(text)
        if found is None or found[1] is None or not is_number(found[1]):
            return (NAN,)
        value = float(found[1].replace(thousands, "").replace(recipe.decimal, "."))
        return (value if abs(value) <= LARGEST else NAN,)

    return extract


def _items(recipe: Items, column: Column) -> list[nw.Expr]:
    mark = recipe.separator
    listed = nw.concat_str(nw.lit(mark), nw.col(recipe.column).str.to_lowercase(), nw.lit(mark))
    # ",bath,roof terrace,": one separator, without blanks, before and after each item.
    either = f"[ {re.escape(mark)}]*"
    listed = listed.str.replace_all(f"{either}{re.escape(mark)}{either}", mark)
    features = [listed.str.contains(f"{mark}{item}{mark}", literal=True) for item in recipe.keys(column)]
    if recipe.count:
        features.append(listed.str.len_chars() - listed.str.replace_all(re.escape(mark), "").str.len_chars() - 1)
    return features


def _item_list(recipe: Items, column: Column) -> Encode:
    items = recipe.keys(column)
    absent = [NAN] * len(recipe.names)

    def tell(values: dict[str, Any]) -> list[float]:
        text = values[recipe.column]
        if text is None:
            return absent
        listed = [item for part in text.lower().split(recipe.separator) if (item := part.strip(" "))]
        features = [float(item in listed) for item in items]
        return [*features, len(listed)] if recipe.count else features

    return tell
