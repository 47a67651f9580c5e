"""One contract for every model store, against real folders and a real S3 endpoint."""

import json
from pathlib import Path

import pytest

from src.core.bundle import MANIFEST
from src.core.errors import BundleError, ConfigError, StoreError
from src.core.pointer import POINTER
from tests.bundles import V1, V2, V3, contents, ed25519_keys, sealed
from tests.integration.stores import WHO, Place, published


def test_an_empty_store_is_empty(place: Place) -> None:
    store = place.open()
    assert store.datasets() == []
    assert store.versions("housets") == []
    assert store.current("housets") is None
    assert str(store) == (place.uri if "://" not in place.uri else place.uri + "/models")


def test_a_published_version_comes_back_as_it_went(place: Place, tmp_path: Path) -> None:
    bundle = sealed(tmp_path / "bundle", V2)
    assert place.open().publish("housets", bundle) == V2
    published(place, tmp_path, V1)
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
    published(place, tmp_path, V1, V2)
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
    published(place, tmp_path, V1)
    for folder in (tmp_path / f"bundle-{V1}", sealed(tmp_path / "other", V1, salt="other")):
        with pytest.raises(StoreError, match=f"version {V1} is in .* already"):
            place.open().publish("housets", folder)
    fetched = place.open().fetch("housets", V1, tmp_path / "cache")
    assert contents(fetched) == contents(tmp_path / f"bundle-{V1}")


def test_only_whole_bundles_of_the_dataset_arepublished(place: Place, tmp_path: Path) -> None:
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
    published(place, tmp_path, V2)
    locked.publish("housets", sealed(tmp_path / "signed", V3, private_key=private))
    assert locked.fetch("housets", V3, tmp_path / "cache").is_dir()
    with pytest.raises(BundleError, match="not signed"):
        locked.fetch("housets", V2, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_the_pointer_keeps_its_history(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1, V2)
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
    published(place, tmp_path, V1, V2)
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
    published(place, tmp_path, V1, V2, V3)
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
    published(place, tmp_path, V1, V2, V3)
    for version in (V1, V2, V3):
        store.promote("housets", version, **WHO)
    assert store.rollback("housets", to=V1, **WHO).version == V1
    with pytest.raises(StoreError, match="is current already"):
        store.rollback("housets", to=V1, **WHO)
    with pytest.raises(StoreError, match="no version 20990101T000000Z-00000000"):
        store.rollback("housets", to="20990101T000000Z-00000000", **WHO)


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
    published(place, tmp_path, V1)
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
