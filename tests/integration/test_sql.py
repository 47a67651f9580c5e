"""A table or query of SQLite and of a real Postgres: the same rows, no secret told, and every failure named."""

import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from pydantic import SecretStr

from src.core.config import PROJECT, Column, DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.core.files import sha256
from src.feature_pipeline import cells, load, sources, sql
from tests.conftest import SHARED
from tests.markets import tiny_config
from tests.postgres import OWNER, Postgres

Row = tuple[Any, ...]
TABLE = "create table homes (zipcode text, date date, a double precision, b integer, c integer, price double precision)"


@pytest.fixture
def rows() -> list[Row]:
    """Homes of 2018 to 2021 with gaps, twins, and a text that means `missing`."""
    draw = random.Random(0)
    made: list[Row] = [
        (
            draw.choice(["01234", "10001", "None", None]),
            date(2018 + number % 4, draw.randint(1, 12), 28),
            draw.choice([draw.random(), None]),
            draw.randint(-5, 5),
            draw.choice([7, None]),
            1e5 * draw.random(),
        )
        for number in range(300)
    ]
    return [*made, *made[:20]]


def tiny(**source: Any) -> DatasetConfig:
    return tiny_config(source=source)


def sqlite_of(path: Path, rows: list[Row], table: str = TABLE) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute(table)
        for row in rows:
            plain = [str(value) if isinstance(value, date) else value for value in row]
            connection.execute(f"insert into homes values ({', '.join('?' * len(row))})", plain)
    connection.close()
    return path


def postgres_of(server: Postgres, rows: list[Row], table: str = TABLE) -> None:
    server.execute(table)
    server.execute(f"insert into homes values ({', '.join(['%s'] * len(rows[0]))})", rows)


def with_url(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"sql_url": SecretStr(url)})


def splits(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def test_the_same_table_gives_the_same_splits_from_sqlite_and_postgres(
    postgres: Postgres, rows: list[Row], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "ROWS", 37)  # many chunks
    config = tiny(table="homes")
    file = sqlite_of(tmp_path / "homes.sqlite", rows)
    here = load.run(config, str(file), settings, tmp_path / "here" / "raw")
    postgres_of(postgres, list(reversed(rows)))
    there = load.run(config, None, with_url(settings, postgres.url), tmp_path / "there" / "raw")
    assert here.rows == there.rows == len(rows)
    assert here.sha256 == there.sha256
    assert splits(tmp_path / "here" / "raw") == splits(tmp_path / "there" / "raw")
    assert (here.source, there.source) == (str(file), postgres.shown)
    train = pl.read_parquet(tmp_path / "there" / "raw" / "train.parquet")
    assert train["zipcode"].unique().sort().to_list() == [None, "01234", "10001"]
    assert train.equals(train.sort(train.columns, nulls_last=False))
    assert train["a"].null_count() > 0
    assert train["a"].is_nan().sum() == 0


@pytest.mark.parametrize("what", [{"table": "homes"}, {"query": "select * from homes"}])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_rows_come_in_chunks(
    what: dict[str, str],
    database: str,
    rows: list[Row],
    settings: Settings,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if database == "sqlite":
        source, there = str(sqlite_of(tmp_path / "homes.sqlite", rows)), settings
    else:
        server = request.getfixturevalue("postgres")
        postgres_of(server, rows)
        source, there = "SQL_URL", with_url(settings, server.url)
    sizes = []
    series = cells.series

    def counted(name: str, values: Sequence[Any], *rest: Any) -> pl.Series:
        sizes.append((name, len(values)))
        return series(name, values, *rest)

    monkeypatch.setattr(sql, "ROWS", 150)
    monkeypatch.setattr(cells, "series", counted)
    sources.resolve(source, tiny(**what), there, tmp_path)
    assert [size for name, size in sizes if name == "price"] == [150, 150, 20]


def test_the_real_table_is_the_same_from_sqlite_and_postgres(
    postgres: Postgres, settings: Settings, tmp_path: Path
) -> None:
    file = SHARED / "amsterdam_rent" / "rent_apartments.sqlite"
    if not file.is_file():
        pytest.skip(f"no real Amsterdam rents at {file}")
    with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True) as connection:
        found = connection.execute("select * from rent_apartments").fetchall()
        kinds = {name: kind for _, name, kind, *_ in connection.execute("pragma table_info(rent_apartments)")}
    connection.close()
    before = sha256(file)
    # SQLite holds longer texts than its columns declare, and its REAL has 8 bytes.
    wide = ", ".join(f"{name} {'text' if 'CHAR' in kind else 'double precision'}" for name, kind in kinds.items())
    postgres.execute(f"create table rent_apartments ({wide})")
    postgres.execute(f"insert into rent_apartments values ({', '.join(['%s'] * len(kinds))})", found)

    columns = {name: Column(type="text" if "CHAR" in kind else "number") for name, kind in kinds.items()}
    config = tiny(table="rent_apartments").model_copy(update={"columns": columns})
    here = sources.resolve(str(file), config, settings, tmp_path / "here")
    there = sources.resolve(sources.SQL_URL, config, with_url(settings, postgres.url), tmp_path / "there")
    assert here.read_bytes() == there.read_bytes()
    frame = load.read(here, config)
    assert frame.shape == (1728, 17)
    assert frame["energy"].null_count() == 624
    assert (frame["rent"].sum(), frame["area"].dtype) == (sum(row[-1] for row in found), pl.Float64)
    assert sha256(file) == before


def test_numbers_dates_and_truth_come_through(postgres: Postgres, settings: Settings, tmp_path: Path) -> None:
    postgres.execute(
        "create table homes (zipcode boolean, date timestamptz, a numeric(6, 2), b boolean, c text, price real)"
    )
    late = datetime(2019, 12, 31, 23, 30, tzinfo=UTC)
    postgres.execute(
        "insert into homes values (%s, %s, %s, %s, %s, %s)",
        [(True, late, Decimal("12.30"), True, "4.5", 0.25), (False, None, None, False, "None", float("nan"))],
    )
    # Whatever the server's zone is, a day is one of UTC.
    postgres.execute(f"alter database {postgres.database} set timezone to 'Asia/Tokyo'")
    config = tiny(query="select * from homes order by price")
    frame = load.read(sources.resolve(sources.SQL_URL, config, with_url(settings, postgres.url), tmp_path), config)
    assert frame.rows() == [("yes", date(2019, 12, 31), 12.3, 1.0, 4.5, 0.25), ("no", None, None, 0.0, None, None)]


def test_a_query_is_sent_as_written_and_keeps_its_order(
    postgres: Postgres, rows: list[Row], settings: Settings, tmp_path: Path
) -> None:
    postgres_of(postgres, rows)
    query = """-- the dearest first
        select zipcode, date, a, b, c, price from homes
        where price::text not like '%:nothing%' order by price desc;"""
    config = tiny(query=query)
    path = sources.resolve(sources.SQL_URL, config, with_url(settings, postgres.url), tmp_path)
    assert path == tmp_path / "tiny.parquet"
    prices = load.read(path, config)["price"].to_list()
    assert prices == sorted((row[-1] for row in rows), reverse=True)


def test_names_in_the_database_are_renamed_and_other_columns_left_out(settings: Settings, tmp_path: Path) -> None:
    table = TABLE.replace("zipcode", '"Postal Code"').replace(")", ", photo blob)")
    row = (2351, date(2019, 1, 1), 1, 2, 3, 4, b"\x00")
    sqlite_of(tmp_path / "homes.db", [row], table)
    config = tiny(files=["homes.db"], table="homes", rename={"Postal Code": "zipcode"})
    own = settings.model_copy(update={"data_root": tmp_path})
    path = sources.resolve(sources.own_source(config, own), config, own, tmp_path / "downloads")
    assert load.read(path, config).rows() == [("2351", date(2019, 1, 1), 1.0, 2.0, 3.0, 4.0)]


@pytest.mark.parametrize("address", ["{}", "sqlite:///{}", "sqlite+pysqlite:///{}"])
def test_a_file_with_odd_signs_in_its_name_is_read(
    address: str, rows: list[Row], settings: Settings, tmp_path: Path
) -> None:
    file = sqlite_of(tmp_path / "50% [a] @home.db", rows)
    assert load.run(tiny(table="homes"), address.format(file), settings, tmp_path / "raw").rows == len(rows)


@pytest.fixture
def broken(tmp_path: Path, rows: list[Row]) -> Iterator[Path]:
    """A folder of files that are not, or not wholly, what they should be."""
    whole = sqlite_of(tmp_path / "whole.sqlite", rows * 20).read_bytes()
    (tmp_path / "damaged.sqlite").write_bytes(whole[:4096] + b"\xff" * 8192 + whole[12288:])
    (tmp_path / "text.sqlite").write_text("zipcode,date,a,b,c,price\n" * 100)
    (tmp_path / "nothing.sqlite").write_bytes(b"")
    sqlite_of(tmp_path / "rowless.sqlite", [])
    sqlite_of(tmp_path / "words.sqlite", [("1", date(2019, 1, 1), "much", 1, 1, 1)])
    sqlite_of(tmp_path / "bytes.sqlite", [(b"\x00", date(2019, 1, 1), 1, 1, 1, 1)])
    sqlite_of(tmp_path / "narrow.sqlite", [(1, 2)], "create table homes (zipcode text, a integer)")
    yield tmp_path
    assert sorted(path.name for path in tmp_path.rglob("*.parquet")) == []
    assert list(tmp_path.rglob(".*")) == []


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("damaged.sqlite", DataError, "malformed; it is damaged, fetch it again"),
        ("text.sqlite", DataError, "text.sqlite: table homes: file is not a database; it is damaged"),
        ("nothing.sqlite", DataError, "table homes is not there; tables and views: none"),
        ("rowless.sqlite", DataError, "table homes has no rows"),
        ("words.sqlite", DataError, "column a: 'much' is not a number"),
        ("bytes.sqlite", DataError, "column zipcode: .* is not a text"),
        ("narrow.sqlite", DataError, "table homes lacks the columns date, b, c, price. It has: zipcode, a"),
        ("absent.sqlite", ConfigError, "no such file or folder: .*absent.sqlite"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    name: str, error: type[Exception], said: str, broken: Path, settings: Settings
) -> None:
    with pytest.raises(error, match=said):
        load.run(tiny(table="homes"), str(broken / name), settings, broken / "raw")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select nonsense from homes", "no such column: nonsense"),
        ("select from", "syntax error"),
        ("select * from flats", "no such table: flats"),
        ("select * from homes where price < 0", "the query has no rows"),
        ("with old as (select 1) delete from homes", "readonly database"),
        ("select 1; delete from homes", "one statement at a time"),
        ("select *, price as zipcode from homes", "gives the column zipcode twice"),
    ],
)
def test_a_query_that_is_wrong_is_answered_in_the_databases_words(
    query: str, said: str, rows: list[Row], settings: Settings, tmp_path: Path
) -> None:
    file = sqlite_of(tmp_path / "homes.sqlite", rows)
    before = sha256(file)
    with pytest.raises(DataError, match=said):
        load.run(tiny(query=query), str(file), settings, tmp_path / "raw")
    assert sha256(file) == before


@pytest.mark.parametrize(
    "query",
    [
        "with gone as (delete from homes returning *) select * from gone",
        "select 1; commit; delete from homes",
        "select setval('counter', 9)",
    ],
)
def test_postgres_is_only_read(
    query: str, postgres: Postgres, rows: list[Row], settings: Settings, tmp_path: Path
) -> None:
    postgres_of(postgres, rows)
    postgres.execute("create sequence counter")
    with pytest.raises(DataError, match=r"read-only transaction|multiple commands|must not contain data-modifying"):
        load.run(tiny(query=query), None, with_url(settings, postgres.url), tmp_path / "raw")
    with postgres.connect() as connection:
        assert connection.execute("select count(*) from homes").fetchone() == (len(rows),)


def test_an_absent_table_is_told_with_those_there_are(postgres: Postgres, settings: Settings, tmp_path: Path) -> None:
    postgres.execute("create schema old")
    postgres.execute("create table old.barns (a int)")
    postgres.execute("create view old.sheds as select * from old.barns")
    there = with_url(settings, postgres.url)
    with pytest.raises(DataError, match="table homes is not there; tables and views: none"):
        load.run(tiny(table="homes"), None, there, tmp_path / "raw")
    with pytest.raises(DataError, match=r"table old.homes is not there; tables and views: barns, sheds"):
        load.run(tiny(table="old.homes"), None, there, tmp_path / "raw")


PASSWORD = "tell-nobody-4711"


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("postgresql://{user}:{secret}@127.0.0.1:{port}/{database}", DataError, "the user or password is refused"),
        ("postgresql://{user}:{right}@127.0.0.1:{port}/nowhere", DataError, "there is no such database there"),
        ("postgresql://{user}:{secret}@127.0.0.1:1/{database}", DataError, "nobody listens there"),
        ("postgresql://{user}:{secret}@nowhere.invalid/{database}", DataError, "there is no such host"),
        ("postgresql://{user}:{secret}@127.0.0.1:{port}/x?{secret}=1", DataError, "cannot connect to"),
        ("postgresql://{user}:{secret}/?#@[nowhere/{database}", DataError, "there is no such host"),
        ("postgresql://{user}:{secret}:x@127.0.0.1:{secret}/x", ConfigError, "is not like postgresql"),
        ("{user}:{secret}@127.0.0.1", ConfigError, "is not like postgresql"),
        ("{secret}", ConfigError, "is not like postgresql"),
        ("mysql+pymysql://{user}:{secret}@host/x", ConfigError, "install the package .* module pymysql"),
        ("nosuch://{user}:{secret}@host/x", ConfigError, "no installed package teaches SQLAlchemy"),
    ],
)
def test_a_database_that_cannot_be_had_is_named_without_its_secrets(
    url: str,
    error: type[Exception],
    said: str,
    postgres: Postgres,
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    parts = {"user": "jane-doe", "secret": PASSWORD, "port": postgres.port, "database": postgres.database}
    if "{right}" in url:
        parts |= {"user": OWNER, "right": postgres.password}
    with pytest.raises(error, match=said) as caught:
        load.run(tiny(table="homes"), None, with_url(settings, url.format(**parts)), tmp_path / "raw")
    # What a crash report or a log would print, with every cause that is shown.
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert all(str(parts[name]) not in told for name in ("user", "secret"))
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select current_user::int", "cannot read .*: the query: DataError$"),
        ("select *, 1 as ", "cannot read .*: the query: syntax error"),
    ],
)
def test_a_failing_query_does_not_quote_the_user(
    query: str, said: str, postgres: Postgres, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DataError, match=said) as caught:
        load.run(tiny(query=query), None, with_url(settings, postgres.url), tmp_path / "raw")
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert OWNER not in told
    assert postgres.password not in told


@pytest.mark.parametrize(
    "query",
    ["select pg_terminate_backend(pg_backend_pid())", "select *, pg_terminate_backend(pg_backend_pid()) from homes"],
)
def test_a_connection_that_is_lost_is_told_in_one_line(
    query: str, postgres: Postgres, rows: list[Row], tmp_path: Path
) -> None:
    postgres_of(postgres, rows)
    config = tiny(query=query)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    environment = {**os.environ, "SQL_URL": postgres.url, "WORKSPACE": str(tmp_path)}
    command = [sys.executable, "-m", "src.feature_pipeline.load", "--dataset", str(tmp_path / "tiny.yaml")]
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2
    *logged, last = done.stderr.splitlines()
    assert all(line.endswith(f"reading {postgres.shown}: the query") for line in logged)
    assert last.startswith(f"error: cannot read {postgres.shown}: the query: ")
    assert any(
        words in last for words in ("terminating connection", "server closed the connection", "connection is lost")
    )


def test_the_password_of_a_good_connection_is_recorded_nowhere(
    postgres: Postgres, rows: list[Row], settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    postgres_of(postgres, rows)
    there = with_url(settings, postgres.url)
    load.run(tiny(table="homes"), None, there, tmp_path / "raw", csv=True)
    assert json.loads((tmp_path / "raw" / "load.json").read_text())["source"] == postgres.shown
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (OWNER, postgres.password):
        assert secret.encode() not in written
        assert secret not in caplog.text + repr(there) + str(there.model_dump()) + there.model_dump_json()


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://jane:{PASSWORD}@host/db",
        f"postgresql://jane:{PASSWORD}/@host/db",
        f"postgresql://host/db?user=jane&password={PASSWORD}",
        f"mssql+pyodbc:///?odbc_connect=UID%3Djane%3BPWD%3D{PASSWORD}",
    ],
)
def test_credentials_on_the_command_line_or_in_a_yaml_are_refused(
    address: str, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"SQL_URL.*PGPASSWORD") as caught:
        load.run(tiny(table="homes"), address, settings, tmp_path / "raw")
    assert PASSWORD not in str(caught.value)
    with pytest.raises(ValueError, match=r"SQL_URL.*PGPASSWORD"):
        tiny(table="homes", default=address)


def test_the_drivers_own_password_variable_works(
    postgres: Postgres, rows: list[Row], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_of(postgres, rows)
    monkeypatch.setenv("PGUSER", OWNER)
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    loaded = load.run(tiny(table="homes"), postgres.shown, settings, tmp_path / "raw")
    assert (loaded.rows, loaded.source) == (len(rows), postgres.shown)


def test_a_driver_or_sqlalchemy_that_is_absent_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"the driver psycopg is not installed: `uv sync --extra postgres`"):
        load.run(tiny(table="homes"), "postgresql://host/db", settings, tmp_path / "raw")
    monkeypatch.delitem(sys.modules, "src.feature_pipeline.sql")
    monkeypatch.delattr("src.feature_pipeline.sql")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"SQLAlchemy \(no module sqlalchemy\): `uv sync --group training`"):
        load.run(tiny(table="homes"), "postgresql://host/db", settings, tmp_path / "raw")


def test_a_database_needs_a_table_or_query(config: DatasetConfig, settings: Settings, tmp_path: Path) -> None:
    file = sqlite_of(tmp_path / "homes.sqlite", [])
    with pytest.raises(ConfigError, match=r"is a database: add `table` or `query` to the source of housets's YAML"):
        load.run(config, str(file), settings, tmp_path / "raw")


def test_where_nothing_is_there_the_message_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    config = tiny(files=["homes/homes.sqlite"], table="homes", origin="https://example.org/homes")
    saved = settings.data_root / "homes" / "homes.sqlite"
    with pytest.raises(ConfigError) as caught:
        load.run(config, None, settings, tmp_path / "raw")
    assert str(caught.value) == (
        f"no data for tiny: get it from https://example.org/homes and save it as {saved}, or set SQL_URL to the "
        "address of a database that has the table homes"
    )
    with pytest.raises(ConfigError, match="the environment variable SQL_URL is not set"):
        load.run(config, "SQL_URL", settings, tmp_path / "raw")
