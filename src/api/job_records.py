"""What is kept of jobs in a workspace, and whether their processes live.

A job holds a lock on a file of its own from the moment that it is accepted, and its process inherits the lock. So any
API over the same workspace sees, also after one was killed: locked, it waits or runs; not locked and its report is
finished, it has ended; not locked and not finished, it was interrupted.
"""

import fcntl
import logging
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from src.core.batch_report import BatchReport, read_report
from src.core.errors import DataError
from src.core.files import replacing

logger = logging.getLogger(__name__)

KEPT = 100
INTERRUPTED = "The service ended before the batch did; start it again."
_ID = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{8}")
# An address or a path with a folder in it, of which the last part may be told.
_PLACE = re.compile(r"[^\s'\"(),;]*/(?P<name>[^\s'\"(),;:/?]*)(?:\?\S*)?")

State = Literal["queued", "running", "done", "failed", "interrupted"]


class Record(BaseModel):
    """One job, as JSON; `months` is empty where every month of the input is asked for."""

    model_config = ConfigDict(frozen=True)

    id: str
    dataset: str
    months: tuple[str, ...] = ()
    state: State = "queued"
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    error: str | None = None

    @property
    def is_active(self) -> bool:
        return self.state in ("queued", "running")

    def running(self) -> "Record":
        """Return the record of the job that has begun."""
        return self.model_copy(update={"state": "running", "started": datetime.now(UTC)})

    def over(self, state: State, error: str | None) -> "Record":
        """Return the record of the job that has ended; of places in the error only names are kept."""
        told = None if error is None else without_places(error)
        return self.model_copy(update={"state": state, "error": told, "ended": datetime.now(UTC)})


class Records:
    """The records of one folder, for any number of threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Decide alone, also among processes (OSError when the folder cannot be written)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def make(self, dataset: str, months: Sequence[str]) -> tuple[Record, IO[str]]:
        """Make a queued job; returns its record and its lock, which is held until the file is closed."""
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"
        made = Record(id=name, dataset=dataset, months=tuple(months), created=now)
        lock = self._path(made.id, ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.keep(made)
        self._prune()
        return made, lock

    def keep(self, record: Record) -> None:
        """Write a record in the place of the one before."""
        with replacing(self._path(record.id, ".json")) as temporary:
            temporary.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def get(self, job: str) -> Record | None:
        """Return a job as it is now; one whose lock is free has ended, and its record says how."""
        record = self._read(job) if _ID.fullmatch(job) else None
        if record is None or not record.is_active or self._is_locked(job):
            return record
        # It may have ended, and said so, since its record was read.
        record = self._read(job) or record
        if record.is_active:
            record = self.ended_by_itself(record) or record.over("interrupted", INTERRUPTED)
            self.keep(record)
        return record

    def active(self) -> list[Record]:
        """Return the jobs that wait or run, the oldest first."""
        return [record for record in self._all() if record.is_active]

    def ended_by_itself(self, record: Record) -> Record | None:
        """Return the record of a job whose batch has said how it ended, None where it has not."""
        report = self.report(record.id)
        if report is None or not report.finished:
            return None
        return record.over("failed" if report.error else "done", report.error)

    def report(self, job: str) -> BatchReport | None:
        """Return what a job's batch reported, None before its first word."""
        try:
            return read_report(self.report_path(job))
        except DataError:
            return None

    def report_path(self, job: str) -> Path:
        return self._path(job, ".report.json")

    def _all(self) -> list[Record]:
        ids = sorted(path.stem for path in self.folder.glob("*.json"))
        return [record for job in ids if (record := self.get(job))]

    def _read(self, job: str) -> Record | None:
        try:
            return Record.model_validate_json(self._path(job, ".json").read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            logger.warning("the record of job %s is damaged", job)
            return None

    def _is_locked(self, job: str) -> bool:
        try:
            with self._path(job, ".lock").open() as lock:
                # Shared, so that two who look do not take each other for the job.
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _prune(self) -> None:
        ended = [record.id for record in self._all() if not record.is_active]
        for job in ended[: max(0, len(ended) - KEPT)]:
            for suffix in (".json", ".report.json", ".lock"):
                self._path(job, suffix).unlink(missing_ok=True)

    def _path(self, job: str, suffix: str) -> Path:
        return self.folder / f"{job}{suffix}"


def without_places(text: str) -> str:
    """Shorten every path and address in a message to its last part, and the message to a few lines."""
    return _PLACE.sub(lambda found: found["name"] or "...", text)[:1000]
