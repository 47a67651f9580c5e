"""The API for tests: in this process, or as a process of its own on a real socket."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import polars as pl
from starlette.testclient import TestClient

from benchmarks.pricing import make_bundle
from src.api.app import create_app
from src.api.keys import new_key
from src.core.config import PROJECT, Settings
from src.core.store import FolderStore, Store
from src.inference_pipeline.predictor import Predictor

READ_KEY, _READ_ENTRY = new_key("tests", "read")
ADMIN_KEY, _ADMIN_ENTRY = new_key("tests-admin", "admin")
KEYS = f"{_READ_ENTRY} {_ADMIN_ENTRY}"
READ, ADMIN = ({"Authorization": f"Bearer {key}"} for key in (READ_KEY, ADMIN_KEY))
READY_SECONDS = 120
# A server process without training's packages, as in a serving image, is there in half the time.
LEAN = {"PYTHONPATH": str(PROJECT / "tests" / "serving_only")}


@dataclass(frozen=True)
class Small:
    """A store with two versions of a small model of HouseTS, the first current; copy it to change it."""

    store: FolderStore
    versions: tuple[str, str]
    predictor: Predictor  # of the current version
    other: Predictor
    rows: list[dict[str, Any]]  # raw, as the file writes them


def make_small(folder: Path, rows: int = 500, file: Path | None = None) -> Small:
    """Take a small market through the stages, without the search and the report, twice; keep the first raw rows.

    The current version is made of the rows of a file, if one is given.
    """
    store, versions = FolderStore(folder / "models"), []
    # Of different data, as a version's name holds their digest.
    for zips, rounds, source in ((20, 30, file), (21, 20, None)):
        place = folder / str(rounds)
        make_bundle(place, zips, rows, rounds, 4, source)
        versions.append(store.publish("housets", place / "bundle"))
    store.promote("housets", versions[0], by="tests", why="first")
    return load_small(folder)


def load_small(folder: Path) -> Small:
    """Load what `make_small` made in a folder."""
    store = FolderStore(folder / "models")
    current = store.current("housets")
    assert current
    (other,) = set(store.versions("housets")) - {current.version}
    first, second = (Predictor.load(store.root / "housets" / version) for version in (current.version, other))
    raw = pl.read_parquet(folder / "30" / "rows.parquet").with_columns(pl.col("zipcode").cast(pl.String)).to_dicts()
    return Small(store, (current.version, other), first, second, raw)


def copied(small: Small, folder: Path) -> FolderStore:
    """Copy the store, for a test that changes it."""
    shutil.copytree(small.store.root, folder)
    return FolderStore(folder)


@contextmanager
def client_of(settings: Settings, store: Store | None = None, address: str = "127.0.0.1") -> Iterator[TestClient]:
    """Start the service in this process and wait until the default data set serves."""
    app = create_app(settings, store)
    # Whatever the application raises must have become an answer.
    with TestClient(app, raise_server_exceptions=False, client=(address, 50_000)) as client:
        deadline = time.monotonic() + READY_SECONDS
        while client.get("/health/ready").status_code != 200:
            if time.monotonic() > deadline:
                raise TimeoutError(client.get("/health").text)
            time.sleep(0.02)
        yield client


class Asking:
    """Asks for prices all the time, in a thread; each answer must be 200, with the prices of the version it names."""

    def __init__(self, client: TestClient, small: Small, headers: dict[str, str]) -> None:
        self.count, self.failures = 0, list[str]()
        self.versions: list[str] = []  # in the order of their first answers
        self._client, self._headers, self._rows = client, headers, small.rows[:3]
        models = zip(small.versions, (small.predictor, small.other), strict=True)
        self._wanted = {version: model.predict(self._rows).estimate.tolist() for version, model in models}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stop.wait(0.02):
            self.count += 1
            try:
                answer = self._client.post("/predict", json=self._rows, headers=self._headers)
            except httpx.TransportError as error:
                self.failures.append(repr(error))
                continue
            if answer.status_code != 200:
                self.failures.append(answer.text)
                continue
            said = answer.json()
            version = said["model"]["version"]
            if said["predictions"] != self._wanted[version]:
                self.failures.append(f"not the prices of {version}")
            if version not in self.versions[-1:]:
                self.versions.append(version)

    def __enter__(self) -> "Asking":
        self._thread.start()
        until(lambda: self.count, "the first price")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@dataclass
class Server:
    """A server process of its own."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(self.url + path, **options)  # type: ignore[arg-type]

    def post(self, path: str, body: object, headers: dict[str, str]) -> Any:
        """Send JSON and return what is answered with 200."""
        answer = httpx.post(self.url + path, json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(
    folder: Path,
    *,
    wait: bool = True,
    command: tuple[str, ...] = ("-m", "src.api.main"),
    port: int | None = None,
    **environment: str,
) -> Iterator[Server]:
    """Run a server with `environment` on a free port, or a given one; its log is in `folder`."""
    port, log = port or free_port(), folder / "server.log"
    told = {**os.environ, "DRAIN_SECONDS": "0", "SYNC_SECONDS": "0.2", **environment}
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(port)], cwd=PROJECT, env=told, stderr=stream, text=True
        )
    server = Server(process, port, log)
    try:
        until(lambda: answers(server, "/health/ready" if wait else "/health/live"), f"{log.read_text()}")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def answers(server: Server, path: str) -> bool:
    """Tell whether the server answers 200."""
    if server.process.poll() is not None:
        raise RuntimeError(f"the server ended: {server.log.read_text()}")
    try:
        return server.get(path, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def until(holds: object, what: str, seconds: float = READY_SECONDS) -> None:
    """Wait until a function says yes."""
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)
