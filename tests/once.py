"""What takes long to make, made once for all workers of a run: the first that needs it makes it, the others wait."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from coverage import Coverage


def made_once(factory: pytest.TempPathFactory, worker_id: str, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of the run that `make` has filled; read it, never write to it."""
    base = factory.getbasetemp()
    # Each worker of xdist has a folder of its own below the run's.
    folder = (base if worker_id == "master" else base.parent) / name
    done = folder.with_suffix(".done")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            # Of a worker that failed.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with untraced():
                make(folder)
            done.touch()
    return folder


@contextmanager
def untraced() -> Iterator[None]:
    """Leave a block out of coverage: to follow a training line by line takes half as long again as to run it."""
    now = Coverage.current()
    if now is None:
        yield
        return
    now.stop()
    try:
        yield
    finally:
        now.start()
