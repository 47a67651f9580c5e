"""Row-preserving expressions: n rows in, n rows out, same order. Training and serving both run these.

Written once in Narwhals, so the same functions run on Polars and on Spark.
"""

import re
from collections.abc import Collection, Mapping, Set
from typing import Any

import narwhals as nw

from src.core.config import Column, DatasetConfig
from src.core.errors import DataError
from src.core.recipes import LARGEST, DateParts, Distance, Frequency, Numbers, Part, Ratio, Recipe, Rotate, TargetMean
from src.core.spelling import DASHES, SPACES
from src.core.text_recipes import Listed
from src.feature_pipeline import coordinate_features, text_features
from src.feature_pipeline.text_features import mapped

# "2351.0": an integer that has been through a float column. Removed with `replace_all`, as Spark has no `replace`.
TRAILING_ZERO = r"\.0$"

Table = dict[str, Any]
Tables = Mapping[str, Table]
# Between a larger group and the category in it; a control character that no cleaned text has.
WITHIN = "\x1f"
Known = tuple[Part, Set[str | None]]


def known_values(config: DatasetConfig, names: Collection[str], nw: Any = nw) -> list[Any]:
    """Turn the codes that mean `missing`, and NaN, into null, in those of the columns that `names` holds.

    `nw`: Narwhals, or Polars itself, which understands the same and takes a tenth of the time to set it up.
    """
    coded = config.missing_codes
    expressions: list[Any] = []
    for name, column in config.columns.items():
        if column.type == "number" and name in names:
            value = nw.col(name)
            unknown = value.is_nan()
            if name in coded:
                unknown = unknown | (value == coded[name])
            expressions.append(nw.when(~unknown).then(value).alias(name))
    return expressions


def padded(name: str, column: Column) -> nw.Expr:
    """Write a code as text, with the leading zeros that a number loses."""
    text = nw.col(name).cast(nw.String).str.replace_all(SPACES, " ").str.strip_chars(" ")
    if column.pad is None:
        return text.alias(name)
    return text.str.replace_all(TRAILING_ZERO, "").str.zfill(column.pad).alias(name)


def tidied(name: str, column: Column) -> nw.Expr:
    """Bring the spellings of one name together: case, dashes, spaces, suffixes, known renames."""
    text = (
        nw.col(name).str.to_lowercase().str.replace_all(DASHES, "-").str.replace_all(SPACES, " ").str.strip_chars(" ")
    )
    if column.drop:
        text = text.str.replace_all(column.drop, "")
    if column.renames:
        text = text.replace_strict(
            list(column.renames), list(column.renames.values()), default=text, return_dtype=nw.String
        )
    return text.alias(name)


def cleaned(config: DatasetConfig, tables: Tables, names: Collection[str]) -> list[nw.Expr]:
    """Tidy those of the columns that `names` holds, and look up what is joined by one of them."""
    expressions = [tidied(name, column) for name, column in config.columns.items() if column.tidy and name in names]
    if config.lookup and config.lookup.by in names:
        table = tables["lookup"]["table"]
        key = tidied(config.lookup.by, config.columns[config.lookup.by])
        if not config.columns[config.lookup.by].tidy:
            key = nw.col(config.lookup.by)
        for position, added in enumerate(config.lookup.add):
            values = [row[position] for row in table.values()]
            expressions.append(mapped(key, list(table), values, None).alias(added))
    return expressions


def category(part: Part) -> nw.Expr:
    """Return the part of a text that a fitted recipe encodes."""
    text = nw.col(part.column)
    if part.last_of:
        text = text.str.replace_all(f"(?s)^.*{re.escape(part.last_of)} *", "")
    return text.str.head(part.prefix) if part.prefix else text


def category_key(recipe: Frequency | TargetMean) -> nw.Expr:
    """Return the key of a fitted recipe's table: the category, after its larger group where there is one."""
    key = category(recipe.part)
    if isinstance(recipe, TargetMean) and recipe.within:
        return nw.concat_str(nw.col(recipe.within), key, separator=WITHIN)
    return key


def encoded(recipe: Frequency | TargetMean, table: Table) -> nw.Expr:
    """Look a fitted recipe's categories up; unseen ones get their group's value, or the default."""
    old, new = list(table["table"]), list(table["table"].values())
    if not (isinstance(recipe, TargetMean) and recipe.within):
        return mapped(category_key(recipe), old, new, table["default"])
    values = mapped(category_key(recipe), old, new, None)
    groups = table["groups"]
    group = mapped(nw.col(recipe.within), list(groups), list(groups.values()), table["default"])
    return nw.when(values.is_null()).then(group).otherwise(values)


def date_part(column: str, part: str) -> nw.Expr:
    date = nw.col(column).dt
    match part:
        case "year":
            return date.year()
        case "quarter":
            return (date.month() + 2) // 3
        case "month":
            return date.month()
        case _:
            return (date.year() - 2000) * 12 + date.month() - 1


def features(config: DatasetConfig, tables: Tables, instead: Mapping[str, nw.Expr] | None = None) -> list[nw.Expr]:
    """Return one float32 expression per feature, in the order of `config.feature_names`.

    `instead` replaces features by name: training rows have their own encodings.
    """
    expressions = [
        pair
        for recipe in config.features
        for pair in zip(recipe.names, _expressions(recipe, config, tables), strict=True)
    ]
    return [(instead or {}).get(name, expression).cast(nw.Float32).alias(name) for name, expression in expressions]


def _expressions(recipe: Recipe, config: DatasetConfig, tables: Tables) -> list[nw.Expr]:
    match recipe:
        case Numbers():
            return [nw.col(name) for name in recipe.columns]
        case DateParts():
            return [date_part(recipe.column, part) for part in recipe.parts]
        case Ratio():
            top, bottom = nw.col(recipe.numerator), nw.col(recipe.denominator)
            return [nw.when((bottom != 0) & ((top / bottom).abs() <= LARGEST)).then(top / bottom)]
        case Frequency() | TargetMean():
            return [encoded(recipe, tables[recipe.name])]
        case Distance() | Rotate():
            return coordinate_features.expressions(recipe)
        case _:
            return text_features.expressions(recipe, config.columns)


def known_categories(config: DatasetConfig, tables: Tables) -> dict[str, Known]:
    """Return flag -> (part of a column, categories that every recipe of it knows), in the flags' order.

    What training saw, or the config lists. `None` is among them where a missing value is not to be flagged.
    """
    used: list[Known] = []
    for recipe in config.features:
        if isinstance(recipe, Frequency | TargetMean):
            # Where categories lie within groups, one that is known in any of them is known.
            used.append((recipe.part, {key.rpartition(WITHIN)[2] for key in tables[recipe.name]["table"]}))
        elif isinstance(recipe, Listed):
            used += [(Part(name), {*recipe.codes(config.columns[name]), None}) for name in recipe.inputs]
    if config.lookup:
        used.append((Part(config.lookup.by), tables["lookup"]["table"].keys()))
    found: dict[str, Known] = {}
    for part, known in used:
        found[part.flag] = (part, found[part.flag][1] & known if part.flag in found else known)
    return dict(sorted(found.items()))


def unknown_flags(config: DatasetConfig, tables: Tables) -> nw.Expr:
    """Name, for each clean row, the categories that no training row or config knows, joined by `;`.

    A literal, to be broadcast, where no recipe reads categories.
    """
    flags = []
    for flag, (part, known) in known_categories(config, tables).items():
        value = category(part)
        unknown = ~value.is_in([category for category in known if category is not None])
        if None not in known:
            unknown = value.is_null() | unknown
        flags.append(nw.when(unknown).then(nw.lit(flag)))
    joined = nw.concat_str(flags, separator=";", ignore_nulls=True) if flags else nw.lit("")
    return joined.alias("flags")


def require_columns(present: list[str], wanted: list[str], where: str) -> None:
    """Refuse rows that lack a column (DataError names every missing one)."""
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(
            f"{where} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"It has: {', '.join(present) or 'no column'}"
        )
