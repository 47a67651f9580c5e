"""Known rows that are like a row, over HTTP: the Predictor's, for one row that the contract takes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from src.core.config import Settings
from tests.serving import Small, client_of

PATH = "/datasets/housets/comparables"


@pytest.fixture(scope="module")
def client(small: Small) -> Iterator[TestClient]:
    with client_of(Settings(model_store=str(small.store.root), rate_limit=0)) as made:
        yield made


@pytest.fixture(scope="module")
def row(small: Small) -> dict[str, Any]:
    return {**small.rows[0], "date": str(small.rows[0]["date"])}


def test_both_ways_of_asking_give_the_predictors_comparables(
    client: TestClient, row: dict[str, Any], small: Small
) -> None:
    wanted = small.predictor.comparables(row)
    asked = client.get(PATH, params={"row": json.dumps(row)})
    assert asked.status_code == 200, asked.text
    assert asked.json() == client.post(PATH, json=row).json()
    said = asked.json()
    assert said["model"]["version"] == small.versions[0]
    assert [one["similarity"] for one in said["comparables"]] == [one.similarity for one in wanted]
    assert [one["actual"] for one in said["comparables"]] == [one.actual for one in wanted]
    best = said["comparables"][0]["row"]
    assert (best["zipcode"], best["date"]) == (wanted[0].row["zipcode"], str(wanted[0].row["date"]))


def test_as_many_are_given_as_are_asked_for(client: TestClient, row: dict[str, Any]) -> None:
    for limit in (1, 7, 100):
        assert len(client.post(PATH, json=row, params={"limit": limit}).json()["comparables"]) == limit
    for limit in ("0", "101", "-1", "many"):
        assert client.post(PATH, json=row, params={"limit": limit}).status_code == 422


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[]", 422, "send one JSON object, not a list"),
        (b"{}", 422, "1 row cannot be priced"),
        (b"3", 422, "1 row cannot be priced"),
    ],
)
def test_what_is_not_one_row_is_refused(client: TestClient, content: bytes, status: int, said: str) -> None:
    for answer in (client.post(PATH, content=content), client.get(PATH, params={"row": content.decode()})):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert said in answer.json()["detail"]


def test_a_row_is_held_to_the_contract_of_predict(client: TestClient, row: dict[str, Any]) -> None:
    wrong = {**row, "inventory": -1, "foo": 2}
    problem = client.post(PATH, json=wrong).json()
    assert problem["errors"] == client.post("/predict", json=wrong).json()["errors"]


def test_a_question_without_a_row_or_a_model_is_refused(client: TestClient, row: dict[str, Any]) -> None:
    assert client.get(PATH).status_code == 422
    assert client.post("/datasets/nowhere/comparables", json=row).status_code == 404
    assert client.post(PATH, content=json.dumps(row), headers={"content-type": "text/csv"}).status_code == 415
    assert client.put(PATH, json=row).status_code == 405


def test_the_document_shows_the_row(client: TestClient) -> None:
    operations = client.get("/openapi.json").json()["paths"][PATH]
    reference = {"$ref": "#/components/schemas/housets_row"}
    assert operations["post"]["requestBody"]["content"]["application/json"]["schema"] == reference
    assert operations["get"]["parameters"][0]["content"]["application/json"]["schema"] == reference
