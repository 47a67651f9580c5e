"""Fixtures that several test modules share."""

import os
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from src import pipeline
from src.core.config import PROJECT, DatasetConfig, Settings, load_config
from src.core.store import Store, open_store
from src.core.workspace import Workspace
from src.inference_pipeline.inference import current_predictor
from src.inference_pipeline.predictor import Predictor
from tests.once import made_once, untraced

# PySpark takes a main module without a file, as a worker of xdist has, for its own doctests, and ends the process. An
# interactive one it leaves alone.
if not hasattr(sys.modules["__main__"], "__file__") and not hasattr(sys, "ps1"):
    sys.ps1 = ""

# How fast the machine is today is no property of the code.
hypothesis.settings.register_profile("housecast", deadline=None)
hypothesis.settings.load_profile("housecast")

# Only tests of the prediction log want one.
os.environ["PREDICTION_LOG"] = "false"

# Their subjects are templates, workflows and programs of their own, which coverage does not follow; it would only cost
# moto's and the browser's driver's time.
UNTRACED = tuple(PROJECT / "tests" / name for name in ("browser", "infra", "workflows"))

SHARED = Path(os.environ.get("SHARED_DATA", PROJECT.parent / "shared" / "data"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave out of coverage what has nothing to do with it, with its fixtures."""
    if not any(item.path.is_relative_to(folder) for folder in UNTRACED):
        return (yield)
    with untraced():
        return (yield)


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


@dataclass(frozen=True)
class Published:
    """The embedded default market taken through every stage, once for all tests; read it, never write to it."""

    settings: Settings
    space: Workspace
    store: Store
    predictor: Predictor


@pytest.fixture(scope="session")
def published(config: DatasetConfig, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Published:
    def opened(root: Path) -> tuple[Settings, Workspace, Store]:
        settings = Settings(workspace=root, data_root=root / "market", threads=1)
        space = Workspace.of(config.name, settings)
        return settings, space, open_store(None, settings, space.store)

    def make(root: Path) -> None:
        settings, space, store = opened(root)
        stages = pipeline.stages_of(config, settings, store, config.source.default, trials=1)
        pipeline.run_stages(stages, config, space.stages)

    settings, space, store = opened(made_once(tmp_path_factory, worker_id, "published", make))
    return Published(settings, space, store, current_predictor(store, config.name, settings))
