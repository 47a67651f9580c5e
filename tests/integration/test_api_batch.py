"""The monthly batch over HTTP: started, followed, joined, and its output served when it says that it is done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from src.api.job_records import INTERRUPTED, Records
from src.core.config import Settings
from tests.serving import Small, client_of, until


@pytest.fixture(scope="module")
def client(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    work = tmp_path_factory.mktemp("work")
    pl.DataFrame(small.rows).write_csv(work / "rows.csv")
    told: dict[str, Any] = {"model_store": str(small.store.root), "batch_input": str(work / "rows.csv")}
    # So long that only a batch that has ended makes the service look again.
    with client_of(Settings(workspace=work, rate_limit=0, sync_seconds=600, threads=1, **told)) as made:
        yield made


def months_of(small: Small) -> list[str]:
    return sorted({row["date"][:7] if isinstance(row["date"], str) else f"{row['date']:%Y-%m}" for row in small.rows})


def ended(client: TestClient, address: str) -> Any:
    until(lambda: client.get(address).json()["state"] not in ("queued", "running"), "the end of the batch", 120)
    return client.get(address).json()


def test_a_batch_is_followed_to_its_end_and_its_rows_are_served_then(client: TestClient, small: Small) -> None:
    assert client.get("/latest_predictions").json()["total"] == 0
    month = months_of(small)[0]
    answer = client.post("/run_batch", json={"dataset": "housets", "months": [month, "2035-01"]})
    assert answer.status_code == 202
    started = answer.json()
    assert answer.headers["location"] == f"/jobs/{started['id']}"
    assert started["state"] in ("queued", "running")
    assert started["progress"]["done"] == 0
    again = client.post("/run_batch", json={"months": ["2035-01", month]})
    assert (again.status_code, again.headers["location"]) == (202, answer.headers["location"])
    said = ended(client, answer.headers["location"])
    assert said["state"] == "failed"
    assert said["error"] == "1 of 2 months failed: 2035-01: no data for this month"
    assert said["progress"] == {"months": 2, "done": 1, "failed": 1}
    assert [one["error"] for one in said["results"]] == [None, "no data for this month"]
    assert said["model_version"] == small.versions[0]
    rows = client.get("/latest_predictions", params={"limit": 10_000}).json()
    assert rows["total"] == len(rows["rows"]) == said["results"][0]["rows"] > 0
    assert {row["model_version"] for row in rows["rows"]} == {small.versions[0]}
    assert str(small.store.root.parent) not in str(said) + str(rows)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"dataset": "nowhere"}, 404, "No data set 'nowhere'"),
        ({"months": ["2022-13"]}, 422, "does not fit"),
        ({"months": "2022-01"}, 422, "does not fit"),
        ({"dataset": "housets", "command": "rm"}, 422, "does not fit"),
    ],
)
def test_what_is_no_batch_is_refused(client: TestClient, body: Any, status: int, said: str) -> None:
    answer = client.post("/run_batch", json=body)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("job", ["x", "20261120T231500000000Z-1a2b3c4d", "..%2f..%2fsecret"])
def test_what_is_no_job_is_not_found(client: TestClient, job: str) -> None:
    answer = client.get(f"/jobs/{job}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_service_that_stops_ends_its_batch(small: Small, tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, model_store=str(small.store.root), rate_limit=0)
    with client_of(settings) as client:
        job = client.post("/run_batch").json()["id"]
    record = Records(tmp_path / "jobs").get(job)
    assert record is not None
    assert (record.state, record.error) == ("interrupted", INTERRUPTED)
