"""What a monthly batch says of itself while it runs, in the file of its `--report`, which a supervisor reads."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from src.core.errors import DataError
from src.core.files import write_json


class Month(BaseModel):
    """What became of one month: `error` is empty when its file was written, `where` then says which that is."""

    model_config = ConfigDict(frozen=True)

    month: str
    rows: int
    where: str | None = None
    error: str = ""


class BatchReport(BaseModel):
    """How far a batch is; `finished` once it has ended by itself, with an `error` unless every month was written.

    `months` is how many there are in all, None until the input has been read; `done` are those that were tried.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    model_version: str | None = None
    months: int | None = None
    done: tuple[Month, ...] = ()
    finished: bool = False
    error: str | None = None


class Reporting:
    """Keeps a report up to date, and in a file where there is one."""

    def __init__(self, dataset: str, path: Path | None = None) -> None:
        self.report = BatchReport(dataset=dataset)
        self._path = path

    def say(self, **changes: Any) -> None:
        """Change members of the report; the file is replaced whole."""
        self.report = self.report.model_copy(update=changes)
        if self._path:
            write_json(self._path, self.report.model_dump(mode="json"))


def read_report(path: Path) -> BatchReport | None:
    """Read what a batch reported, None before its first word (DataError when the file is no report)."""
    try:
        return BatchReport.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DataError(f"{path} is no report of a batch") from error
