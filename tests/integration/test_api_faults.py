"""Whatever happens to S3: what serves goes on, `/health` says what is wrong, and the end of it is noticed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from src.api.app import create_app
from src.core.config import Settings
from tests.bundles import V1, sealed
from tests.faulty_proxy import Fault, FaultyProxy
from tests.integration.stores import SECRET, WHO, BucketPlace
from tests.serving import ADMIN, KEYS, READ, Asking, Small, client_of, until

FAULTS = {
    "down": (Fault("refuse"), "the store cannot be reached, or hangs up"),
    "hangs": (Fault("stall"), "the store does not answer in time"),
    "hangs in the middle of a body": (Fault("stall in body", "model.ubj"), "the store does not answer in time"),
    "hangs up in the middle of a body": (Fault("cut", "model.ubj"), "the store cannot be reached, or hangs up"),
    "hangs up in the middle of the pointer": (Fault("cut", "current.json"), "cannot be reached, or hangs up"),
    "is some other server": (Fault("page"), "the store's answer cannot be understood"),
    "is another server for one file": (Fault("page", "model.ubj"), "the store's answer cannot be understood"),
    "talks no HTTP": (Fault("noise"), "the store cannot be reached, or hangs up"),
    "finds the credential expired": (Fault("error", code="ExpiredToken", status=400), "refuses the credentials"),
    "finds the clock skewed": (
        Fault("error", code="RequestTimeTooSkewed", status=403),
        "this machine's clock is wrong",
    ),
    "denies access": (Fault("error", code="AccessDenied", status=403), "the store denies access"),
    "is overloaded": (Fault("error", code="SlowDown"), "the store is overloaded or failing"),
}


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_endpoint) as made:
        yield made


@pytest.fixture
def bucket(s3_settings: Settings, small: Small) -> BucketPlace:
    """A bucket with both versions, the first current; it is reached past the proxy."""
    made = BucketPlace(s3_settings)
    for version in small.versions:
        made.open().publish("housets", small.store.root / "housets" / version)
    made.open().promote("housets", small.versions[0], **WHO)
    return made


@pytest.fixture
def settings(s3_settings: Settings, bucket: BucketPlace, proxy: FaultyProxy, tmp_path: Path) -> Settings:
    changed = {"model_store": bucket.uri, "s3_endpoint_url": proxy.url, "api_keys": SecretStr(KEYS), "rate_limit": 0}
    return s3_settings.model_copy(update={**changed, "sync_seconds": 0.05, "cache": tmp_path / "cache"})


def health(client: TestClient, bucket: BucketPlace) -> str:
    """Return `/health`, which nobody needs a key for and which names no place and no secret."""
    text = client.get("/health").text
    for private in (SECRET, "AKIA", bucket.bucket, "some/prefix", "127.0.0.1", "/tmp", "Traceback"):
        assert private not in text
    return text


@pytest.mark.parametrize("name", FAULTS)
def test_s3(
    name: str,
    bucket: BucketPlace,
    proxy: FaultyProxy,
    settings: Settings,
    small: Small,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault, words = FAULTS[name]
    monkeypatch.setattr("src.api.app.SILENCE", 0.3)
    monkeypatch.setattr("src.api.sync.FIRST_PAUSE", 0.1)
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        proxy.break_(fault)
        bucket.open().promote("housets", small.versions[1], **WHO)
        until(lambda: words in health(client, bucket), f"{words} in /health")
        assert client.get("/health/ready").status_code == 200
        assert f"s3://{bucket.bucket}/some/prefix/models/" in caplog.text
        assert SECRET not in caplog.text
        proxy.heal()
        until(lambda: prices.versions[-1] == small.versions[1], "the version promoted meanwhile")
        until(lambda: '"failed"' not in health(client, bucket), "all well in /health")
    assert prices.failures == []
    assert prices.versions == list(small.versions)


def test_slow_s3_is_waited_for(
    bucket: BucketPlace, proxy: FaultyProxy, settings: Settings, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.api.sync.LATE_SECONDS", 0.2)
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        proxy.break_(Fault("slow", "housets", seconds=0.25))
        bucket.open().promote("housets", small.versions[1], **WHO)
        until(lambda: f"fetching {small.versions[1]}, for " in health(client, bucket), "what it is at")
        until(lambda: prices.versions[-1] == small.versions[1], "the version")
    assert prices.failures == []


def test_s3_that_hangs_holds_up_nothing_else(
    bucket: BucketPlace,
    proxy: FaultyProxy,
    settings: Settings,
    small: Small,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("src.api.sync.LATE_SECONDS", 0.2)
    monkeypatch.setattr("src.api.routes.datasets.STORE_SECONDS", 0.1)
    patient = settings.model_copy(update={"request_seconds": 5})
    with client_of(patient) as client, Asking(client, small, READ) as prices:
        proxy.break_(Fault("stall", "housets"))
        until(lambda: "asking which version is current, for" in health(client, bucket), "what it hangs at")
        assert client.get("/health/ready").status_code == 200
        # Another data set is followed; its bundle cannot be loaded, which is how it is seen.
        bucket.open().publish("iris", sealed(tmp_path / "iris", dataset="iris"))
        bucket.open().promote("iris", V1, **WHO)
        iris = lambda: client.get("/health").json()["datasets"].get("iris") or {"last_sync": {"version": None}}  # noqa: E731
        until(lambda: iris()["last_sync"]["version"] == V1, "the other data set")
        for _ in range(10):  # more than there are threads for it
            said = client.get("/datasets/housets", headers=READ).json()
            assert (said["version"], said["versions"], said["lineage"]) == (small.versions[0], None, None)
        assert client.get("/datasets", headers=READ).status_code == 200
        reloaded = client.post("/admin/reload", headers=ADMIN)
        assert (reloaded.status_code, reloaded.json()["complete"]) == (200, False)
        wanted = {"dataset": "housets", "version": small.versions[1], "why": "x"}
        assert client.post("/admin/promote", json=wanted, headers=ADMIN).status_code in (503, 504)
        began = time.monotonic()
    assert time.monotonic() - began < 20, "the service stops though its threads hang"
    assert prices.failures == []


def test_a_look_that_never_ends_is_given_up(
    bucket: BucketPlace,
    proxy: FaultyProxy,
    settings: Settings,
    small: Small,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        proxy.break_(Fault("stall", "housets/current.json"))
        until(lambda: proxy.hits, "a look that hangs")
        # Later looks pass; only the one that is under way has not noticed.
        proxy.forget()
        bucket.open().promote("housets", small.versions[1], **WHO)
        monkeypatch.setattr("src.api.looks.LONGEST_LOOK", 0.2)
        until(lambda: "given up after" in caplog.text, "the end of patience")
        monkeypatch.undo()
        until(lambda: prices.versions[-1] == small.versions[1], "the version")
        assert proxy.hits, "the first one hangs still"
    assert prices.failures == []


def test_a_start_while_s3_is_down_ends_when_it_is_back(
    bucket: BucketPlace, proxy: FaultyProxy, settings: Settings, small: Small
) -> None:
    proxy.break_(Fault("refuse"))
    with TestClient(create_app(settings)) as client:
        words = "the store cannot be reached, or hangs up"
        until(lambda: health(client, bucket).count(words) > 1, "the failure of both looks")
        said = client.get("/health/ready")
        assert said.status_code == 503
        assert words in said.json()["detail"]
        assert client.post("/predict", json=small.rows[0], headers=READ).status_code == 503
        text = client.get("/metrics", headers=READ).text
        assert 'housecast_sync_failing{dataset="housets"} 1.0' in text
        proxy.heal()
        until(lambda: client.get("/health/ready").status_code == 200, "the model")
        assert 'housecast_sync_failing{dataset="housets"} 0.0' in client.get("/metrics", headers=READ).text
