"""The prediction log in a real SQLite and a real Postgres: what is acknowledged is there, whatever happens to them."""

import json
import resource
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from src.core.config import Settings
from src.core.errors import ConfigError, StoreError
from src.monitoring import database, log
from src.monitoring.inserts import insert
from src.monitoring.log_process import COLUMNS
from src.monitoring.recorded import SCHEMA
from src.monitoring.tables import metadata, requests
from src.monitoring.writer import Record, Writer, packed
from tests import postgres as postgres_server
from tests.postgres import Postgres
from tests.serving import until

AT = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)


def asked(name: str, rows: int = 1, at: datetime = AT) -> Record:
    """Make a request with its answer; nothing of what is logged depends on the model that gave it."""
    inputs = [{"zipcode": "02139", "date": "2023-05-31", "inventory": float(i)} for i in range(rows)]
    answer = {
        "predictions": [i + 0.5 for i in range(rows)],
        "intervals": {"80": [[i - 0.5, i + 1.5] for i in range(rows)]},
        "flags": [[] for _ in range(rows)],
    }
    sent, said = json.dumps(inputs).encode(), json.dumps(answer).encode()
    return Record(at, name, "housets", "v1", "champion", 200, rows, "2023-05", "2023-05", 2.5, sent, said)


def count(engine: sa.Engine) -> int:
    """Count the predictions that are there."""
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.coalesce(sa.func.sum(requests.c.rows), 0))).scalar_one()


def test_what_was_put_is_there_after_the_stop(kept: Settings, engine: sa.Engine) -> None:
    writer = Writer(kept)
    for i in range(30):
        writer.put(asked(f"r{i:02}", rows=100))
    writer.stop(60)
    assert (writer.counts.written, writer.counts.dropped, writer.waiting) == (3_000, 0, 0)
    rows = log.newest(engine, [], 5_000)
    assert len(rows) == 3_000
    assert {row["at"] for row in rows} == {AT}
    assert {(row["request_id"], row["row"], row["estimate"]) for row in rows} == {
        (f"r{i:02}", k, k + 0.5) for i in range(30) for k in range(100)
    }
    assert json.loads(rows[0]["intervals"]).keys() == {"80"}
    assert {(row["key"], row["month"]) for row in rows} == {('["02139"]', "2023-05")}


def rows_of(*records: Record) -> list[tuple[Any, ...]]:
    return [(number, *record) for number, record in enumerate(records)]


def test_a_workspace_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    writer = Writer(Settings(workspace=tmp_path / "not" / "yet"))
    writer.put(asked("first", 3))
    writer.stop(60)
    assert writer.counts.written == 3
    assert (tmp_path / "not" / "yet" / database.SQLITE_NAME).exists()


def test_written_twice_is_there_once(kept: Settings, engine: sa.Engine) -> None:
    rows = rows_of(asked("a", 3), asked("b", 4))
    assert insert(engine, COLUMNS, rows) == insert(engine, COLUMNS, rows) == []
    assert count(engine) == 7


def test_a_request_that_the_database_never_takes_costs_no_other_one(postgres: Postgres, tmp_path: Path) -> None:
    with database.opened(Settings(workspace=tmp_path, database_url=postgres.url)) as engine:
        records = [asked(f"r{i}") for i in range(9)]
        records[4] = records[4]._replace(inputs=b"a NUL \x00")
        assert insert(engine, COLUMNS, rows_of(*records)) == [4]
        assert count(engine) == 8


def test_the_migrations_make_the_tables(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    config = Config()
    config.set_main_option("script_location", "src.monitoring:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [database.HEAD]


def test_two_that_start_at_once_make_the_tables_once(kept: Settings) -> None:
    engines = [database.engine(kept) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(database.upgrade, engines))
    assert count(engines[0]) == 0
    for made in engines:
        made.dispose()


def test_tables_of_a_newer_version_are_left_alone(kept: Settings, engine: sa.Engine) -> None:
    with database.writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"newer housecast \(revision 9999, this one knows"), database.opened(kept):
        pass


def test_a_disk_that_is_full_loses_nothing_until_the_queue_is(tmp_path: Path) -> None:
    writer = Writer(Settings(workspace=tmp_path), most_waiting=2_000 * len(packed([asked("r0000")], [2**61])))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))  # of each file that the process will write
    try:
        writer.put(asked("first"))
        until(lambda: writer._child, "the process", 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for i in range(1_499):
        writer.put(asked(f"r{i}"))
    until(lambda: writer.counts.failures, "a failure", 30)
    assert writer.waiting + writer.counts.written == 1_500
    for i in range(1_500):
        writer.put(asked(f"s{i:04}"))
    dropped = writer.counts.dropped
    assert dropped > 0
    assert writer.waiting + writer.counts.written + dropped == 3_000
    assert writer._child is not None
    resource.prlimit(writer._child.pid, resource.RLIMIT_FSIZE, limits)
    writer.stop(60)
    assert (writer.counts.written, writer.counts.dropped) == (3_000 - dropped, dropped)
    with sqlite3.connect(tmp_path / database.SQLITE_NAME) as connection:
        assert connection.execute("SELECT sum(rows) FROM requests").fetchone() == (writer.counts.written,)


def test_a_writing_process_that_is_killed_loses_nothing(kept: Settings, engine: sa.Engine) -> None:
    writer = Writer(kept)
    for beat in range(90):
        writer.put(asked(f"r{beat}", rows=50))
        if beat == 40:
            until(lambda: writer.counts.written, "the first ones", 30)
            assert writer._child is not None
            writer._child.kill()
        time.sleep(0.01)
    writer.stop(60)
    assert (writer.counts.written, writer.counts.dropped) == (4_500, 0)
    assert count(engine) == 4_500


def test_a_database_that_is_killed_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with postgres_server.running() as server:
        settings = Settings(workspace=tmp_path, database_url=server.url)
        writer = Writer(settings)
        put = 0
        for beat in range(60):
            if beat == 20:
                until(lambda: writer.counts.written > 0, "the first rows", 30)
                server.kill()
                acknowledged = writer.counts.written
            if beat == 40:
                until(lambda: writer.counts.failures, "a failure", 30)
                server.start()
                with server.connect() as connection:
                    found = connection.execute("SELECT coalesce(sum(rows), 0) FROM requests").fetchone()
                assert found is not None
                assert found[0] >= acknowledged
            writer.put(asked(f"r{beat}", rows=50))
            put += 50
            time.sleep(0.02)
        writer.stop(60)
        assert (writer.counts.written, writer.counts.dropped) == (put, 0)
        with database.opened(settings) as engine:
            assert count(engine) == put


def test_a_stop_waits_so_long_and_no_longer(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    writer = Writer(settings)
    started = time.perf_counter()
    for i in range(100):
        writer.put(asked(f"r{i}"))
    assert time.perf_counter() - started < 1
    until(lambda: writer.counts.failures, "a failure", 30)
    writer.stop(0.5)
    assert (writer.counts.written, writer.counts.dropped, writer.waiting) == (0, 100, 0)


def test_a_log_is_exported_and_pruned(kept: Settings, engine: sa.Engine, tmp_path: Path) -> None:
    writer = Writer(kept)
    old = datetime.now(UTC) - timedelta(days=500)
    writer.put(asked("old", 30, old))
    writer.put(asked("new", 20, datetime.now(UTC)))
    writer.stop(60)
    for name, read in (("rows.parquet", pl.read_parquet), ("rows.csv", pl.read_csv)):
        assert log.export(engine, [], tmp_path / name) == 50
        frame = read(tmp_path / name)
        assert frame.columns == list(SCHEMA)
        assert frame["request_id"].to_list() == ["old"] * 30 + ["new"] * 20
        assert frame["row"].to_list() == [*range(30), *range(20)]
    assert log.export(engine, log.chosen("iris", None, None), tmp_path / "none.parquet") == 0
    assert pl.read_parquet(tmp_path / "none.parquet").schema == pl.Schema(SCHEMA)
    with pytest.raises(ConfigError, match=r"\.parquet or \.csv"):
        log.export(engine, [], tmp_path / "rows.xlsx")
    assert log.prune(engine, datetime.now(UTC) - timedelta(days=400)) == 1
    assert count(engine) == 20


def test_the_commands_say_what_they_did(
    kept: Settings,
    engine: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    if kept.database_url:
        monkeypatch.setenv("DATABASE_URL", kept.database_url.get_secret_value())
    log.main(["tail"])
    assert "No prediction is recorded yet" in capsys.readouterr().out
    writer = Writer(kept)
    writer.put(asked("abc-1", 3))
    writer.stop(60)
    log.main(["tail", "--rows", "2", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["request_id"], line["row"], line["estimate"]) for line in lines] == [
        ("abc-1", 1, 1.5),
        ("abc-1", 2, 2.5),
    ]
    log.main(["tail", "--rows", "1"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "abc-1" in line]
    assert "2026-03-04 05:06:07" in line
    assert "02139" in line
    log.main(["export", str(tmp_path / "out.csv"), "--dataset", "housets", "--since", "2026-01-01"])
    assert "3 predictions -> " in capsys.readouterr().out
    log.main(["prune", "--days", "1"])
    assert capsys.readouterr().out.startswith("1 requests from before ")


def test_an_address_that_is_wrong_is_said_without_its_password(tmp_path: Path, postgres: Postgres) -> None:
    wrong = postgres.url.replace(postgres.password, "not-the-password")
    for address, error, said in (
        (wrong, StoreError, "the user or password is refused: correct DATABASE_URL"),
        ("mysql://root:secret@127.0.0.1/x", ConfigError, "is SQLite or Postgres"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/x", StoreError, "nobody listens there"),
    ):
        with (
            pytest.raises(error, match=said) as caught,
            database.opened(Settings(workspace=tmp_path, database_url=address)),
        ):
            pass
        assert "secret" not in str(caught.value)
        assert "not-the-password" not in str(caught.value)
