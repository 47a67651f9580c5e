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
# Debian keeps them beside the PATH, newest last.
FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@dataclass(frozen=True)
class Postgres:
    """A running server, and one of its databases."""

    port: int
    password: str
    database: str = "postgres"

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
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "-c", "fsync=off"], stdout=log, stderr=subprocess.STDOUT, cwd=folder, **as_user
            )
        try:
            _wait(server, process, folder / "log")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown: it does not wait for clients
            process.wait(START_SECONDS)
    finally:
        shutil.rmtree(folder)


def _wait(server: Postgres, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Postgres did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
