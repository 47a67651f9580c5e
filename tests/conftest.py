"""Fixtures that several test modules share."""

import os
from pathlib import Path

import pytest

from src.core.config import PROJECT, DatasetConfig, Settings, load_config

SHARED = Path(os.environ.get("SHARED_DATA", PROJECT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def config() -> DatasetConfig:
    """The default dataset."""
    return load_config("housets")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A deployment that lives in the test's own folder."""
    return Settings(workspace=tmp_path, data_root=tmp_path / "market", threads=1)


@pytest.fixture(scope="session")
def real_housets() -> Path:
    """The real HouseTS extract, which is not part of the project."""
    path = SHARED / "housets" / "HouseTS_sample.csv"
    if not path.is_file():
        pytest.skip(f"no real HouseTS rows at {path}")
    return path
