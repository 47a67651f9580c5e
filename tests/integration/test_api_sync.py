"""What serves follows the store, in a folder and in S3 alike."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from src.api.app import create_app
from src.core.config import Settings
from tests.integration.stores import Place
from tests.serving import ADMIN, KEYS, READ, Small, client_of, until

WHO = {"by": "ann", "why": "better"}


def published(place: Place, small: Small, count: int = 2) -> Place:
    for version in small.versions[:count]:
        place.open().publish("housets", small.store.root / "housets" / version)
    place.open().promote("housets", small.versions[0], **WHO)
    return place


@pytest.fixture
def settings(s3_settings: Settings, place: Place, tmp_path: Path) -> Settings:
    return s3_settings.model_copy(
        update={
            "model_store": place.uri,
            "api_keys": SecretStr(KEYS),
            "sync_seconds": 0.05,
            "rate_limit": 0,
            "cache": tmp_path / "cache",
        }
    )


@pytest.fixture
def client(place: Place, small: Small, settings: Settings) -> Iterator[TestClient]:
    published(place, small)
    with client_of(settings) as made:
        yield made


def serves(client: TestClient, small: Small) -> str:
    """Return the version that answers, whose prices must be its own."""
    said = client.post("/predict", json=small.rows[:5], headers=READ).json()
    predictor = small.predictor if said["model"]["version"] == small.versions[0] else small.other
    assert said["predictions"] == predictor.predict(small.rows[:5]).estimate.tolist()
    return str(said["model"]["version"])


def last_sync(client: TestClient) -> Any:
    return client.get("/health").json()["datasets"]["housets"]["last_sync"]


def test_the_service_starts_without_a_model_and_takes_the_first_that_comes(
    place: Place, small: Small, settings: Settings
) -> None:
    with TestClient(create_app(settings)) as client:
        until(lambda: client.get("/health").json()["store"]["outcome"] != "not yet", "a look at the store")
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["detail"].startswith("Not ready: no model of housets serves")
        refused = client.post("/predict", json=small.rows[0], headers=READ)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:housecast:problem:no-model")
        assert refused.headers["retry-after"]
        published(place, small, 1)
        until(lambda: client.get("/health/ready").status_code == 200, "the model")
        assert serves(client, small) == small.versions[0]


def test_a_promotion_and_a_rollback_are_followed(client: TestClient, place: Place, small: Small) -> None:
    assert serves(client, small) == small.versions[0]
    place.open().promote("housets", small.versions[1], **WHO)
    until(lambda: serves(client, small) == small.versions[1], "the promoted version")
    place.open().rollback("housets", **WHO)
    until(lambda: serves(client, small) == small.versions[0], "the version before")


def test_an_admin_promotes_and_rolls_back(client: TestClient, place: Place, small: Small) -> None:
    wanted = {"dataset": "housets", "version": small.versions[1], "why": "better"}
    said = client.post("/admin/promote", json=wanted, headers=ADMIN).json()
    assert said["serves"] == said["version"] == small.versions[1] == serves(client, small)
    pointer = place.open().current("housets")
    assert pointer is not None
    assert (pointer.by, pointer.why) == ("tests-admin", "better")
    back = client.post("/admin/rollback", json={"dataset": "housets", "why": "worse"}, headers=ADMIN).json()
    assert back["serves"] == small.versions[0] == serves(client, small)


def test_a_move_that_cannot_be_is_told_without_a_path(client: TestClient, place: Place, small: Small) -> None:
    unknown = {"dataset": "housets", "version": "20200101T000000Z-00000000", "why": "x"}
    answer = client.post("/admin/promote", json=unknown, headers=ADMIN)
    assert answer.status_code == 409
    assert "has no version 20200101T000000Z-00000000" in answer.json()["detail"]
    assert client.post("/admin/rollback", json={"dataset": "housets", "why": "x"}, headers=ADMIN).status_code == 409
    for body in ({}, {**unknown, "version": "../.."}, {**unknown, "dataset": "../x"}, {**unknown, "extra": 1}):
        answer = client.post("/admin/promote", json=body, headers=ADMIN)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
    assert place.uri not in answer.text


def test_a_corrupted_version_stays_out_and_is_tried_again(client: TestClient, place: Place, small: Small) -> None:
    key = f"housets/{small.versions[1]}/model.ubj"
    good = place.read(key)
    place.write(key, good[:100] + b"\0" + good[101:])
    place.open().promote("housets", small.versions[1], **WHO)
    until(lambda: last_sync(client)["outcome"] == "failed", "the failure")
    assert last_sync(client)["version"] == small.versions[1]
    assert "damaged" in last_sync(client)["detail"]
    assert place.uri not in client.get("/health").text
    assert serves(client, small) == small.versions[0]
    assert client.get("/health/ready").status_code == 200
    place.write(key, good)
    client.post("/admin/reload", headers=ADMIN)
    assert serves(client, small) == small.versions[1]
    assert last_sync(client)["outcome"] == "ok"


def test_a_store_that_is_gone_changes_nothing_for_callers(
    client: TestClient, place: Place, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> list[str]:
        raise OSError(5, "Input/output error", "/secret/place")

    for name in ("datasets", "versions", "current", "story"):
        monkeypatch.setattr(type(place.open()), name, gone)
    until(lambda: client.get("/health").json()["store"]["outcome"] == "failed", "the failure")
    assert "/secret" not in client.get("/health").text
    assert serves(client, small) == small.versions[0]
    detail = client.get("/datasets/housets", headers=READ)
    assert detail.status_code == 200
    monkeypatch.undo()
    until(lambda: client.get("/health").json()["store"]["outcome"] == "ok", "the recovery")


def test_what_was_downloaded_is_kept_for_the_next_start(client: TestClient, settings: Settings, small: Small) -> None:
    assert settings.cache is not None
    folder = settings.cache / "bundles" / "housets"
    assert [path.name for path in folder.iterdir()] == [small.versions[0]]
    before = (folder / small.versions[0] / "model.ubj").stat().st_mtime_ns
    with client_of(settings) as again:
        assert serves(again, small) == small.versions[0]
    assert (folder / small.versions[0] / "model.ubj").stat().st_mtime_ns == before


def test_a_data_set_is_described_with_its_row_model_and_versions(
    client: TestClient, small: Small, place: Place
) -> None:
    said = client.get("/datasets/housets", headers=READ).json()
    assert said["version"] == small.versions[0]
    assert said["columns"]["median_dom"] == {"type": "number", "unit": "days", "min": 0.0}
    assert set(said["row_schema"]["required"]) <= set(said["example"])
    assert client.post("/predict", json=said["example"], headers=READ).status_code == 200
    examples = client.get("/datasets/housets/examples", headers=READ).json()["rows"]
    assert examples[0] == said["example"]
    assert client.post("/predict", json=examples, headers=READ).status_code == 200
    assert {one["version"]: one["stage"] for one in said["versions"]} == {
        small.versions[0]: "production",
        small.versions[1]: "development",
    }
    assert said["lineage"]["version"] == small.versions[0]
    assert said["coordinates"]["atlanta-sandy springs-alpharetta"] == [33.749, -84.388]
    other = client.get(f"/datasets/housets/versions/{small.versions[1]}", headers=READ).json()
    assert other["lineage"]["version"] == small.versions[1]
    assert other["metrics"] == json.loads(place.open().read("housets", small.versions[1], "metrics.json"))
    for unknown in ("20200101T000000Z-00000000", "..%2F..", "x" * 200):
        assert client.get(f"/datasets/housets/versions/{unknown}", headers=READ).status_code == 404
    listed = client.get("/datasets", headers=READ).json()
    assert [one["name"] for one in listed["datasets"]] == ["housets"]
    assert listed["default"] == "housets"
    assert client.get("/datasets/nowhere", headers=READ).status_code == 404
    assert place.uri not in str(said)
