"""Batches that the API starts: each is a process of its own, with a record that outlives the API (`job_records`)."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from pydantic import SecretStr

from src.api.job_records import INTERRUPTED, Record, Records
from src.api.problems import Problem
from src.core.batch_report import BatchReport
from src.core.config import Settings
from src.core.pointer import check_dataset

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "src.batch.run_monthly")
# Of all data sets together; of one data set only one runs.
MOST_RUNNING, MOST_ACTIVE = 2, 4
POLL_SECONDS, STOP_SECONDS, RETRY_SECONDS = 0.2, 5.0, 30
# Requests are answered before batches are worked on.
NICENESS = 10


class Jobs:
    """Starts batches and follows them; safe in threads, and beside other processes over the same workspace."""

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str] = COMMAND,
        on_end: Callable[[str], None] = lambda dataset: None,  # noqa: ARG005
    ) -> None:
        """Keep jobs in the workspace; `on_end` is told the data set of a batch before its job says that it ended."""
        self.records = Records(settings.workspace / "jobs")
        self._command = command
        self._on_end = on_end
        self._environment = environment(settings)
        self._threads: set[threading.Thread] = set()
        self._stop = threading.Event()

    def start(self, dataset: str, months: Sequence[str] = ()) -> Record:
        """Accept a batch, or join the one that waits or runs for the same months.

        Raises:
            Problem: so many batches wait or run that one more must come later, or jobs cannot be kept (503).
        """
        check_dataset(dataset)
        asked = tuple(sorted(set(months)))
        try:
            with self.records.deciding():
                active = self.records.active()
                for record in active:
                    if (record.dataset, record.months) == (dataset, asked):
                        return record
                if len(active) >= MOST_ACTIVE or self._stop.is_set():
                    text = f"{len(active)} batches wait or run already; come again."
                    raise Problem(503, "busy", text, headers={"Retry-After": str(RETRY_SECONDS)})
                made, lock = self.records.make(dataset, asked)
        except OSError as error:
            logger.warning("jobs cannot be kept: %s", error)
            raise Problem(503, "jobs", "This server cannot keep jobs: its workspace cannot be written.") from error
        thread = threading.Thread(target=self._follow, args=(made, lock), name=f"job {made.id}", daemon=True)
        self._threads.add(thread)
        thread.start()
        return made

    def get(self, job: str) -> tuple[Record, BatchReport | None]:
        """Return a job as it is now, and what its batch reported (Problem 404 when there is none)."""
        record = self.records.get(job)
        if record is None:
            raise Problem(404, "no-job", f"No job {job[:64]!r} is known.")
        return record, self.records.report(job)

    def stop(self) -> None:
        """End what runs and waits here; its jobs say that they were interrupted."""
        self._stop.set()
        for thread in list(self._threads):
            thread.join(2 * STOP_SECONDS)

    def _follow(self, record: Record, lock: IO[str]) -> None:
        # The lock is given back only when the record says how it ended.
        with lock:
            try:
                started = self._turn(record)
                if started is None:
                    ended = record.over("interrupted", INTERRUPTED)
                else:
                    code, last = self._run(started, lock)
                    ended = self.records.ended_by_itself(started) or self._broken_off(started, code, last)
                    self._on_end(record.dataset)
                self.records.keep(ended)
            except Exception:  # a thread has no caller who could be told
                logger.exception("job %s broke off", record.id)
            finally:
                self._threads.discard(threading.current_thread())

    def _turn(self, record: Record) -> Record | None:
        """Wait until no other batch of the data set and few enough at all run; None when the service stops first."""
        while not self._stop.is_set():
            with self.records.deciding():
                active = self.records.active()
                before = [one for one in active if one.dataset == record.dataset and one.id < record.id]
                if not before and sum(one.state == "running" for one in active) < MOST_RUNNING:
                    started = record.running()
                    self.records.keep(started)
                    return started
            self._stop.wait(POLL_SECONDS)
        return None

    def _run(self, record: Record, lock: IO[str]) -> tuple[int, str]:
        """Run the batch; returns its exit code and the last line that it logged."""
        asked = [word for month in record.months for word in ("--month", month)]
        report = str(self.records.report_path(record.id))
        process = subprocess.Popen(  # noqa: S603  (a name and months that were checked, and no shell)
            [*self._command, "--dataset", record.dataset, *asked, "--report", report],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C in a terminal is for the API, which then asks the batch to end
        )
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        ender = threading.Thread(target=self._end, args=(process,), daemon=True)
        ender.start()
        last = ""
        with process:
            assert process.stderr
            for line in process.stderr:
                last = line.strip() or last
                logger.info("job %s: %s", record.id, line.rstrip())
        ender.join()
        return process.returncode, last

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Wait for the process, or for the service to stop, and then have it end."""
        while process.poll() is None:
            if self._stop.wait(POLL_SECONDS):
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
                process.kill()
                return

    def _broken_off(self, record: Record, code: int, last: str) -> Record:
        if self._stop.is_set():
            return record.over("interrupted", INTERRUPTED)
        if last.startswith("error: "):
            return record.over("failed", last.removeprefix("error: "))
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return record.over("failed", f"The batch {how}; the log says why.")


def environment(settings: Settings) -> Mapping[str, str]:
    """Return the environment in which another process reads the same settings."""
    said = dict(os.environ)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        said.pop(name.upper(), None)
        if value is not None:
            said[name.upper()] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return said
