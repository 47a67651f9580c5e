"""The API records what it answers, and a database that is not there costs its callers nothing."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import sqlalchemy as sa

from src.core.config import Settings
from src.monitoring import database, log
from src.monitoring.tables import requests
from tests.serving import KEYS, READ, Server, Small, copied, serving, until
from tests.v2_requests import CONFIG, TYPES

DEAD = "postgresql+psycopg://nobody@127.0.0.1:1/none"


def told(folder: Path, small: Small, **more: str) -> dict[str, str]:
    store = copied(small, folder / "models")
    common = {"MODEL_STORE": str(store.root), "WORKSPACE": str(folder), "PREDICTION_LOG": "true", "API_KEYS": KEYS}
    return {**common, "RATE_LIMIT": "0", **more}


def recorded(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the log by request."""
    found: dict[str, list[dict[str, Any]]] = {}
    with database.opened(Settings(workspace=folder)) as engine:
        for row in log.newest(engine, [], 100_000):
            found.setdefault(row["request_id"], []).append(row)
    return {name: sorted(rows, key=lambda row: row["row"]) for name, rows in found.items()}


def ask(server: Server, path: str, body: Any, name: str) -> Any:
    return server.post(path, body, {**READ, "X-Request-ID": name})


def tensors_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write rows as the Open Inference Protocol does, in JSON."""
    kinds = {name: TYPES[CONFIG.columns[name].type] for name in CONFIG.raw_inputs}
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name, kind in kinds.items()
        ]
    }


def test_every_answer_is_recorded_with_its_row(tmp_path: Path, small: Small) -> None:
    rows = [{**row, "date": str(row["date"])[:10]} for row in small.rows]
    many = (rows * 10)[:1_500]
    with serving(tmp_path, **told(tmp_path, small)) as server:
        said = {
            "one": ask(server, "/predict", rows[0], "one"),
            "three": ask(server, "/datasets/housets/predict", rows[:3], "three"),
            "why": ask(server, "/predict?explain=true", rows[3:5], "why"),
            "many": ask(server, "/predict", many, "many"),
        }
        tensors = ask(server, "/v2/models/housets/infer", tensors_of(rows[5:7]), "tensors")
        assert server.stop() == 0
    found = recorded(tmp_path)
    assert set(found) == {*said, "tensors"}
    for name, asked in (("one", rows[:1]), ("three", rows[:3]), ("why", rows[3:5]), ("many", many)):
        assert [row["estimate"] for row in found[name]] == said[name]["predictions"]
        assert [json.loads(row["intervals"])["80"] for row in found[name]] == said[name]["intervals"]["80"]
        assert [row["version"] for row in found[name]] == [small.versions[0]] * len(asked)
        assert [json.loads(row["key"]) for row in found[name]] == [[row["zipcode"].zfill(5)] for row in asked]
        assert [row["month"] for row in found[name]] == [row["date"][:7] for row in asked]
        inputs = [json.loads(row["inputs"]) for row in found[name]]
        assert all(row["median_list_price"] == one["median_list_price"] for row, one in zip(asked, inputs, strict=True))
        assert all(0 < row["milliseconds"] < 60_000 for row in found[name])
    (prices,) = [one["data"] for one in tensors["outputs"] if one["name"] == "predicted_price"]
    assert [row["estimate"] for row in found["tensors"]] == prices


def test_a_file_is_recorded_by_its_size_and_a_failure_by_its_status(tmp_path: Path, small: Small) -> None:
    rows = [{**row, "date": str(row["date"])[:10]} for row in small.rows]
    lines = "\n".join(map(json.dumps, rows))
    kind = {"Content-Type": "application/x-ndjson"}
    with serving(tmp_path, **told(tmp_path, small, MAX_IN_FLIGHT="1")) as server:
        answer = httpx.post(f"{server.url}/datasets/housets/score", content=lines, headers={**READ, **kind}, timeout=60)
        assert answer.status_code == 200
        busy = 0
        with ThreadPoolExecutor(8) as pool:
            body = json.dumps((rows * 10)[:1_500])
            sent = [pool.submit(httpx.post, f"{server.url}/predict", content=body, headers=READ) for _ in range(24)]
            busy = sum(one.result().status_code == 503 for one in sent)
        server.stop()
    with database.opened(Settings(workspace=tmp_path)) as engine, engine.connect() as connection:
        found = connection.execute(sa.select(requests.c.status, requests.c.rows, requests.c.inputs)).all()
    assert [(row.rows, row.inputs) for row in found if row.rows == len(rows)] == [(len(rows), None)]
    # Those that were refused at the door asked for no data set yet.
    assert len(found) == 1 + 24 - busy


def test_a_refused_request_is_not_recorded(tmp_path: Path, small: Small) -> None:
    with serving(tmp_path, **told(tmp_path, small)) as server:
        assert httpx.post(f"{server.url}/predict", json=[{"zipcode": 1}], headers=READ).status_code == 422
        server.stop()
    assert not (tmp_path / database.SQLITE_NAME).exists()


def test_a_database_that_is_down_fails_and_slows_no_request(tmp_path: Path, small: Small) -> None:
    rows = [{**row, "date": str(row["date"])[:10]} for row in small.rows[:1]]
    with serving(tmp_path, **told(tmp_path, small, DATABASE_URL=DEAD)) as server:
        ask(server, "/predict", rows, "first")
        until(lambda: metrics(server)["housecast_log_failures_total"] > 0, "a failure", 30)
        started = time.perf_counter()
        for _ in range(200):
            ask(server, "/predict", rows, "r")
        assert time.perf_counter() - started < 20
        until(lambda: metrics(server)["housecast_log_rows_waiting"] == 201, "all of them in the queue", 10)
        found = metrics(server)
        assert found['housecast_log_rows_total{outcome="written"}'] == 0
        started = time.perf_counter()
        assert server.stop() == 0
        assert time.perf_counter() - started < 15
    assert "201 predictions were not written before the end" in server.log.read_text()
    assert "nobody@" not in server.log.read_text()


def metrics(server: Server) -> dict[str, float]:
    lines = server.get("/metrics", headers=READ).text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
