"""Show how far a long step is: a bar on a terminal, log lines elsewhere."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)


# Set while a longer step shows its progress: what runs inside it says nothing of its own.
_shown: ContextVar[bool] = ContextVar("shown", default=False)


class Advance(Protocol):
    """Say how much is done in all, with a note such as the best value so far."""

    def __call__(self, done: int, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int, *, log_every: int = 1, done: int = 0) -> Iterator[Advance]:
    """Yield `advance(done, note)`; without a terminal, counts that `log_every` divides and the last are log lines.

    A step inside another is silent.
    """
    if _shown.get():
        yield _silent
        return
    token = _shown.set(True)
    try:
        with _display(what, total, log_every, done) as advance:
            yield advance
    finally:
        _shown.reset(token)


def _silent(done: int, note: str = "") -> None:
    del done, note


@contextmanager
def _display(what: str, total: int, log_every: int, done: int) -> Iterator[Advance]:
    console = Console(stderr=True)
    if console.is_terminal and sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console) as bar:
            task = bar.add_task(what, total=total, completed=done, note="")

            def show(done: int, note: str = "") -> None:
                bar.update(task, completed=done, note=note)

            yield show
    else:

        def log(done: int, note: str = "") -> None:
            if done % log_every == 0 or done == total:
                logger.info("%s: %d of %d%s", what, done, total, f", {note}" if note else "")

        yield log
