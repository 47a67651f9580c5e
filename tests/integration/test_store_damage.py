"""What is damaged in a store, and a disk that fills, are one clear error and nothing half done."""

import errno
import fcntl
import json
from pathlib import Path

import pytest

from src.core.bundle import MANIFEST
from src.core.errors import BundleError, HousecastError, StoreError
from src.core.folder_store import FolderStore
from src.core.pointer import POINTER
from tests.bundles import BUNDLED, FILES, V1, V2, V3, sealed
from tests.integration.stores import WHO, FolderPlace, Place, published


@pytest.mark.parametrize("name", FILES)
def test_a_file_missing_in_the_store_is_named(place: Place, tmp_path: Path, name: str) -> None:
    published(place, tmp_path, V1)
    place.delete(f"housets/{V1}/{name}")
    message = f"no version {V1}" if name == MANIFEST else f"{name} missing"
    with pytest.raises(HousecastError, match=message):
        place.open().fetch("housets", V1, tmp_path / "cache" / V1)
    assert list((tmp_path / "cache").glob("*")) == []


@pytest.mark.parametrize("name", BUNDLED)
def test_a_file_damaged_in_the_store_is_named(place: Place, tmp_path: Path, name: str) -> None:
    published(place, tmp_path, V1)
    path = f"housets/{V1}/{name}"
    whole = place.read(path)
    for damaged in (whole[:-1], b"", whole[:-1] + b"!", whole + b"longer"):
        place.write(path, damaged)
        with pytest.raises(BundleError, match=f"{name} is (truncated|altered)"):
            place.open().fetch("housets", V1, tmp_path / "cache" / V1)
        assert list((tmp_path / "cache").iterdir()) == []
    place.write(path, whole)
    assert place.open().fetch("housets", V1, tmp_path / "cache" / V1).is_dir()


def test_an_extra_file_in_the_store_is_named(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1)
    place.write(f"housets/{V1}/evil.py", b"x")
    with pytest.raises(BundleError, match=r"evil\.py.* does not belong"):
        place.open().fetch("housets", V1, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_manifest_that_points_outside_brings_nothing(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1)
    manifest = json.loads(place.read(f"housets/{V1}/{MANIFEST}"))
    manifest["files"]["../../outside"] = manifest["files"]["model.ubj"]
    place.write(f"housets/{V1}/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(BundleError, match=r"'\.\./\.\./outside' does not belong"):
        place.open().fetch("housets", V1, tmp_path / "a" / "b" / "cache")
    assert not list(tmp_path.rglob("outside"))


def test_a_version_under_another_name_is_refused(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1)
    for name in FILES:
        place.write(f"housets/{V2}/{name}", place.read(f"housets/{V1}/{name}"))
    assert V2 in place.open().versions("housets")
    with pytest.raises(BundleError, match=f"holds housets {V1} and not housets {V2}"):
        place.open().fetch("housets", V2, tmp_path / "cache")


@pytest.mark.parametrize("text", [b"", b"{", b'{"version": 1}', b"\xff"])
def test_a_damaged_pointer_says_what_to_do(place: Place, tmp_path: Path, text: bytes) -> None:
    published(place, tmp_path, V1)
    place.write(f"housets/{POINTER}", text)
    for call in (
        lambda: place.open().current("housets"),
        lambda: place.open().promote("housets", V1, **WHO),
        lambda: place.open().rollback("housets", **WHO),
    ):
        with pytest.raises(StoreError, match=r"current\.json is damaged .* delete it and promote"):
            call()
    place.delete(f"housets/{POINTER}")
    assert place.open().promote("housets", V1, **WHO).version == V1


def test_a_disk_that_fills_while_fetching_leaves_nothing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(place, tmp_path, V1)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("src.core.bundle.sync", full)
    with pytest.raises(StoreError, match=f"{V1} cannot be written to .*{V1}: No space left on device") as caught:
        place.open().fetch("housets", V1, tmp_path / "cache" / V1)
    assert caught.value.brief == "the disk is full"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_that_fills_while_publishing_or_promoting_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = FolderPlace(tmp_path / "models")
    published(place, tmp_path, V1, V2)
    before = place.open().promote("housets", V1, **WHO)
    listed = sorted(path.name for path in (place.root / "housets").iterdir())

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("src.core.bundle.sync", full)
    monkeypatch.setattr("src.core.folder_store.sync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        place.open().publish("housets", sealed(tmp_path / "third", V3))
    with pytest.raises(StoreError, match="No space left on device"):
        place.open().promote("housets", V2, **WHO)
    monkeypatch.undo()
    assert place.open().current("housets") == before
    assert sorted(path.name for path in (place.root / "housets").iterdir()) == listed
    assert place.open().publish("housets", tmp_path / "third") == V3


def test_a_folder_that_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = FolderPlace(tmp_path / "models")
    published(place, tmp_path, V1)

    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "iterdir", broken)
    for call in (place.open().datasets, lambda: place.open().versions("housets")):
        with pytest.raises(StoreError, match=r"model store .*models: Input/output error") as caught:
            call()
        assert caught.value.brief == "the store cannot be read or written (Input/output error)"


def test_a_store_that_is_a_file_or_is_locked_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    store = FolderStore(tmp_path / "file")
    assert store.datasets() == []
    with pytest.raises(StoreError, match=r"model store .*file: (Not a directory|File exists)"):
        store.publish("housets", sealed(tmp_path / "b"))
    place = FolderPlace(tmp_path / "models")
    place.open().publish("housets", tmp_path / "b")
    monkeypatch.setattr("src.core.folder_store.LOCK_SECONDS", 0.0)
    with (tmp_path / "models" / "housets" / ".promote.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"promote\.lock is held by another process"):
            place.open().promote("housets", V1, **WHO)
    assert place.open().promote("housets", V1, **WHO).version == V1
