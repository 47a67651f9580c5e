"""The data sets inside scikit-learn as sources."""

import sys
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from sklearn import datasets

from src.core.config import Column, DatasetConfig, Settings
from src.core.errors import ConfigError
from src.feature_pipeline import load, sources
from tests.markets import tiny_config

RENAME = {f"{part} {size} (cm)": f"{part}_{size}" for part in ("sepal", "petal") for size in ("length", "width")}


def answered(
    column: str, kind: Literal["number", "text"], names: tuple[str, ...], rename: dict[str, str] | None = None
) -> DatasetConfig:
    """Return a config with these columns of numbers and a target; its split is never used."""
    config = tiny_config()
    return config.model_copy(
        update={
            "columns": {**{name: Column(type="number") for name in names}, column: Column(type=kind)},
            "target": config.target.model_copy(update={"column": column}),
            "source": config.source.model_copy(update={"rename": rename or {}, "default": "sklearn:iris"}),
        }
    )


def test_iris_is_the_configs_own_default_with_species_by_name(settings: Settings, tmp_path: Path) -> None:
    config = answered("species", "text", tuple(RENAME.values()), RENAME)
    own = sources.own_source(config, settings)
    assert own == "sklearn:iris"
    frame = load.read(sources.resolve(own, config, settings, tmp_path), config)
    assert frame.columns == [*RENAME.values(), "species"]
    assert frame["species"].value_counts(sort=True).rows() == [("setosa", 50), ("versicolor", 50), ("virginica", 50)]
    assert frame.row(0) == (5.1, 3.5, 1.4, 0.2, "setosa")


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "digits", "iris", "wine"])
def test_every_set_has_scikit_learns_rows_and_names(name: str, settings: Settings, tmp_path: Path) -> None:
    found = getattr(datasets, f"load_{name}")()
    config = answered("answer", "number", tuple(found.feature_names))
    frame = load.read(sources.resolve(f"sklearn:{name}", config, settings, tmp_path), config)
    assert frame.columns == [*found.feature_names, "answer"]
    assert frame.drop("answer").to_numpy().tolist() == found.data.tolist()
    assert frame["answer"].to_list() == found.target.tolist()


def test_digits_have_texts_as_classes_and_diabetes_has_none(settings: Settings, tmp_path: Path) -> None:
    digits = answered("digit", "text", ("pixel_0_0",))
    frame = pl.read_parquet(sources.resolve("sklearn:digits", digits, settings, tmp_path))
    assert sorted(frame["digit"].unique()) == [str(number) for number in range(10)]
    with pytest.raises(ConfigError, match=r"sklearn:diabetes has no classes: declare its target digit as a number"):
        sources.resolve("sklearn:diabetes", digits, settings, tmp_path)


def test_an_unknown_set_and_an_absent_package_are_named(
    config: DatasetConfig, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not bundled: scikit-learn would download it.
    with pytest.raises(ConfigError, match="sklearn:california: scikit-learn brings breast_cancer, diabetes, digits"):
        load.run(config, "sklearn:california", settings, tmp_path / "raw")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match="sklearn:iris needs scikit-learn: `uv sync --group training`"):
        load.run(config, "sklearn:iris", settings, tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []
