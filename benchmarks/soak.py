"""Keep a server at half of what it can do while versions come and go: nobody may notice, and memory must not grow.

Two models of 500 trees of depth 8 take turns every ten seconds: promoted and rolled back in the store and over HTTP,
and once in each round a version that is corrupted, which must stay out. Each answer is compared to the last digit with
what the version that it names must answer. Saturation is found first, by the same callers without a pause.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.measure import apart, judge, machine
from benchmarks.pricing import make_bundle
from benchmarks.processes import Running, free_port, running
from benchmarks.servers import OURS
from benchmarks.strict import MOST_TOLD, Callers, Question
from src.api.keys import new_key
from src.core.bundle import seal
from src.core.cli import run_command
from src.core.errors import GateError
from src.core.store import FolderStore
from src.inference_pipeline.predictor import Predictor

# Rows of a request: mostly one, some that are priced as a frame, some that are worth a thread.
SIZES = (1, 1, 1, 1, 1, 1, 1, 40, 1, 150)
QUESTIONS, CALLERS = 200, 8
BROKEN = "20200101T000000Z-0000dead"
# Growth of memory over the run, by its slope after the first quarter; a leak of each swap's model would be 7 MB a swap.
GROWTH_MB = 15.0
WHO = {"by": "soak", "why": "its turn"}


class Move(NamedTuple):
    """Something an operator does, and which of the versions serves afterwards; `refused` is one that must stay out."""

    name: str
    make: Callable[[], object]
    serves: str
    refused: str | None = None


class Swap(NamedTuple):
    """When a move began and when it had come into effect, by perf_counter."""

    name: str
    began: float
    ended: float


def make_store(folder: Path, args: argparse.Namespace) -> tuple[FolderStore, list[Predictor]]:
    """Publish two models, and a copy of the second that is corrupted afterwards; the first is current."""
    store, predictors = FolderStore(folder / "store"), []
    for number in range(2):
        place = folder / f"model-{number}"
        apart(smoke=args.smoke)(make_bundle, place, args.zips + number, 2_000, args.rounds, args.depth)
        store.publish("housets", place / "bundle")
        predictors.append(Predictor.load(place / "bundle"))
    broken = folder / "broken"
    shutil.copytree(folder / "model-1" / "bundle", broken)
    made = {"created": datetime.now(UTC), "git_commit": "none", "data_fingerprint": "f" * 64}
    seal(broken, dataset="housets", version=BROKEN, **made)
    store.publish("housets", broken)
    with (store.root / "housets" / BROKEN / "model.ubj").open("r+b") as stream:
        stream.seek(1_000)
        stream.write(b"\0\0\0\0")
    store.promote("housets", predictors[0].version, **WHO)
    return store, predictors


def moves(store: FolderStore, client: httpx.Client, first: str, second: str) -> Iterator[Move]:
    """Yield what happens, over and over."""

    def over_http(what: str, **body: str) -> None:
        client.post(f"/admin/{what}", json={"dataset": "housets", "why": "its turn", **body}).raise_for_status()

    yield from cycle(
        [
            Move("promoted in the store", partial(store.promote, "housets", second, **WHO), second),
            Move("rolled back in the store", partial(store.rollback, "housets", **WHO), first),
            Move("promoted over HTTP", partial(over_http, "promote", version=second), second),
            Move("corrupted, promoted", partial(store.promote, "housets", BROKEN, **WHO), second, BROKEN),
            Move("rolled back over HTTP", partial(over_http, "rollback"), second),
            Move("rolled back to the first", partial(over_http, "rollback", to=first), first),
        ]
    )


def carried_out(move: Move, client: httpx.Client, seconds: float) -> Swap:
    """Make a move and wait until it is in effect (GateError when that takes too long)."""
    began = time.perf_counter()
    move.make()
    while not _in_effect(move, client.get("/health").json()["datasets"]["housets"]):
        if time.perf_counter() - began > seconds:
            raise GateError(f"{move.name}: not in effect after {seconds:g} s: {client.get('/health').text}")
        time.sleep(0.05)
    return Swap(move.name, began, time.perf_counter())


def _in_effect(move: Move, said: Mapping[str, Any]) -> bool:
    sync = said["last_sync"]
    if said["version"] != move.serves:
        return False
    if move.refused:
        return bool(sync["outcome"] == "failed" and sync["version"] == move.refused)
    return bool(sync["outcome"] == "ok" and sync["version"] == move.serves)


def soak(
    callers: Callers, process: Running, todo: Iterator[Move], client: httpx.Client, args: argparse.Namespace
) -> tuple[list[Swap], list[tuple[float, float]]]:
    """Let versions come and go under load; returns the swaps, and resident memory in MB by time."""
    swaps: list[Swap] = []
    memory: list[tuple[float, float]] = []
    log = Console(stderr=True)
    with callers:
        end = callers.began + args.seconds
        next_swap = callers.began + args.every / 2
        while (now := time.perf_counter()) < end:
            memory.append((now, process.resident_mb()))
            if now >= next_swap:
                swaps.append(carried_out(next(todo), client, args.patience))
                next_swap += args.every
                log.print(f"{swaps[-1].name}: {swaps[-1].ended - swaps[-1].began:.1f} s", style="dim")
            time.sleep(min(0.5, args.every / 10))
    return swaps, memory


def slope_mb(memory: Sequence[tuple[float, float]], seconds: float) -> float:
    """Return how much memory would grow in so many seconds: a line through what was seen after the first quarter."""
    later = np.array(memory[len(memory) // 4 :])
    return float(np.polyfit(later[:, 0], later[:, 1], 1)[0] * seconds) if len(later) > 2 else float("nan")


def waits(callers: Callers, swaps: Sequence[Swap]) -> dict[str, np.ndarray[Any, Any]]:
    """Return how long answers took, in ms, of all and of those that a swap may have held up."""
    at = np.concatenate([one.at for one in callers.heard])
    ms = np.concatenate([one.seconds for one in callers.heard]) * 1e3
    near = np.zeros(len(at), bool)
    for swap in swaps:
        near |= (at >= swap.began) & (at - ms / 1e3 <= swap.ended)
    return {"all": ms, "while a version is swapped in": ms[near], "otherwise": ms[~near]}


def report(callers: Callers, swaps: Sequence[Swap], memory: Sequence[tuple[float, float]], at_most: float) -> None:
    run = callers.ended - callers.began
    table = Table(
        title=f"{run:.0f} s at {callers.per_second:,.0f} requests/s, saturated at {at_most:,.0f}",
        caption=machine(),
        title_justify="left",
        caption_justify="left",
        min_width=80,
    )
    for heading in ("answers", "count", "p50, ms", "p99, ms", "p99.9, ms", "longest, ms"):
        table.add_column(heading, justify="left" if heading == "answers" else "right")
    for name, ms in waits(callers, swaps).items():
        figures = [f"{value:,.1f}" for value in np.percentile(ms, (50, 99, 99.9, 100))] if len(ms) else ["-"] * 4
        table.add_row(name, f"{len(ms):,}", *figures)
    Console(width=max(Console().width, 120)).print(table)
    by_name: dict[str, list[float]] = {}
    for swap in swaps:
        by_name.setdefault(swap.name, []).append(swap.ended - swap.began)
    for name, seconds in by_name.items():
        print(f"{name}: {len(seconds)} times, in effect after {statistics.median(seconds):.1f} s")
    first, last, minute, whole = memory[0][1], memory[-1][1], slope_mb(memory, 60), slope_mb(memory, run)
    print(
        f"resident: {first:,.0f} MB at first, {last:,.0f} at last; {minute:+.2f} MB a minute, {whole:+.1f} in the run"
    )


def verdicts(callers: Callers, memory: Sequence[tuple[float, float]]) -> list[tuple[str, bool]]:
    """Say of each promise whether the run kept it."""
    failures = [what for one in callers.heard for what in one.failures]
    faults = [what for one in callers.heard for what in one.faults]
    for what in (*failures[:MOST_TOLD], *faults[:MOST_TOLD]):
        print(what)
    growth = slope_mb(memory, callers.ended - callers.began)
    return [
        (f"no request failed: {len(failures)}", not failures),
        (f"no answer has other prices than the version that it names: {len(faults)}", not faults),
        (f"memory grows by at most {GROWTH_MB:g} MB over the run: {growth:.1f}", growth <= GROWTH_MB),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the soak from the command line."""
    args = _arguments(argv)
    port, (admin, entry) = free_port(), new_key("soak", "admin")
    with tempfile.TemporaryDirectory(prefix="housecast-") as name:
        folder = Path(name)
        store, predictors = make_store(folder, args)
        told = {**OURS.settings(folder, port), "API_KEYS": f"{OURS.entry} {entry}", "SYNC_SECONDS": "1", "CACHE": name}
        rows = pl.read_parquet(folder / "model-0" / "rows.parquet").select(predictors[0].config.raw_inputs).to_dicts()
        questions = [
            Question(
                [rows[(7 * i + j) % len(rows)] for j in range(SIZES[i % len(SIZES)])], predictors, port, OURS.headers
            )
            for i in range(QUESTIONS)
        ]
        url = f"http://127.0.0.1:{port}"
        command = [str(part) for part in OURS.command(folder, port)]
        keyed = {"Authorization": f"Bearer {admin}"}
        with (
            running(command, told, f"{url}/health/ready", folder / "server.log") as process,
            httpx.Client(base_url=url, headers=keyed, timeout=60) as client,
        ):
            with Callers(port, questions, CALLERS) as fast:
                time.sleep(args.saturation)
            callers = Callers(port, questions, CALLERS, fast.per_second / 2)
            todo = moves(store, client, *(one.version for one in predictors))
            swaps, memory = soak(callers, process, todo, client, args)
    report(callers, swaps, memory, fast.per_second)
    # Failures count however small the run.
    found = verdicts(callers, memory)
    if not all(kept for _, kept in found[:2]):
        raise GateError("requests failed, or versions were mixed; see above")
    judge(found, smoke=args.smoke)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--seconds", type=float, default=300, help="of load at half of saturation")
    made.add_argument("--every", type=float, default=10, help="seconds between two moves")
    made.add_argument("--patience", type=float, default=60, help="seconds that a move may take to come into effect")
    made.add_argument("--saturation", type=float, default=10, help="seconds in which saturation is found")
    made.add_argument("--zips", type=int, default=200, help="ZIP codes of the simulated markets")
    made.add_argument("--rounds", type=int, default=500)
    made.add_argument("--depth", type=int, default=8)
    made.add_argument("--smoke", action="store_true", help="some seconds with small models: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.seconds, args.every, args.saturation = 6, 0.8, 1
        args.zips, args.rounds, args.depth = 20, 20, 4
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
