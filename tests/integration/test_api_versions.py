"""A version that cannot be used stays out and is named, the one before goes on, and mending it is enough."""

import errno
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from src.api.version import load
from src.core.bundle import seal
from src.core.config import Settings
from tests.bundles import V1, V2, V3, ed25519_keys, sealed
from tests.integration.stores import WHO, Place
from tests.serving import ADMIN, KEYS, READ, Asking, Small, client_of, until

DAMAGED = "the version is damaged"


@pytest.fixture
def full(place: Place, small: Small) -> Place:
    """A store with both versions, the first current."""
    for version in small.versions:
        place.open().publish("housets", small.store.root / "housets" / version)
    place.open().promote("housets", small.versions[0], **WHO)
    return place


@pytest.fixture
def settings(s3_settings: Settings, full: Place, tmp_path: Path) -> Settings:
    changed = {"model_store": full.uri, "api_keys": SecretStr(KEYS), "sync_seconds": 0.05, "rate_limit": 0}
    return s3_settings.model_copy(update={**changed, "cache": tmp_path / "cache"})


def last_sync(client: TestClient) -> Any:
    return client.get("/health").json()["datasets"]["housets"]["last_sync"]


def stays_out(client: TestClient, place: Place, words: str) -> None:
    until(lambda: words in str(last_sync(client)["detail"]), f"{words!r} in /health")
    text = client.get("/health").text
    for private in (place.uri, "/tmp", "/models", "Traceback"):
        assert private not in text
    assert client.get("/health/ready").status_code == 200


def altered(place: Place, key: str, content: bytes | None) -> Callable[[], None]:
    """Change or delete an object; returns what puts it back."""
    before = place.read(key)
    if content is None:
        place.delete(key)
    else:
        place.write(key, content)
    return lambda: place.write(key, before)


def test_a_version_that_is_not_whole(
    full: Place, settings: Settings, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = small.versions
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        for name, change, words in (
            ("model.ubj", lambda old: old[:100] + b"\0" + old[101:], DAMAGED),
            ("model.ubj", lambda old: old[:-1000], DAMAGED),
            ("encoders.pkl", lambda _: None, DAMAGED),  # half an upload
            ("manifest.json", lambda _: b"{}", DAMAGED),
            ("manifest.json", lambda _: None, "the version is not in the store, or not whole"),
        ):
            key = f"housets/{second}/{name}"
            # The pointer is moved before the damage: afterwards the store itself may refuse.
            pointer = full.read("housets/current.json")
            mend = altered(full, key, change(full.read(key)))
            full.write("housets/current.json", pointer.replace(first.encode(), second.encode(), 1))
            stays_out(client, full, words)
            assert last_sync(client)["version"] == second
            assert f"{second} stays out" in caplog.text
            mend()
            client.post("/admin/reload", headers=ADMIN)
            until(lambda: prices.versions[-1] == second, "the mended version")
            until(lambda: last_sync(client)["outcome"] == "ok", "the recovery")
            full.write("housets/current.json", pointer)
            until(lambda: prices.versions[-1] == first, "the first version")
            until(lambda: last_sync(client)["version"] == first, "the end of the look")
            assert settings.cache
            shutil.rmtree(settings.cache / "bundles" / "housets" / second)
            caplog.clear()
    assert prices.failures == []


def other_answers(folder: Path) -> None:
    golden = json.loads((folder / "golden.json").read_text())
    golden["predictions"][0] *= 1.001
    (folder / "golden.json").write_text(json.dumps(golden))


def test_a_version_that_is_whole_and_wrong(full: Place, settings: Settings, small: Small, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(small.store.root / "housets" / small.versions[1], wrong)
    other_answers(wrong)
    made = {"created": datetime.now(UTC), "git_commit": "abc", "data_fingerprint": "f" * 64}
    seal(wrong, dataset="housets", version=V1, **made)
    full.open().publish("housets", wrong)
    full.open().publish("housets", sealed(tmp_path / "nonsense", V2))
    for path in sealed(tmp_path / "iris", V3, dataset="iris").iterdir():
        full.write(f"housets/{V3}/{path.name}", path.read_bytes())
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        for version, words in (
            (V1, "the version does not give the answers that it was published with"),
            (V2, "its configuration is wrong"),
            (V3, "what has the version's name is another version or another data set's"),
        ):
            full.open().promote("housets", version, **WHO)
            stays_out(client, full, words)
        full.open().promote("housets", small.versions[1], **WHO)
        until(lambda: prices.versions[-1] == small.versions[1], "a good version")
    assert prices.failures == []
    assert prices.versions == list(small.versions)


def test_a_version_without_the_signature_asked_for(
    full: Place, settings: Settings, small: Small, tmp_path: Path
) -> None:
    private, public = ed25519_keys()
    shutil.copytree(small.store.root / "housets" / small.versions[0], tmp_path / "signed")
    made = {"created": datetime.now(UTC), "git_commit": "abc", "data_fingerprint": "f" * 64}
    seal(tmp_path / "signed", dataset="housets", version=V1, private_key=private, **made)
    full.open().publish("housets", tmp_path / "signed")
    full.open().promote("housets", V1, **WHO)
    with client_of(settings.model_copy(update={"bundle_public_key": public})) as client:
        full.open().promote("housets", small.versions[1], **WHO)
        stays_out(client, full, "the version is not signed as asked")
        assert client.post("/predict", json=small.rows[0], headers=READ).json()["model"]["version"] == V1


def test_a_pointer_that_is_garbage_or_gone(full: Place, settings: Settings, small: Small) -> None:
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        for content, words in (
            (b"\x00 no JSON", "the record of which version is current is damaged"),
            (b'{"version": "../../etc"}', "the record of which version is current is damaged"),
            (None, "the store does not say any more which version is current"),
        ):
            mend = altered(full, "housets/current.json", content)
            stays_out(client, full, words)
            mend()
            until(lambda: last_sync(client)["outcome"] == "ok", "the recovery")
    assert prices.failures == []
    assert prices.versions == [small.versions[0]]


def test_a_copy_in_the_cache_that_is_damaged_is_fetched_again(full: Place, settings: Settings, small: Small) -> None:
    with client_of(settings):
        pass
    assert settings.cache
    (settings.cache / "bundles" / "housets" / small.versions[0] / "model.ubj").write_bytes(b"half")
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        assert last_sync(client)["outcome"] == "ok"
    assert prices.versions == [small.versions[0]]


def test_a_version_that_is_taken_back_while_it_is_loaded_never_serves(
    full: Place, settings: Settings, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go = threading.Event(), threading.Event()

    def slow(folder: Path, dataset: str, using: Settings) -> Any:
        if folder.name == small.versions[1]:
            loading.set()
            go.wait(60)
        return load(folder, dataset, using)

    monkeypatch.setattr("src.api.served.load", slow)
    with client_of(settings) as client, Asking(client, small, READ) as prices:
        full.open().promote("housets", small.versions[1], **WHO)
        assert loading.wait(60)
        full.open().rollback("housets", **WHO)
        go.set()
        until(lambda: last_sync(client)["version"] == small.versions[0], "the end of the look")
        assert prices.versions == [small.versions[0]]
        # Twice in a row: what was promoted last serves.
        full.open().promote("housets", small.versions[1], **WHO)
        full.open().rollback("housets", **WHO)
        full.open().promote("housets", small.versions[1], **WHO)
        until(lambda: prices.versions[-1] == small.versions[1], "the version promoted last")
    assert prices.failures == []


@contextmanager
def disk(folder: Path, small: Small) -> Iterator[Callable[[], None]]:
    """Make a folder in which one version finds room and two do not; yields what makes room.

    A real small disk where the test may mount one, else the error raised where a copy is written.
    """
    folder.mkdir()
    bytes_of_one = sum(path.stat().st_size for path in (small.store.root / "housets" / small.versions[0]).iterdir())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={bytes_of_one * 3 // 2 // 1024}k", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield lambda: subprocess.run(["mount", "-o", "remount,size=100m", str(folder)], check=True)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return

    def fail(path: Path, *_: object) -> None:
        if small.versions[1] in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.core.bundle.sync", fail)
        yield patch.undo


def test_a_disk_that_is_full(full: Place, settings: Settings, small: Small, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", small) as make_room:
        using = settings.model_copy(update={"cache": tmp_path / "disk"})
        with client_of(using) as client, Asking(client, small, READ) as prices:
            full.open().promote("housets", small.versions[1], **WHO)
            stays_out(client, full, "the disk is full")
            assert [path.name for path in (tmp_path / "disk" / "bundles" / "housets").iterdir()] == [small.versions[0]]
            make_room()
            client.post("/admin/reload", headers=ADMIN)
            until(lambda: prices.versions[-1] == small.versions[1], "the version")
        assert prices.failures == []
