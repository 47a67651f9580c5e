"""A simulated market and what the first stages make of it, for the benchmarks that need features or a model."""

from pathlib import Path

from src.core.config import DatasetConfig, Settings
from src.core.workspace import Workspace
from src.feature_pipeline import feature_engineering, load, preprocess

MONTHS = 142


def settings_in(folder: Path, threads: int | None = None) -> Settings:
    """Make a deployment that lives in one folder, whatever the environment says."""
    return Settings(workspace=folder, data_root=folder / "none", mlflow_tracking_uri=None, threads=threads)


def to_features(config: DatasetConfig, settings: Settings, source: str) -> Workspace:
    """Take a source, for example `simulate:zips=30`, through the stages up to features."""
    space = Workspace.of(config.name, settings)
    load.run(config, source, settings, space.raw)
    preprocess.run(config, space.raw, space.processed)
    feature_engineering.run(config, space.processed, space.features)
    return space
