"""Versions move between stages in every store: recorded, conditional, and nothing half written."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.errors import BundleError, ConfigError, HousecastError, StoreError
from src.core.moves import MovesVersions
from src.core.stages import STAGES
from tests.bundles import V1, V2, V3, sealed
from tests.integration.stores import WHO, FolderPlace, Place, published
from tests.integration.test_store_races import together

ABSENT = "20990101T000000Z-00000000"


def record(version: str, stage: str, at: str) -> bytes:
    return json.dumps([{"version": version, "stage": stage, "at": at, "by": "eve", "why": "x"}]).encode()


def stages(place: Place) -> dict[str, str]:
    store = place.open()
    story = store.story("housets")
    return {version: story.stage(version) for version in store.versions("housets")}


def test_a_version_goes_through_its_life(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1, V2)
    store = place.open()
    assert stages(place) == {V1: "development", V2: "development"}
    moved = store.move("housets", V1, "staging", by="ann", why="try it")
    assert (moved.version, moved.stage, moved.by, moved.why) == (V1, "staging", "ann", "try it")
    assert stages(place) == {V1: "staging", V2: "development"}
    assert store.current("housets") is None
    assert store.move("housets", V1, "production", by="bob", why="good").stage == "production"
    assert store.current("housets").version == V1  # type: ignore[union-attr]
    store.promote("housets", V2, by="cleo", why="better")
    assert stages(place) == {V1: "archived", V2: "production"}
    store.rollback("housets", by="dan", why="too high")
    assert stages(place) == {V1: "production", V2: "archived"}
    story = [(event.stage, event.by, event.why) for event in place.open().story("housets").of(V1)]
    assert story == [
        ("production", "dan", "rolled back: too high"),
        ("archived", "cleo", f"{V2} took its place"),
        ("production", "bob", "good"),
        ("staging", "ann", "try it"),
    ]
    written = json.loads(place.read(f"housets/{STAGES}"))
    assert [(one["version"], one["stage"], one["by"], one["why"]) for one in written] == [
        (V1, "staging", "ann", "try it")
    ]


def test_production_is_left_by_promoting_another_or_rolling_back(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1)
    store = place.open()
    store.promote("housets", V1, **WHO)
    for stage in ("development", "staging", "archived"):
        with pytest.raises(StoreError, match=rf"{V1} is in production \(by ann, .* promote another version or roll"):
            store.move("housets", V1, stage, **WHO)  # type: ignore[arg-type]
    assert stages(place) == {V1: "production"}
    with pytest.raises(StoreError, match=f"{V1} is in production already"):
        store.move("housets", V1, "production", **WHO)


def test_what_somebody_archived_by_hand_serves_again_only_where_it_is_named(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1, V2, V3)
    store = place.open()
    for version in (V1, V2):
        store.promote("housets", version, **WHO)
    store.move("housets", V1, "archived", by="cleo", why="leaks the price")
    with pytest.raises(StoreError, match=r"archived by cleo \(.*leaks the price\): move it to staging first"):
        store.promote("housets", V1, **WHO)
    with pytest.raises(StoreError, match=r"archived by cleo .* name the version"):
        store.rollback("housets", **WHO)
    with pytest.raises(StoreError, match=rf"{V1} is in archived already \(by cleo"):
        store.move("housets", V1, "archived", **WHO)
    assert store.rollback("housets", to=V1, **WHO).version == V1
    store.promote("housets", V2, **WHO)
    assert store.promote("housets", V1, **WHO).version == V1, "it has served since, and was only replaced"
    store.move("housets", V3, "archived", **WHO)
    store.move("housets", V3, "staging", by="ann", why="mended")
    assert store.promote("housets", V3, **WHO).version == V3


@pytest.mark.parametrize(
    ("name", "version", "stage", "words"),
    [
        ("housets", ABSENT, "staging", f"no version {ABSENT} in the store. The latest: {V1}"),
        ("housets", "latest", "staging", "'latest' is not a version"),
        ("../x", V1, "staging", "is not a dataset's name"),
        ("housets", V1, "development", f"{V1} is in development already"),
    ],
)
def test_moves_that_cannot_be_are_refused(
    place: Place, tmp_path: Path, name: str, version: str, stage: Any, words: str
) -> None:
    published(place, tmp_path, V1)
    with pytest.raises(HousecastError, match=words):
        place.open().move(name, version, stage, **WHO)
    assert stages(place) == {V1: "development"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[",
        b"{}",
        b"\xff",
        b'[{"version": 1}]',
        record(V1, "production", "2026-01-01T00:00:00Z"),
        record("../x", "staging", "2026-01-01T00:00:00Z"),
        record(V1, "staging", "2026-01-01T00:00:00"),
        b"[" * 100_000,
        b" " * (2**22 + 1),
    ],
)
def test_a_damaged_record_says_what_to_do_and_serving_goes_on(place: Place, tmp_path: Path, text: bytes) -> None:
    published(place, tmp_path, V1, V2)
    store = place.open()
    store.promote("housets", V1, **WHO)
    place.write(f"housets/{STAGES}", text)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: store.story("housets"),
        lambda: store.move("housets", V2, "staging", **WHO),
        lambda: store.promote("housets", V2, **WHO),
    )
    for call in calls:
        with pytest.raises(StoreError, match=r"stages\.json is damaged .* delete it and move"):
            call()
    assert store.current("housets").version == V1  # type: ignore[union-attr]
    assert place.read(f"housets/{STAGES}") == text
    place.delete(f"housets/{STAGES}")
    store.promote("housets", V2, **WHO)
    place.write(f"housets/{STAGES}", text)
    assert store.rollback("housets", to=V1, **WHO).version == V1, "an emergency does not wait for the record"


def overtaking(store: MovesVersions, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Let something happen in another process between a store's reading and its writing."""
    swap = store._swap

    def overtaken(key: str, body: bytes, token: str) -> bool:
        monkeypatch.undo()
        meanwhile()
        return swap(key, body, token)

    monkeypatch.setattr(store, "_swap", overtaken)


@pytest.mark.parametrize("first", [None, V1])
def test_a_move_that_was_overtaken_names_who_was_faster(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str | None
) -> None:
    published(place, tmp_path, V1, V2, V3)
    if first:
        place.open().move("housets", first, "staging", **WHO)
    slow: Any = place.open()
    overtaking(slow, monkeypatch, lambda: place.open().move("housets", V2, "staging", by="bob", why="faster"))
    words = rf"{V3} was not moved to archived, somebody was faster: {V2} is in staging now \(by bob"
    with pytest.raises(StoreError, match=words):
        slow.move("housets", V3, "archived", **WHO)
    assert stages(place) == {V1: "staging" if first else "development", V2: "staging", V3: "development"}


def test_a_version_that_is_promoted_while_it_is_archived_stays_in_production(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(place, tmp_path, V1)
    slow: Any = place.open()
    overtaking(slow, monkeypatch, lambda: place.open().promote("housets", V1, by="bob", why="faster"))
    with pytest.raises(StoreError, match=rf"{V1} is in production \(by bob"):
        slow.move("housets", V1, "archived", **WHO)
    assert stages(place) == {V1: "production"}


def test_a_move_whose_answer_was_lost_is_not_a_lost_race(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(place, tmp_path, V1)
    store: Any = place.open()
    swap = store._swap
    monkeypatch.setattr(store, "_swap", lambda *arguments: swap(*arguments) and swap(*arguments))
    assert store.move("housets", V1, "staging", **WHO).stage == "staging"
    assert len(json.loads(place.read(f"housets/{STAGES}"))) == 1


def test_of_movers_at_once_one_wins(place: Place, tmp_path: Path) -> None:
    versions = [V1, V2, V3]
    published(place, tmp_path, *versions)
    stores: list[Any] = [place.open() for _ in versions]
    for store in stores:
        # Every mover reads before the first one writes.
        moves = store._moves("housets")
        store._moves = lambda dataset, store=store, kept=[moves]: (
            kept.pop() if kept else type(store)._moves(store, dataset)
        )
    won, lost = together(
        *(
            lambda s=store, v=version: s.move("housets", v, "staging", **WHO)
            for store, version in zip(stores, versions, strict=True)
        )
    )
    assert (len(won), len(lost)) == (1, 2)
    assert all(won[0].version in str(error) and "somebody was faster" in str(error) for error in lost)
    assert [version for version, stage in stages(place).items() if stage == "staging"] == [won[0].version]


def test_moves_are_not_dated_before_the_promotion_that_they_follow(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1, V2)
    store = place.open()
    store.promote("housets", V1, **WHO)
    store.promote("housets", V2, **WHO)
    pointer = json.loads(place.read("housets/current.json"))
    pointer["promoted_at"] = "2100-01-01T00:00:00Z"
    place.write("housets/current.json", json.dumps(pointer).encode())
    store.move("housets", V1, "staging", **WHO)
    assert stages(place) == {V1: "staging", V2: "production"}
    store.promote("housets", V1, **WHO)
    assert stages(place) == {V1: "production", V2: "archived"}


def test_a_disk_that_fills_while_moving_leaves_the_record_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = FolderPlace(tmp_path / "models")
    published(place, tmp_path, V1, V2)
    place.open().move("housets", V1, "staging", **WHO)
    before = sorted(path.name for path in (place.root / "housets").iterdir())

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("src.core.folder_store.sync", full)
    with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match="No space left on device"):
        place.open().move("housets", V2, "staging", **WHO)
    monkeypatch.undo()
    assert stages(place) == {V1: "staging", V2: "development"}
    assert sorted(path.name for path in (place.root / "housets").iterdir()) == before


def test_one_file_of_a_version_is_read_and_checked(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1)
    store = place.open()
    assert store.read("housets", V1, "config.yaml") == (tmp_path / f"bundle-{V1}" / "config.yaml").read_bytes()
    whole = place.read(f"housets/{V1}/config.yaml")
    for damaged in (whole[:-1], whole[:-1] + b"!", whole + b"x"):
        place.write(f"housets/{V1}/config.yaml", damaged)
        with pytest.raises(BundleError, match=r"config\.yaml is altered"):
            store.read("housets", V1, "config.yaml")
    place.delete(f"housets/{V1}/config.yaml")
    with pytest.raises(BundleError, match=r"config\.yaml is missing"):
        store.read("housets", V1, "config.yaml")
    with pytest.raises(StoreError, match=f"no version {ABSENT}"):
        store.read("housets", ABSENT, "config.yaml")
    with pytest.raises(ConfigError, match="is not a version"):
        store.read("housets", "..", "config.yaml")


def test_a_manifest_under_another_name_is_not_read_for_the_version(place: Place, tmp_path: Path) -> None:
    published(place, tmp_path, V1)
    bundle = sealed(tmp_path / "other", V2)
    for path in bundle.iterdir():
        place.write(f"housets/{V3}/{path.name}", path.read_bytes())
    with pytest.raises(BundleError, match=f"{V3} holds housets {V2}"):
        place.open().read("housets", V3, "config.yaml")
