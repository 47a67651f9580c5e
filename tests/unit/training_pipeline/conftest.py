"""A record of runs that costs no schema set-up for each test."""

import shutil
import warnings
from pathlib import Path

import pytest

from src.core.config import Settings
from src.training_pipeline import tracking
from tests.markets import tiny_config


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a run of these tests."""
    folder = tmp_path_factory.mktemp("record")
    with warnings.catch_warnings():
        # MLflow's own classes use a loader that SQLAlchemy 2.1 deprecates; it says so once, on import.
        warnings.filterwarnings("ignore", "The .{2}noload", DeprecationWarning)
        assert tracking.registered(tiny_config(), Settings(workspace=folder)) == []
    return folder / "mlflow.db"


@pytest.fixture
def recording(settings: Settings, empty_record: Path) -> Settings:
    """A deployment in the test's own folder with its own MLflow database, ready to use."""
    shutil.copy(empty_record, settings.workspace / "mlflow.db")
    return settings
