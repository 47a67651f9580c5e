"""Where the monthly batch's output lives: a folder or a place in S3 for each dataset, with one file a month in it.

A file is `preds_YYYY_MM.parquet`, or `preds_all.parquet` of a dataset without dates. It is replaced whole: whoever
reads it meanwhile has the old one or the new one.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.core.address import place_of
from src.core.bundle import sync
from src.core.config import Settings
from src.core.errors import StoreError
from src.core.files import replacing
from src.core.pointer import check_dataset
from src.core.workspace import Workspace

# The one batch of rows that have no date.
ALL = "all"
# Others are written too, on request, and no reader is promised anything of them.
SUFFIX = ".parquet"
_NAME = re.compile(r"preds_(\d{4}_(?:0[1-9]|1[0-2])|all)\.parquet")


@dataclass(frozen=True)
class PredictionsFile:
    """One month's file: `tag` is another one as soon as the file is, `size` is in bytes."""

    name: str
    tag: str
    size: int

    @property
    def month(self) -> str:
        """The month, `YYYY-MM`, or `all`."""
        return self.name.removeprefix("preds_").removesuffix(SUFFIX).replace("_", "-")


class PredictionsStore(Protocol):
    """What every store of predictions can do for its one dataset; `str()` of it is where it is."""

    def files(self) -> list[PredictionsFile]:
        """Return the Parquet files that are there, by month; what else lies there is left out."""

    def read(self, name: str) -> tuple[bytes, str]:
        """Return a file's content and the tag of just that content."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file, or replace it, whole or not at all."""


def file_name(month: str, suffix: str = SUFFIX) -> str:
    """Name the file of a month, `YYYY-MM` or `all`."""
    return f"preds_{month.replace('-', '_')}{suffix}"


def is_month_file(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def open_predictions(dataset: str, settings: Settings) -> PredictionsStore:
    """Open a dataset's: in PREDICTIONS_STORE, else beside an S3 model store, else in the workspace.

    Raises:
        ConfigError: the URI is neither a folder nor s3://bucket/prefix.
        StoreError: S3 cannot be set up, for example because AWS_PROFILE does not exist.
    """
    check_dataset(dataset)
    if settings.predictions_store:
        place = place_of(settings.predictions_store, "predictions store")
        if isinstance(place, Path):
            return FolderPredictions(place / dataset)
    else:
        place = place_of(settings.models_uri or "", "model store")
        if isinstance(place, Path):
            return FolderPredictions(Workspace.of(dataset, settings).predictions)
        place = (place[0], f"{place[1]}/predictions")
    # botocore takes 0.3 s to import, which a folder need not pay.
    from src.core.s3_predictions import S3Predictions
    from src.core.s3_store import connect

    bucket, prefix = place
    return S3Predictions(connect(bucket, settings), bucket, f"{prefix}/{dataset}")


class FolderPredictions:
    """Files of one folder, renamed into place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def files(self) -> list[PredictionsFile]:
        """Return the Parquet files that are there, by month (StoreError)."""
        found = []
        with self._explained():
            for path in self.folder.iterdir() if self.folder.exists() else ():
                if is_month_file(path.name):
                    try:
                        status = path.stat()
                    except FileNotFoundError:  # removed since it was listed
                        continue
                    found.append(PredictionsFile(path.name, _tag(status), status.st_size))
        return sorted(found, key=lambda file: file.name)

    def read(self, name: str) -> tuple[bytes, str]:
        """Return a file's content and the tag of just that content (StoreError)."""
        with self._explained(), (self.folder / name).open("rb") as stream:
            # Of the open file, as another one may have its name by now, and from before it is read, in case that
            # somebody writes into it instead of replacing it.
            tag = _tag(os.fstat(stream.fileno()))
            return stream.read(), tag

    def put(self, name: str, content: bytes) -> None:
        """Write a file, or replace it, whole or not at all (StoreError)."""
        with self._explained():
            with replacing(self.folder / name) as temporary:
                temporary.write_bytes(content)
                sync(temporary)
            sync(self.folder)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"predictions {self.folder}: {error.strerror or error}") from error


def _tag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
