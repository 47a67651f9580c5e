"""POST /run_batch and GET /jobs/{id}: the monthly batch as a job."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from src.api.job_records import Record, State, without_places
from src.api.problems import Problem
from src.api.service import Service, service_of
from src.core.batch_report import BatchReport

router = APIRouter(tags=["batch"])
Here = Annotated[Service, Depends(service_of)]
Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class RunBatch(BaseModel):
    """What is to be priced; the default data set and every month of the batch's input if nothing is said."""

    model_config = ConfigDict(extra="forbid")

    dataset: str | None = Field(None, max_length=64, examples=["housets"])
    months: list[Month] = Field([], max_length=1_000, examples=[["2022-03"]])


class Progress(BaseModel):
    """Months in all, null until the input has been read, and of those tried how many were written and failed."""

    months: int | None = None
    done: int = 0
    failed: int = 0


class MonthResult(BaseModel):
    """What became of one month."""

    month: str
    rows: int
    error: str | None


class Job(BaseModel):
    """A batch: `months` as asked for, `results` so far; `error` says why it failed or was interrupted."""

    id: str
    dataset: str
    months: list[str]
    state: State
    created: datetime
    started: datetime | None
    ended: datetime | None
    progress: Progress
    model_version: str | None
    results: list[MonthResult]
    error: str | None


@router.post("/run_batch", status_code=202)
def run_batch(here: Here, response: Response, body: RunBatch | None = None) -> Job:
    """Start the monthly batch, or join the one that waits or runs for the same months; follow it at `Location`."""
    asked = body or RunBatch()
    served = here.models.get(here.settings.default_dataset if asked.dataset is None else asked.dataset)
    if asked.months and served.config.date is None:
        text = f"Rows of {served.dataset} have no date, so they are one batch: leave months out."
        raise Problem(422, "no-months", text)
    record = here.jobs.start(served.dataset, asked.months)
    response.headers["Location"] = f"/jobs/{record.id}"
    return _told(*here.jobs.get(record.id))


@router.get("/jobs/{job}")
def job(job: str, here: Here, response: Response) -> Job:
    """Tell how far a batch is, and what became of each month."""
    response.headers["Cache-Control"] = "no-store"
    return _told(*here.jobs.get(job))


def _told(record: Record, report: BatchReport | None) -> Job:
    done = report.done if report else ()
    failed = sum(bool(month.error) for month in done)
    progress = Progress(months=report.months if report else None, done=len(done) - failed, failed=failed)
    results = [
        MonthResult(month=one.month, rows=one.rows, error=without_places(one.error) if one.error else None)
        for one in done
    ]
    return Job(
        **record.model_dump(),
        progress=progress,
        model_version=report.model_version if report else None,
        results=results,
    )
