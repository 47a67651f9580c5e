"""Files are priced over HTTP: streamed in and out, refused with a reason, and nothing is left of who goes away."""

import errno
import http.client
import io
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import polars as pl
import pytest
from pyarrow import ipc
from starlette.testclient import TestClient

from src.api.routes import score
from src.core.config import Settings
from tests.serving import Server, Small, client_of, serving, until

SCORE = "/datasets/housets/score"
CSV, NDJSON, PARQUET, ARROW = (
    {"content-type": name}
    for name in (
        "text/csv",
        "application/x-ndjson",
        "application/vnd.apache.parquet",
        "application/vnd.apache.arrow.stream",
    )
)


@pytest.fixture(scope="module")
def client(small: Small) -> Iterator[TestClient]:
    with client_of(Settings(model_store=str(small.store.root), rate_limit=0, max_bulk_mb=9)) as made:
        yield made


@pytest.fixture(scope="module")
def rows(small: Small) -> pl.DataFrame:
    return pl.DataFrame(small.rows)


@pytest.fixture(scope="module")
def large(rows: pl.DataFrame) -> bytes:
    """A CSV that does not stay in memory: some 30 MB."""
    body = rows.write_csv(include_header=False).encode()
    return rows.clear().write_csv().encode() + body * (30_000_000 // len(body))


@pytest.fixture(scope="module")
def server(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("score")
    told = {"MODEL_STORE": str(small.store.root), "WORKSPACE": str(folder), "CACHE": str(folder / "cache")}
    with serving(folder, RATE_LIMIT="0", REQUEST_SECONDS="3", **told) as made:
        yield made


def uploads(server: Server) -> list[Path]:
    folder = server.log.parent / "cache" / "uploads"
    return list(folder.iterdir()) if folder.is_dir() else []


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "housecast-" not in answer.text  # a file of this machine
    return str(answer.json()["detail"])


def test_prices_are_the_predictors_in_every_type(client: TestClient, rows: pl.DataFrame, small: Small) -> None:
    wanted = small.predictor.predict(rows).estimate.tolist()
    parquet = io.BytesIO()
    rows.write_parquet(parquet)
    stream, file = rows.write_ipc_stream(None).getvalue(), rows.write_ipc(None).getvalue()
    bodies = [
        (rows.write_csv().encode(), CSV),
        (rows.write_ndjson().encode(), NDJSON),
        (parquet.getvalue(), PARQUET),
        (stream, ARROW),
        (file, {"content-type": "application/vnd.apache.arrow.file"}),
    ]
    for body, kind in bodies:
        answer = client.post(SCORE, content=body, headers={**kind, "accept": ARROW["content-type"]})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == ARROW["content-type"]
        assert answer.headers["x-model-version"] == small.predictor.version
        assert pl.read_ipc_stream(answer.content)["predicted_price"].to_list() == wanted
        own = client.post(SCORE, content=body, headers=kind)
        assert own.headers["content-type"] == kind["content-type"].replace("file", "stream")


def test_a_bad_row_is_told_beside_the_others(client: TestClient, rows: pl.DataFrame) -> None:
    lines = [json.dumps(row) for row in rows.head(3).to_dicts()]
    lines[1] = "{"
    answer = client.post(SCORE, content="\n".join(lines), headers=NDJSON)
    assert answer.status_code == 200
    said = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["error"] for one in said] == [None, "the line is not a JSON object", None]
    assert [one["predicted_price"] is None for one in said] == [False, True, False]


def test_what_cannot_be_priced_as_a_whole_is_a_problem(client: TestClient, rows: pl.DataFrame) -> None:
    without = rows.drop("inventory").write_csv()
    text = refusal(client.post(SCORE, content=without, headers=CSV), 422)
    assert text.startswith("the input lacks the column inventory. It has: date, ")
    for kind in (CSV, PARQUET, ARROW):
        refusal(client.post(SCORE, content=b"\x00\xff" * 50, headers=kind), 422)
    refusal(client.post(SCORE, content=rows.write_csv()[:-3] + '"', headers=CSV), 422)


def test_requests_that_are_none_are_refused(client: TestClient, rows: pl.DataFrame) -> None:
    body = rows.head(2).write_csv()
    assert "text/csv" in refusal(client.post(SCORE, content=body, headers={"content-type": "application/json"}), 415)
    assert "text/csv" in refusal(client.post(SCORE, content=body, headers={**CSV, "accept": "image/png"}), 406)
    assert refusal(client.get(SCORE), 405)
    assert "housets" in refusal(client.post("/datasets/nowhere/score", content=body, headers=CSV), 404)


def test_a_body_beyond_the_limit_is_refused_with_and_without_its_length(client: TestClient) -> None:
    for content in (b"a" * 9_500_000, iter([b"a" * 1_000_000] * 10)):
        assert "9 MB" in refusal(client.post(SCORE, content=content, headers=CSV), 413)


def test_a_full_disk_is_a_problem_of_its_own(
    client: TestClient, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/housecast-x")

    monkeypatch.setattr(score, "SMALL_BODY", 1_000)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    answer = client.post(SCORE, content=rows.write_csv(), headers=CSV)
    assert "disk is full" in refusal(answer, 507)
    assert "secret" not in answer.text
    monkeypatch.undo()
    assert client.post(SCORE, content=rows.write_csv(), headers=CSV).status_code == 200


def test_a_large_file_goes_through_a_file_and_comes_back_whole(
    server: Server, large: bytes, rows: pl.DataFrame
) -> None:
    chunks = iter([large[start : start + 1_000_000] for start in range(0, len(large), 1_000_000)])
    with httpx.stream("POST", server.url + SCORE, content=chunks, headers=CSV, timeout=120) as answer:
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
        text = b"".join(answer.iter_bytes())
    found = pl.read_csv(text, infer_schema=False)
    assert found.height == large.count(b"\n") - 1
    assert found["error"].null_count() == found.height
    assert found["date"].head(rows.height).to_list() == rows["date"].to_list()
    until(lambda: not uploads(server), "the upload is removed")


def test_damage_after_the_answer_has_begun_cuts_it_off(server: Server, rows: pl.DataFrame) -> None:
    stream = io.BytesIO()
    table = pl.concat([rows] * 60, rechunk=True).to_arrow()
    with ipc.new_stream(stream, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table, max_chunksize=10_000)
    body = bytearray(stream.getvalue())
    place = body.rindex(b"\x28\xb5\x2f\xfd")  # in the last batch
    body[place : place + 8] = bytes(8)
    with closing(begin(server, bytes(body), len(body), **ARROW, accept="text/csv")) as connection:
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
    assert caught.value.partial.count(b"\n") == 1 + 20_000
    until(lambda: "answer was cut off: cannot read the Arrow IPC" in server.log.read_text(), "it is logged")


def begin(server: Server, part: bytes, length: int, **headers: str) -> http.client.HTTPConnection:
    """Send a request's headers and a part of its body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", SCORE)
    for name, value in {**CSV, "content-length": str(length), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(part)
    return connection


def test_what_a_killed_server_left_is_removed_when_it_is_old(server: Server, rows: pl.DataFrame) -> None:
    folder = server.log.parent / "cache" / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    old, new = folder / "housecast-old", folder / "housecast-new"
    for path, age in ((old, 90_000), (new, 1_000)):
        path.touch()
        os.utime(path, (time.time() - age, time.time() - age))
    assert small_job(server, rows) == 200
    assert uploads(server) == [new]
    new.unlink()


def small_job(server: Server, rows: pl.DataFrame) -> int:
    return httpx.post(server.url + SCORE, content=rows.write_csv(), headers=CSV, timeout=60).status_code


def test_who_goes_away_while_sending_leaves_no_file_and_no_job(
    server: Server, large: bytes, rows: pl.DataFrame
) -> None:
    jobs = [begin(server, large[:20_000_000], len(large)) for _ in range(2)]
    until(lambda: len(uploads(server)) == 2, "both are being taken")
    busy = httpx.post(server.url + SCORE, content=rows.write_csv(), headers=CSV)
    assert "come again" in refusal(busy, 503)
    assert busy.headers["retry-after"] == "10"
    assert server.get("/health/ready").status_code == 200
    for job in jobs:
        job.close()
    until(lambda: not uploads(server), "the files are removed")
    until(lambda: small_job(server, rows) == 200, "the next is taken")


@pytest.mark.parametrize("accept", ["text/csv", "application/vnd.apache.parquet"])
def test_who_goes_away_while_it_is_priced_leaves_no_file_and_no_job(
    server: Server, large: bytes, rows: pl.DataFrame, accept: str
) -> None:
    for _ in range(3):  # more than there are places
        with closing(begin(server, large, len(large), accept=accept)) as connection:
            if accept == "text/csv":
                assert connection.getresponse().read(1_000)
        until(lambda: not uploads(server), "the files are removed")
    until(lambda: small_job(server, rows) == 200, "the next is taken")


def test_who_stops_sending_is_told_so_and_who_stops_reading_is_left(server: Server, large: bytes) -> None:
    with closing(begin(server, large[:1_000], len(large))) as connection:
        answer = connection.getresponse()
        assert answer.status == 408
        assert json.loads(answer.read())["title"] == "Request Timeout"
    with closing(begin(server, large, len(large))) as connection:
        assert isinstance(connection.sock, socket.socket)
        until(lambda: not uploads(server), "what nobody reads is given up")
