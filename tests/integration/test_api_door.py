"""Who is let in, how often, with how much, and what an answer says of the machine: nothing."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from src.api.front import Call
from src.core.config import Settings
from tests.serving import ADMIN, ADMIN_KEY, KEYS, READ, READ_KEY, Small, client_of

OPEN = ["/", "/health", "/health/live", "/health/ready", "/openapi.json", "/docs"]


@pytest.fixture(scope="module")
def keyed(small: Small) -> Iterator[TestClient]:
    settings = Settings(model_store=str(small.store.root), api_keys=SecretStr(KEYS), rate_limit=0)
    with client_of(settings, address="203.0.113.9") as made:
        yield made


def settings_of(small: Small, **changed: Any) -> Settings:
    return Settings(model_store=str(small.store.root), **changed)


def test_a_key_opens_and_its_absence_does_not(keyed: TestClient, small: Small) -> None:
    row = small.rows[0]
    for headers in (
        {},
        {"Authorization": "Bearer hc_wrong"},
        {"X-API-Key": READ_KEY[:-1]},
        {"Authorization": "Bearer"},
    ):
        answer = keyed.post("/predict", json=row, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "predictions" not in answer.text
    for headers in (READ, ADMIN, {"X-API-Key": READ_KEY}, {"Authorization": f"bearer {READ_KEY}"}):
        assert keyed.post("/predict", json=row, headers=headers).status_code == 200
    assert keyed.get("/datasets").status_code == 401
    assert {path: keyed.get(path).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_only_an_admin_key_opens_admin(keyed: TestClient) -> None:
    assert keyed.post("/admin/reload").status_code == 401
    assert keyed.post("/admin/reload", headers=READ).status_code == 403
    answer = keyed.post("/admin/reload", headers=ADMIN)
    assert answer.status_code == 200
    assert answer.json()["store"]["outcome"] == "ok"


def test_without_keys_admin_is_closed_on_this_machine_as_well(small: Small) -> None:
    with client_of(settings_of(small)) as client:
        assert client.post("/predict", json=small.rows[0]).status_code == 200
        assert client.post("/admin/reload").status_code == 403


def test_without_keys_only_this_machine_is_answered_unless_that_is_meant(small: Small) -> None:
    with client_of(settings_of(small), address="203.0.113.9") as client:
        answer = client.post("/predict", json=small.rows[0])
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:housecast:problem:no-keys")
    with client_of(settings_of(small, allow_anonymous=True), address="203.0.113.9") as client:
        assert client.post("/predict", json=small.rows[0]).status_code == 200


def test_the_rate_is_limited_by_key(small: Small) -> None:
    settings = settings_of(small, api_keys=SecretStr(KEYS), rate_limit=0.001, rate_burst=3)
    with client_of(settings, address="203.0.113.9") as client:
        codes = [client.post("/predict", json=small.rows[0], headers=READ).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        late = client.post("/predict", json=small.rows[0], headers=READ)
        assert int(late.headers["retry-after"]) > 1
        assert client.post("/predict", json=small.rows[0], headers=ADMIN).status_code == 200


def test_guessing_keys_is_limited_by_address(small: Small) -> None:
    settings = settings_of(small, api_keys=SecretStr(KEYS), rate_limit=0.001, rate_burst=5)
    with client_of(settings, address="203.0.113.9") as client:
        wrong = [client.get("/datasets", headers={"X-API-Key": f"hc_{i}"}).status_code for i in range(8)]
    assert wrong[-1] == 429
    assert set(wrong) == {401, 429}


def test_a_body_without_a_length_is_counted_as_it_comes(keyed: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 1_000_000

    for path in ("/predict", "/admin/promote"):
        headers = {**ADMIN, "content-type": "application/json"}
        answer = keyed.post(path, content=(next(endless()) for _ in range(60)), headers=headers)
        assert answer.status_code == 413, path


def test_every_answer_carries_its_id_and_the_security_headers(keyed: TestClient) -> None:
    for path in ("/health", "/datasets", "/nowhere"):
        headers = keyed.get(path, headers=READ).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert len(headers["x-request-id"]) > 8
    assert keyed.get("/health", headers={"X-Request-ID": "my-trace.1"}).headers["x-request-id"] == "my-trace.1"
    assert keyed.get("/health", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"] != "a b\tc"
    assert "access-control-allow-origin" not in keyed.get("/health", headers={"Origin": "https://a.example"}).headers


def test_pages_of_a_named_origin_may_call(small: Small) -> None:
    with client_of(settings_of(small, cors_origins="https://a.example https://b.example")) as client:
        for path in ("/health", "/predict"):
            asked = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
            assert client.options(path, headers=asked).headers["access-control-allow-origin"] == "https://b.example"
            other = client.options(path, headers={**asked, "Origin": "https://c.example"})
            assert "access-control-allow-origin" not in other.headers


def test_a_bug_is_a_problem_without_a_trace(
    keyed: TestClient, small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("/secret/path and a password")

    monkeypatch.setattr("src.api.routes.predict.content_of", broken)
    monkeypatch.setattr("src.api.routes.datasets._summary", broken)
    for answer in (keyed.post("/predict", json=small.rows[0], headers=READ), keyed.get("/datasets", headers=READ)):
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
    assert "/secret/path" in caplog.text


def test_more_requests_than_are_taken_are_told_to_come_again(keyed: TestClient) -> None:
    front: Any = keyed.app
    waiting = [Call(str(i), "POST", 1e12, 30) for i in range(front.settings.max_in_flight)]
    front.live.update(waiting)
    try:
        answer = keyed.get("/datasets", headers=READ)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert keyed.get("/health/live").status_code == 200
    finally:
        front.live.difference_update(waiting)
    assert keyed.get("/datasets", headers=READ).status_code == 200


def test_what_takes_too_long_is_ended(keyed: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(_: object) -> bytes:
        await asyncio.sleep(60)
        return b""

    monkeypatch.setattr("src.api.routes.predict.read_body", slow)
    front: Any = keyed.app
    monkeypatch.setattr(front, "settings", front.settings.model_copy(update={"request_seconds": 0.1}))
    answer = keyed.post("/predict", json={}, headers=READ)
    assert (answer.status_code, answer.json()["type"]) == (408, "urn:housecast:problem:late")
    assert not front.live


def test_a_request_is_one_line_of_json_without_its_rows(
    small: Small, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "src.api.requests")
    with client_of(settings_of(small, api_keys=SecretStr(KEYS)), address="203.0.113.9") as client:
        client.post("/predict?explain=false&secret=1", json=small.rows[:3], headers={**READ, "X-Request-ID": "find-me"})
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith('{"time"')]
    line = next(line for line in lines if line["request_id"] == "find-me")
    assert (
        line.items() >= {"route": "/predict", "status": 200, "rows": 3, "caller": "tests", "dataset": "housets"}.items()
    )
    assert line["version"] == small.versions[0]
    assert "secret" not in json.dumps(line)
    assert str(small.rows[0]["median_list_price"]) not in json.dumps(line)


def test_metrics_count_what_was_asked(keyed: TestClient, small: Small) -> None:
    def count() -> float:
        text = keyed.get("/metrics", headers=READ).text
        wanted = 'housecast_predictions_total{dataset="housets"} '
        return float(next((line for line in text.splitlines() if line.startswith(wanted)), "0 0").split()[-1])

    before = count()
    keyed.post("/predict", json=small.rows[:7], headers=READ)
    assert count() == before + 7
    text = keyed.get("/metrics", headers=READ).text
    assert f'version="{small.versions[0]}"' in text
    assert ADMIN_KEY not in text
    assert keyed.get("/metrics").status_code == 401


def test_callers_at_once_get_their_own_answers(keyed: TestClient, small: Small) -> None:
    wanted = small.predictor.predict(small.rows[:40]).estimate.tolist()
    wrong: list[int] = []

    def ask(first: int) -> None:
        for i in range(first, 40, 4):
            said = keyed.post("/predict", json=small.rows[i], headers=READ).json()
            if said["predictions"] != [wanted[i]]:
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
