"""The data sets inside scikit-learn, as files: `sklearn:iris`."""

import logging
from pathlib import Path

import polars as pl

from src.core.config import DatasetConfig
from src.core.errors import ConfigError
from src.core.files import replacing

logger = logging.getLogger(__name__)

# Those that come with the package; its fetch_* functions need the network.
NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def write(name: str, config: DatasetConfig, downloads: Path) -> Path:
    """Write one of the sets as Parquet: scikit-learn's own column names, then the target under the config's name.

    Where the config says that the target is text, class names stand in it (`setosa`), else scikit-learn's numbers.

    Raises:
        ConfigError: no such set, no scikit-learn, or a text target of a set that has no classes.
    """
    if name not in NAMES:
        raise ConfigError(f"sklearn:{name}: scikit-learn brings {', '.join(NAMES)}")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ConfigError(f"sklearn:{name} needs scikit-learn: `uv sync --group training`") from error
    logger.info("taking %s from scikit-learn", name)
    found = getattr(datasets, f"load_{name}")()
    target = config.target.column
    answers = pl.Series(target, found.target)
    if config.columns[target].type == "text":
        if "target_names" not in found:
            raise ConfigError(f"sklearn:{name} has no classes: declare its target {target} as a number")
        answers = pl.Series(target, found.target_names[found.target].astype(str))
    path = downloads / f"{name}.parquet"
    with replacing(path) as temporary:
        pl.DataFrame(found.data, schema=list(found.feature_names), orient="row").with_columns(answers).write_parquet(
            temporary
        )
    return path
