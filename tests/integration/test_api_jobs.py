"""Batches as jobs: accepted, followed, joined, and told apart from what a killed service left behind."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.api import job_records, jobs
from src.api.job_records import INTERRUPTED, Record, without_places
from src.api.jobs import Jobs, environment
from src.api.problems import Problem
from src.core.config import PROJECT, Settings
from tests.serving import until

# Stands for the batch: reports one month, waits until it may go on, and ends as the file tells it.
BATCH = """
import json, os, sys, time
from pathlib import Path
arguments = sys.argv[1:]
report, dataset = (Path(arguments[arguments.index(name) + 1]) for name in ("--report", "--dataset"))
go = Path(os.environ["WORKSPACE"]) / "go"
months = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--month"]

def say(**more):
    done = [{"month": "2022-01", "rows": 7, "where": "/secret/place/preds_2022_01.parquet"}]
    whole = {"dataset": str(dataset), "model_version": "v1", "months": len(months) or 1, "done": done, **more}
    report.with_suffix(".tmp").write_text(json.dumps(whole))
    report.with_suffix(".tmp").replace(report)

print("pricing", *months, file=sys.stderr, flush=True)
say()
while not go.exists():
    time.sleep(0.01)
how = go.read_text()
if how == "done":
    say(finished=True)
elif how == "failed":
    say(finished=True, error="1 of 1 months failed: cannot write /secret/place/preds_2022_01.parquet: disk full")
elif how == "error":
    sys.exit("error: cannot read s3://bucket/secret/place/in.parquet?key=secret: there is no such object")
else:
    os.kill(os.getpid(), 9)
"""
SECONDS = 20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path / "work", sql_url="sqlite:///secret", predictions_store=None)


@pytest.fixture
def start_service(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], Jobs]]:
    (tmp_path / "batch.py").write_text(BATCH)
    made = []

    def start() -> Jobs:
        made.append(Jobs(settings, (sys.executable, "-S", "-E", str(tmp_path / "batch.py"))))
        return made[-1]

    yield start
    for service in made:
        service.stop()


@pytest.fixture
def service(start_service: Callable[[], Jobs]) -> Jobs:
    return start_service()


def let_go(settings: Settings, how: str = "done") -> None:
    (settings.workspace / "there").write_text(how)
    (settings.workspace / "there").rename(settings.workspace / "go")


def state(service: Jobs, record: Record) -> str:
    return service.get(record.id)[0].state


def reached(service: Jobs, record: Record, wanted: str) -> Record:
    until(lambda: state(service, record) == wanted, f"{wanted}, not {service.get(record.id)[0]}", SECONDS)
    return service.get(record.id)[0]


def has_begun(service: Jobs, record: Record) -> None:
    until(lambda: service.get(record.id)[1] is not None, "a report", SECONDS)


def test_a_job_waits_runs_and_is_done(service: Jobs, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "src"):
        job = service.start("housets", ["2022-02", "2022-01", "2022-02"])
        assert (job.state, job.months) == ("queued", ("2022-01", "2022-02"))
        has_begun(service, job)
        record, report = service.get(job.id)
        assert (record.state, record.error, record.ended) == ("running", None, None)
        assert report is not None
        assert (report.months, [month.month for month in report.done]) == (2, ["2022-01"])
        let_go(settings)
        done = reached(service, job, "done")
    assert done.created <= done.started <= done.ended  # type: ignore[operator]
    assert f"job {job.id}: pricing 2022-01 2022-02" in caplog.messages
    assert service.get(job.id)[1].finished  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("failed", "1 of 1 months failed: cannot write preds_2022_01.parquet: disk full"),
        ("error", "cannot read in.parquet there is no such object"),
        ("killed", "The batch was killed by signal 9; the log says why."),
    ],
)
def test_a_job_that_fails_says_why_without_places(service: Jobs, settings: Settings, how: str, error: str) -> None:
    job = service.start("housets")
    has_begun(service, job)
    let_go(settings, how)
    assert reached(service, job, "failed").error == error
    assert "secret" not in service.get(job.id)[0].model_dump_json()


def test_the_same_batch_is_joined_and_another_of_the_data_set_waits(service: Jobs, settings: Settings) -> None:
    first = service.start("housets", ["2022-01", "2022-02"])
    assert service.start("housets", ["2022-02", "2022-01"]).id == first.id
    has_begun(service, first)
    assert service.start("housets", ["2022-01", "2022-02"]).id == first.id
    second, third = service.start("housets", ["2022-03"]), service.start("iris")
    assert len({first.id, second.id, third.id}) == 3
    has_begun(service, third)
    assert (state(service, second), state(service, third)) == ("queued", "running")
    let_go(settings)
    for job in (first, second, third):
        reached(service, job, "done")
    assert service.start("housets", ["2022-01", "2022-02"]).id != first.id, "what has ended is not joined"


def test_so_many_run_so_many_wait_and_the_next_comes_later(
    service: Jobs, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [service.start(name) for name in ("a", "b", "c", "d")]
    for job in made[:2]:
        has_begun(service, job)
    assert [state(service, job) for job in made] == ["running", "running", "queued", "queued"]
    with pytest.raises(Problem) as refused:
        service.start("e")
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "30"})
    assert service.start("c").id == made[2].id
    let_go(settings)
    for job in made:
        reached(service, job, "done")


def test_a_stop_ends_what_runs_and_waits(service: Jobs, start_service: Callable[[], Jobs]) -> None:
    running, waiting = service.start("housets"), service.start("housets", ["2022-03"])
    has_begun(service, running)
    service.stop()
    for other in (service, start_service()):
        for job in (running, waiting):
            record = other.get(job.id)[0]
            assert (record.state, record.error) == ("interrupted", INTERRUPTED)
    with pytest.raises(Problem):
        service.start("housets")


KILLED = """
import sys, time
from src.api.jobs import Jobs
from src.core.config import Settings
service = Jobs(Settings(), (sys.executable, "-S", "-E", sys.argv[1]))
made = [service.start("housets"), service.start("housets", ["2022-03"])]
while service.get(made[0].id)[1] is None:
    time.sleep(0.01)
print(*(job.id for job in made), flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("end", ["done", "failed", "killed"])
def test_a_batch_that_outlives_a_killed_service_is_followed_by_the_next(
    settings: Settings, start_service: Callable[[], Jobs], tmp_path: Path, end: str
) -> None:
    service = start_service()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "batch.py")]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment(settings), stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ) as killed:
        assert killed.stdout
        running, waiting = killed.stdout.readline().split()
        assert service.get(waiting)[0].state == "queued"
        killed.send_signal(signal.SIGKILL)
    assert service.get(running)[0].state == "running"
    assert service.get(waiting)[0].state == "interrupted"
    assert service.start("housets").id == running, "the batch is joined, not started a second time"
    after = service.start("housets", ["2022-04"])
    time.sleep(3 * jobs.POLL_SECONDS)
    assert state(service, after) == "queued", "one batch of a data set at a time, whoever started it"
    let_go(settings, end)
    record = reached(service, service.get(running)[0], "interrupted" if end == "killed" else end)
    assert record.error == (INTERRUPTED if end == "killed" else record.error)
    assert "secret" not in record.model_dump_json()
    assert reached(start_service(), record, record.state) == record
    reached(service, after, "failed" if end != "done" else "done")


def test_the_newest_are_kept(service: Jobs, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_records, "KEPT", 2)
    settings.workspace.mkdir()
    let_go(settings)
    made = []
    for _ in range(5):
        made.append(service.start("housets"))
        reached(service, made[-1], "done")
    for job in made[:2]:
        with pytest.raises(Problem, match="No job") as refused:
            service.get(job.id)
        assert refused.value.status == 404
    assert [state(service, job) for job in made[2:]] == ["done"] * 3
    left = {path.name.split(".")[0] for path in (settings.workspace / "jobs").iterdir() if path.name != ".lock"}
    assert left == {job.id for job in made[2:]}


@pytest.mark.parametrize(
    "job", ["", "x", "../secret", "20261120T231500000000Z-1a2b3c4d", "20261120T231500000000Z-1a/.."]
)
def test_what_is_no_job_is_not_found(service: Jobs, job: str) -> None:
    with pytest.raises(Problem) as refused:
        service.get(job)
    assert refused.value.status == 404


def test_a_damaged_record_is_no_job(service: Jobs, settings: Settings) -> None:
    settings.workspace.mkdir()
    let_go(settings)
    job = service.start("housets")
    reached(service, job, "done")
    (settings.workspace / "jobs" / f"{job.id}.json").write_text("{")
    with pytest.raises(Problem):
        service.get(job.id)
    assert service.start("housets").id != job.id


def test_a_workspace_that_cannot_be_written_keeps_no_jobs(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    with pytest.raises(Problem, match="cannot keep jobs") as refused:
        Jobs(Settings(workspace=tmp_path / "work")).start("housets")
    assert refused.value.status == 503


def test_another_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("S3_BUCKET", "of the environment")
    settings = Settings(workspace=tmp_path, s3_bucket=None, sql_url="sqlite:///x", threads=3, allow_anonymous=True)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    said = environment(settings)
    for name, value in said.items():
        if name.lower() in Settings.model_fields:
            monkeypatch.setenv(name, value)
    assert Settings() == settings
    assert said["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot read /tmp/a b/x.csv: no", "cannot read a x.csv: no"),
        ("s3://bucket/secret/: access denied", "...: access denied"),
        ("https://host/secret/x.csv?key=secret is gone", "x.csv is gone"),
        ("postgresql://ann:secret@host/market: no", "market: no"),
        ("column date: 3 values are not a date", "column date: 3 values are not a date"),
        ("(/secret/x.csv)", "(x.csv)"),
    ],
)
def test_messages_are_told_without_places(text: str, told: str) -> None:
    assert without_places(text) == told


def test_records_are_plain_json(service: Jobs, settings: Settings) -> None:
    settings.workspace.mkdir()
    let_go(settings)
    job = service.start("housets")
    reached(service, job, "done")
    content = json.loads((settings.workspace / "jobs" / f"{job.id}.json").read_text())
    assert (content["state"], content["dataset"], content["months"]) == ("done", "housets", [])
