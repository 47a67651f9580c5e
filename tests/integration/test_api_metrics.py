"""/metrics and /stats say what was asked, what serves, and how following the store goes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from src.core.config import Settings
from tests.serving import READ, Small, client_of, copied, until


def scraped(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read /metrics as Prometheus does: (name, labels) -> value."""
    families = text_string_to_metric_families(client.get("/metrics", headers=READ).text)
    return {
        (one.name.removeprefix("housecast_"), tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


def of(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted({"dataset": "housets", **labels}.items()))


@pytest.fixture
def settings(small: Small, tmp_path: Path) -> Settings:
    store = copied(small, tmp_path / "models")
    return Settings(model_store=str(store.root), workspace=tmp_path, rate_limit=0, sync_seconds=0.05)


def test_metrics_tell_requests_rows_and_model_by_data_set(settings: Settings, small: Small) -> None:
    with client_of(settings) as client:
        for count in (1, 3, 3, 40):
            assert client.post("/predict", json=small.rows[:count]).status_code == 200
        assert client.post("/predict", json=[{"zipcode": 1}]).status_code == 422
        found = scraped(client)
    asked = {"route": "/predict", "method": "POST"}
    assert found[of("requests_total", **asked, status="200")] == 4
    assert found[of("requests_total", **asked, status="422")] == 1
    assert found[of("request_seconds_count", route="/predict")] == 5
    assert found[of("predictions_total")] == found[of("request_rows_sum")] == 47
    assert [found[of("request_rows_bucket", le=le)] for le in ("1.0", "2.0", "5.0", "50.0", "+Inf")] == [1, 1, 3, 4, 4]
    version = small.versions[0]
    created = small.store.manifest("housets", version).created.timestamp()
    assert found[of("model_created_timestamp_seconds", version=version)] == created
    assert created < found[of("model_loaded_timestamp_seconds", version=version)] <= datetime.now(UTC).timestamp()
    assert found[("process_resident_memory_bytes", ())] > 1e6


def test_metrics_tell_how_long_the_store_has_not_answered(settings: Settings, tmp_path: Path) -> None:
    with client_of(settings) as client:
        until(lambda: scraped(client)[of("sync_failing")] == 0, "a look in order")
        assert scraped(client)[of("sync_failures_total")] == 0
        pointer = tmp_path / "models" / "housets" / "current.json"
        content = pointer.read_bytes()
        pointer.write_bytes(b"{")
        until(lambda: scraped(client)[of("sync_failures_total")] >= 3, "three failures")
        first = scraped(client)[of("sync_age_seconds")]
        until(lambda: scraped(client)[of("sync_age_seconds")] > first, "time")
        assert scraped(client)[of("sync_failing")] == 1
        pointer.write_bytes(content)
        until(lambda: scraped(client)[of("sync_failing")] == 0, "the store's return")
        failures = scraped(client)[of("sync_failures_total")]
        assert scraped(client)[of("sync_age_seconds")] < 5
        assert scraped(client)[of("sync_failures_total")] == failures, "what is over stays counted, once"


def test_stats_tell_the_same_without_prometheus(settings: Settings, small: Small) -> None:
    def stats(client: TestClient) -> dict[str, Any]:
        answer = client.get("/stats", headers=READ)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    with client_of(settings) as client:
        assert stats(client)["datasets"] == {}, "nothing is asked yet"
        before = datetime.now(UTC)
        for count in (1, 5):
            client.post("/predict", json=small.rows[:count])
        client.post("/predict", json=[{"zipcode": 1}])
        said = stats(client)
    found = said["datasets"]["housets"]
    assert (found["requests"], found["predictions"], found["refused"], found["failed"]) == (3, 6, 1, 0)
    assert found["error_rate"] == 0
    assert before <= datetime.fromisoformat(found["last_prediction"]) <= datetime.now(UTC)
    latency = found["milliseconds"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] < 60_000
    assert datetime.fromisoformat(said["since"]) <= before
