"""One contract for every model store, against real folders and a real S3 endpoint."""

import errno
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.bundle import CONTENTS, FILES, MANIFEST
from src.core.errors import BundleError, ConfigError, HousecastError, StoreError
from src.core.pointer import POINTER, Pointer
from tests.bundles import V1, V2, V3, contents, ed25519_keys, sealed
from tests.integration.stores import Place

WHO = {"by": "ann", "why": "better"}


def _published(place: Place, tmp_path: Path, *versions: str) -> None:
    for version in versions:
        place.open().publish("housets", sealed(tmp_path / f"bundle-{version}", version))


def _together(*calls: Callable[[], Any]) -> tuple[list[Any], list[StoreError]]:
    """Run the calls at the same time; return what they returned and the store errors that they raised."""
    barrier, done, failed = threading.Barrier(len(calls)), [], []

    def run(call: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            done.append(call())
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done, failed


def test_an_empty_store_is_empty(place: Place) -> None:
    store = place.open()
    assert store.datasets() == []
    assert store.versions("housets") == []
    assert store.current("housets") is None
    assert str(store) == (place.uri if "://" not in place.uri else place.uri + "/models")


def test_a_published_version_comes_back_as_it_went(place: Place, tmp_path: Path) -> None:
    bundle = sealed(tmp_path / "bundle", V2)
    assert place.open().publish("housets", bundle) == V2
    _published(place, tmp_path, V1)
    place.open().publish("india_rent", sealed(tmp_path / "rent", V3, dataset="india_rent"))
    store = place.open()
    assert store.datasets() == ["housets", "india_rent"]
    assert store.versions("housets") == [V1, V2]
    assert store.current("housets") is None, "publishing promotes nothing"
    assert store.manifest("housets", V2).version == V2
    into = store.fetch("housets", V2, tmp_path / "cache" / V2)
    assert into == tmp_path / "cache" / V2
    assert contents(into) == contents(bundle)
    assert [path.name for path in into.parent.iterdir()] == [V2], "nothing temporary stays"


def test_fetching_again_keeps_what_is_there_and_refuses_what_is_not_it(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1, V2)
    store = place.open()
    into = store.fetch("housets", V1, tmp_path / "cache")
    before = (into / "model.ubj").stat().st_ino
    assert store.fetch("housets", V1, into) == into
    assert (into / "model.ubj").stat().st_ino == before
    with pytest.raises(BundleError, match=f"holds housets {V1} and not housets {V2}"):
        store.fetch("housets", V2, into)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match=r"thesis\.txt"):
        store.fetch("housets", V1, mine)
    assert (mine / "thesis.txt").read_text() == "x"
    (tmp_path / "empty").mkdir()
    assert contents(store.fetch("housets", V1, tmp_path / "empty")) == contents(into)


def test_a_version_is_written_once(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1)
    for folder in (tmp_path / f"bundle-{V1}", sealed(tmp_path / "other", V1, salt="other")):
        with pytest.raises(StoreError, match=f"version {V1} is in .* already"):
            place.open().publish("housets", folder)
    fetched = place.open().fetch("housets", V1, tmp_path / "cache")
    assert contents(fetched) == contents(tmp_path / f"bundle-{V1}")


def test_only_whole_bundles_of_the_dataset_are_published(place: Place, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds india_rent"):
        place.open().publish("housets", sealed(tmp_path / "rent", dataset="india_rent"))
    folder = sealed(tmp_path / "b")
    (folder / "golden.json").write_bytes(b"altered")
    with pytest.raises(BundleError, match=r"golden\.json is truncated"):
        place.open().publish("housets", folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"manifest\.json missing"):
        place.open().publish("housets", folder)
    assert place.open().datasets() == []


def test_a_public_key_is_asked_of_publishers_and_of_the_store(place: Place, tmp_path: Path) -> None:
    private, public = ed25519_keys()
    locked = place.open(public_key=public)
    with pytest.raises(BundleError, match="not signed"):
        locked.publish("housets", sealed(tmp_path / "unsigned", V1))
    _published(place, tmp_path, V2)
    locked.publish("housets", sealed(tmp_path / "signed", V3, private_key=private))
    assert locked.fetch("housets", V3, tmp_path / "cache").is_dir()
    with pytest.raises(BundleError, match="not signed"):
        locked.fetch("housets", V2, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_the_pointer_keeps_its_history(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1, V2)
    store = place.open()
    first = store.promote("housets", V1, by="ann", why="first", expected=None)
    second = store.promote("housets", V2, by="bob", why="better", expected=V1)
    assert place.open().current("housets") == second
    assert (second.version, second.by, second.why) == (V2, "bob", "better")
    assert second.history == (first.without_history(),)
    written = json.loads(place.read(f"housets/{POINTER}"))
    assert {"version", "promoted_at", "by", "why", "history"} <= set(written)
    assert store.promote("housets", V2, **WHO) == second, "promoting what is current moves nothing"


def test_promotion_of_what_is_not_there_or_not_expected(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1, V2)
    store = place.open()
    with pytest.raises(StoreError, match=f"no version {V3} .* The latest: {V1}, {V2}"):
        store.promote("housets", V3, **WHO)
    with pytest.raises(StoreError, match=f"{V2} was not promoted: expected {V1}, and no version is current"):
        store.promote("housets", V2, expected=V1, **WHO)
    store.promote("housets", V1, **WHO)
    with pytest.raises(StoreError, match=rf"{V2} was not promoted: expected no version, and {V1} \(by ann"):
        store.promote("housets", V2, expected=None, **WHO)
    assert store.current("housets").version == V1  # type: ignore[union-attr]


def test_rollbacks_go_further_back_and_a_new_promotion_starts_again(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1, V2, V3)
    store = place.open()
    for version in (V1, V2, V3):
        store.promote("housets", version, **WHO)
    assert store.rollback("housets", by="bob", why="bad").version == V2
    assert store.rollback("housets", by="bob", why="bad too").version == V1
    with pytest.raises(StoreError, match=f"nothing served before {V1}"):
        store.rollback("housets", **WHO)
    store.promote("housets", V3, **WHO)
    back = store.rollback("housets", **WHO)
    assert back.version == V1
    assert [move.version for move in back.history] == [V3, V1, V2, V3, V2, V1]


def test_rollback_to_a_named_version(place: Place, tmp_path: Path) -> None:
    store = place.open()
    with pytest.raises(StoreError, match="no current version"):
        store.rollback("housets", **WHO)
    _published(place, tmp_path, V1, V2, V3)
    for version in (V1, V2, V3):
        store.promote("housets", version, **WHO)
    assert store.rollback("housets", to=V1, **WHO).version == V1
    with pytest.raises(StoreError, match="is current already"):
        store.rollback("housets", to=V1, **WHO)
    with pytest.raises(StoreError, match="no version 20990101T000000Z-00000000"):
        store.rollback("housets", to="20990101T000000Z-00000000", **WHO)


def test_a_promotion_that_was_overtaken_names_both(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _published(place, tmp_path, V1, V2, V3)
    for earlier in (None, V1):
        if earlier:
            place.open().promote("housets", earlier, **WHO)
        slow = place.open()
        swap = slow._swap  # type: ignore[attr-defined]

        def overtaken(dataset: str, new: Pointer, token: str, swap: Any = swap) -> bool:
            place.open().promote("housets", V2, by="bob", why="faster")
            return bool(swap(dataset, new, token))

        monkeypatch.setattr(slow, "_swap", overtaken)
        with pytest.raises(StoreError, match=rf"{V3} was not promoted: .*{V2} \(by bob") as caught:
            slow.promote("housets", V3, **WHO)
        assert "Traceback" not in str(caught.value)
        assert place.open().current("housets").version == V2  # type: ignore[union-attr]


def test_a_swap_whose_answer_was_lost_is_not_a_lost_race(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _published(place, tmp_path, V1)
    store = place.open()
    swap = store._swap  # type: ignore[attr-defined]
    monkeypatch.setattr(store, "_swap", lambda *arguments: swap(*arguments) and swap(*arguments))
    assert store.promote("housets", V1, **WHO) == place.open().current("housets")


@pytest.mark.parametrize("first", [None, V1])
def test_of_promoters_at_once_one_wins(place: Place, tmp_path: Path, first: str | None) -> None:
    versions = [f"2026020{i}T000000Z-0000000{i}" for i in range(1, 6)]
    _published(place, tmp_path, V1, *versions)
    if first:
        place.open().promote("housets", first, **WHO)
    stores = [place.open() for _ in versions]
    won, lost = _together(
        *(
            lambda s=store, v=version: s.promote("housets", v, expected=first, **WHO)
            for store, version in zip(stores, versions, strict=True)
        )
    )
    assert len(won) == 1
    assert place.open().current("housets") == won[0]
    assert len(lost) == len(versions) - 1
    assert all(won[0].version in str(error) and "was not promoted" in str(error) for error in lost)


@pytest.mark.parametrize("salts", [("a", "b", "c"), ("a", "a", "a")])
def test_of_publishers_at_once_one_wins_and_its_version_is_whole(
    place: Place, tmp_path: Path, salts: tuple[str, ...]
) -> None:
    bundles = [sealed(tmp_path / f"bundle{i}", V1, salt=salt) for i, salt in enumerate(salts)]
    stores = [place.open() for _ in bundles]
    won, lost = _together(
        *(lambda s=store, b=bundle: s.publish("housets", b) for store, bundle in zip(stores, bundles, strict=True))
    )
    assert won == [V1]
    assert len(lost) == len(bundles) - 1
    assert all(V1 in str(error) for error in lost)
    assert contents(place.open().fetch("housets", V1, tmp_path / "cache")) in [contents(bundle) for bundle in bundles]


@pytest.mark.parametrize("name", FILES)
def test_a_file_missing_in_the_store_is_named(place: Place, tmp_path: Path, name: str) -> None:
    _published(place, tmp_path, V1)
    place.delete(f"housets/{V1}/{name}")
    message = f"no version {V1}" if name == MANIFEST else f"{name} missing"
    with pytest.raises(HousecastError, match=message):
        place.open().fetch("housets", V1, tmp_path / "cache" / V1)
    assert list((tmp_path / "cache").glob("*")) == []


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_damaged_in_the_store_is_named(place: Place, tmp_path: Path, name: str) -> None:
    _published(place, tmp_path, V1)
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
    _published(place, tmp_path, V1)
    place.write(f"housets/{V1}/evil.py", b"x")
    with pytest.raises(BundleError, match=r"evil\.py.* does not belong"):
        place.open().fetch("housets", V1, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_manifest_that_points_outside_brings_nothing(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1)
    manifest = json.loads(place.read(f"housets/{V1}/{MANIFEST}"))
    manifest["files"]["../../outside"] = manifest["files"]["model.ubj"]
    place.write(f"housets/{V1}/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(BundleError, match=r"'\.\./\.\./outside' does not belong"):
        place.open().fetch("housets", V1, tmp_path / "a" / "b" / "cache")
    assert not list(tmp_path.rglob("outside"))


def test_a_version_under_another_name_is_refused(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1)
    for name in FILES:
        place.write(f"housets/{V2}/{name}", place.read(f"housets/{V1}/{name}"))
    assert V2 in place.open().versions("housets")
    with pytest.raises(BundleError, match=f"holds housets {V1} and not housets {V2}"):
        place.open().fetch("housets", V2, tmp_path / "cache")


@pytest.mark.parametrize("name", ["../x", "", ".", "a/b", "A", "x" * 65, "housets\n"])
def test_names_that_could_be_paths_are_refused(place: Place, tmp_path: Path, name: str) -> None:
    store = place.open()
    for call in (
        lambda: store.versions(name),
        lambda: store.current(name),
        lambda: store.publish(name, sealed(tmp_path / "b")),
        lambda: store.promote(name, V1, **WHO),
        lambda: store.rollback(name, **WHO),
        lambda: store.manifest(name, V1),
        lambda: store.fetch(name, V1, tmp_path / "x"),
    ):
        with pytest.raises(ConfigError, match="is not a dataset's name"):
            call()


@pytest.mark.parametrize("version", ["../x", "", "latest", f"{V1}/..", V1 + "\n"])
def test_versions_that_could_be_paths_are_refused(place: Place, tmp_path: Path, version: str) -> None:
    store = place.open()
    for call in (
        lambda: store.promote("housets", version, **WHO),
        lambda: store.manifest("housets", version),
        lambda: store.fetch("housets", version, tmp_path / "x"),
    ):
        with pytest.raises(ConfigError, match="is not a version"):
            call()


def test_what_is_no_version_is_not_listed(place: Place, tmp_path: Path) -> None:
    _published(place, tmp_path, V1)
    place.write(f"housets/{V2}/model.ubj", b"half an upload")
    place.write("housets/latest/manifest.json", b"{}")
    place.write(f"Not a dataset/{V1}/manifest.json", b"{}")
    place.write("notes.txt", b"x")
    store = place.open()
    assert store.datasets() == ["housets"]
    assert store.versions("housets") == [V1]
    with pytest.raises(StoreError, match=f"no version {V2}"):
        store.promote("housets", V2, **WHO)
    with pytest.raises(StoreError, match=f"no version {V2}"):
        store.fetch("housets", V2, tmp_path / "cache")


@pytest.mark.parametrize("text", [b"", b"{", b'{"version": 1}', b"\xff"])
def test_a_damaged_pointer_says_what_to_do(place: Place, tmp_path: Path, text: bytes) -> None:
    _published(place, tmp_path, V1)
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
    _published(place, tmp_path, V1)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("src.core.bundle.sync", full)
    with pytest.raises(StoreError, match=f"{V1} cannot be written to .*{V1}: No space left on device"):
        place.open().fetch("housets", V1, tmp_path / "cache" / V1)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.undo()
    assert (tmp_path / "cache").is_dir()
