"""What the benchmarks share: work timed in processes of its own, medians beside each other, promises kept or missed."""

import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from src.core.errors import GateError

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")
Work = Callable[[], Any]


class Measured(NamedTuple):
    """One run in a process of its own: wall time from starting it to its end, CPU time, and peak resident memory.

    CPU time, of all threads, says more than wall time does on a machine that has other work.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def measure(work: Work) -> Measured:
    """Run picklable work in a fresh process; starting Python and importing count."""
    seconds, (cpu_seconds, peak) = timed(lambda: alone(_run, work))
    return Measured(seconds, cpu_seconds, peak)


def alone(work: Callable[..., T], *args: object) -> T:
    """Run picklable work in a fresh process, so that its peak memory and its settings are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def apart(*, smoke: bool) -> Callable[..., Any]:
    """Return `alone`; for a smoke run, whose figures mean nothing, a plain call: a process takes seconds to start."""
    return _here if smoke else alone


def _here(work: Callable[..., T], *args: object) -> T:
    return work(*args)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the wall time of a call, in seconds, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@contextmanager
def polars_threads(count: int) -> Iterator[None]:
    """Have processes that start in this block use so many threads in Polars, which reads it once, on import."""
    name, before = "POLARS_MAX_THREADS", os.environ.get("POLARS_MAX_THREADS")
    os.environ[name] = str(count)
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _run(work: Work) -> tuple[float, float]:
    work()
    return time.process_time(), peak_mb()


def peak_mb() -> float:
    """Return this process's peak resident memory in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: there a process inherits the peak of the one that started it.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def resident_mb(pid: int) -> float:
    """Return what a running process occupies now, in MB (10^6 bytes); NaN where the system does not say it in /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return math.nan
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def compare(ways: Mapping[str, Work], runs: int) -> dict[str, list[Measured]]:
    """Run each way `runs` times; the ways take turns, so that whatever slows the machine slows all of them."""
    # Imported where it is used: each process that is measured imports this module first.
    from rich.console import Console

    found: dict[str, list[Measured]] = {name: [] for name in ways}
    console = Console(stderr=True)
    for run in range(runs):
        for name, work in ways.items():
            found[name].append(measure(work))
            console.print(f"run {run + 1} of {runs}: {name}: {found[name][-1].seconds:.1f} s", style="dim")
    return found


def times_slower(found: Mapping[str, list[Measured]], name: str, reference: str) -> float:
    """Return how many times slower than the reference a way is: the median of the ratios run by run."""
    pairs = zip(found[name], found[reference], strict=True)
    return statistics.median(run.seconds / base.seconds for run, base in pairs)


def table(title: str, found: Mapping[str, list[Measured]], reference: str) -> "Table":
    """Lay the medians side by side, fastest and slowest run in brackets."""
    from rich.table import Table

    made = Table(title=title, caption=machine(), title_justify="left", caption_justify="left")
    made.add_column("way")
    for heading in ("wall, s", "CPU, s", "peak, MB", "slower"):
        made.add_column(heading, justify="right", no_wrap=True)
    for name, runs in found.items():
        seconds = [run.seconds for run in runs]
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        cpu = f"{statistics.median(run.cpu_seconds for run in runs):.1f}"
        peak = f"{statistics.median(run.peak_mb for run in runs):,.0f}"
        made.add_row(name, spread, cpu, peak, f"{times_slower(found, name, reference):.1f}x")
    return made


def judge(checks: Sequence[tuple[str, bool]], *, smoke: bool) -> None:
    """Say of each promise whether this run kept it; small data prove nothing.

    Raises:
        GateError: a promise was missed.
    """
    if smoke:
        return
    print("\n".join(f"{'kept  ' if kept else 'MISSED'} {promise}" for promise, kept in checks))
    missed = sum(not kept for _, kept in checks)
    if missed:
        raise GateError(f"{missed} of {len(checks)} promises missed on this machine; is it busy?")


def machine() -> str:
    """Name what the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "pandas", "numpy", _xgboost()))
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {packages}"


def _xgboost() -> str:
    return "xgboost" if sys.platform == "darwin" else "xgboost-cpu"
