"""A real Postgres for tests: its own folder, port and owner, stopped afterwards."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from tests.system_parts import require_program

OWNER = "keeper"
START_SECONDS = 30
# What it says while processes of a killed one are still ending.
IN_USE = "pre-existing shared memory block"
# Debian keeps them beside the PATH, newest last.
FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@dataclass(frozen=True)
class Postgres:
    """A running server, and one of its databases."""

    port: int
    password: str
    database: str = "postgres"
    process: "Process | None" = None

    @property
    def url(self) -> str:
        """The database's SQLAlchemy URL, with user and password."""
        return f"postgresql+psycopg://{OWNER}:{self.password}@127.0.0.1:{self.port}/{self.database}"

    @property
    def shown(self) -> str:
        """The same address as messages and records may show it."""
        return f"postgresql+psycopg://127.0.0.1:{self.port}/{self.database}"

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True)

    def execute(self, statement: str, rows: Sequence[Sequence[Any]] = ()) -> None:
        """Run a statement, for each of the rows if there are some."""
        with self.connect() as connection, connection.cursor() as cursor:
            if rows:
                cursor.executemany(statement, rows)
            else:
                cursor.execute(statement)

    def kill(self) -> None:
        """Kill the server: it can neither answer nor tidy up."""
        assert self.process is not None
        self.process.kill()

    def start(self) -> None:
        """Start the server, for the first time or again, and wait until it takes connections."""
        assert self.process is not None
        self.process.start()
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > until or (self.process.has_ended and IN_USE not in self.process.log):
                    raise RuntimeError(f"Postgres did not start: {self.process.log}") from None
                time.sleep(0.05)
                if self.process.has_ended:
                    self.process.start()
            else:
                return

    def with_database(self) -> "Postgres":
        """Make a new, empty database on the same server."""
        made = replace(self, database=f"test_{secrets.token_hex(4)}")
        self.execute(f"create database {made.database}")
        return made


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server on a free port of this machine; skip by name where Postgres is not installed."""
    initdb = require_program("initdb", "Postgres", FOLDERS)
    postgres = require_program("postgres", "Postgres", FOLDERS)
    # Postgres refuses to run as root. A path of its own: a socket's path must be short, and nobody may look into ours.
    as_user: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        password = secrets.token_hex(8)
        (folder / "password").write_text(password)
        if as_user:
            for path in (folder, folder / "password"):
                shutil.chown(path, as_user["user"], as_user["group"])
        made = [initdb, "--pgdata", str(folder / "data"), "--username", OWNER, "--pwfile", str(folder / "password")]
        made += ["--auth", "scram-sha-256", "--no-locale", "--encoding", "UTF8", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **as_user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = Postgres(free.getsockname()[1], password)
        command = [postgres, "-D", str(folder / "data"), "-k", str(folder), "-h", "127.0.0.1", "-p", str(server.port)]
        server = replace(server, process=Process([*command, "-c", "fsync=off"], folder, as_user))
        try:
            server.start()
            yield server
        finally:
            if server.process:
                server.process.stop()
    finally:
        shutil.rmtree(folder)


class Process:
    """The server's process, which may be started again in the same folder."""

    def __init__(self, command: Sequence[str], folder: Path, as_user: dict[str, Any]) -> None:
        self._command, self._folder, self._as_user = command, folder, as_user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder, **self._as_user
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()  # those of its connections notice, and end too
        self._process.wait(START_SECONDS)

    def stop(self) -> None:
        if self._process is not None and not self.has_ended:
            self._process.send_signal(signal.SIGINT)  # a fast shutdown: it does not wait for clients
            self._process.wait(START_SECONDS)
