"""docs/recipes.md has a section for every recipe, its examples are valid, and its tables say what the recipes give."""

import re
from typing import Any, get_args

import numpy as np
import pytest
import yaml

from src.core.config import PROJECT, DatasetConfig
from src.core.recipes import Fitted, Recipe
from src.core.strict_yaml import StrictLoader
from src.feature_pipeline.rows import RowEncoder
from tests.factories import homes_config

PAGE = (PROJECT / "docs" / "recipes.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NAMES = {get_args(kind.model_fields["recipe"].annotation)[0]: kind for kind in get_args(get_args(Recipe)[0])}
PRICED = {"day": "date", "price": "number"}


def example(section: str) -> DatasetConfig:
    (code,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    shown = yaml.load(code, StrictLoader)
    return homes_config(columns={**PRICED, **shown["columns"]}, features=shown["features"])


def table(section: str) -> list[list[str]]:
    """Return the cells of the first table after the example, header first."""
    lines = section.split("```")[2].strip().splitlines()
    rows = [line for line in lines[: lines.index("") if "" in lines else None] if not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def value(cell: str, kind: str) -> Any:
    return None if cell == "" else float(cell) if kind == "number" else cell.removeprefix("`").removesuffix("`")


def test_every_recipe_has_a_section_and_an_example() -> None:
    assert set(SECTIONS) == set(NAMES)
    for name, section in SECTIONS.items():
        assert {recipe.recipe for recipe in example(section).features} == {name}


@pytest.mark.parametrize("name", sorted(name for name, kind in NAMES.items() if kind not in get_args(Fitted)))
def test_the_tables_are_right(name: str) -> None:
    config = example(SECTIONS[name])
    inputs = [column for column in config.columns if column not in PRICED]
    header, *lines = table(SECTIONS[name])
    count = len(inputs)
    assert sorted(header[:count]) == sorted(inputs)
    assert header[count:] in ([*config.feature_names], [*config.feature_names, "flags"])
    assert len(lines) > 1
    for line in lines:
        row = {n: value(cell, config.columns[n].type) for n, cell in zip(header[:count], line, strict=False)}
        X, flags = RowEncoder(config, {}).encode([{"day": "2020-01-31", **row}])
        shown = line[count : count + len(config.feature_names)]
        for found, cell in zip(X[0], shown, strict=True):
            digits = len(cell.partition(".")[2])
            assert np.isnan(found) if cell == "" else round(float(found), digits) == float(cell), line
        assert (line[-1].strip("`") if header[-1] == "flags" else "") == flags[0]
