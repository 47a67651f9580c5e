"""Of publishers or promoters at once one wins, and the others are told who."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.config import PROJECT
from src.core.errors import StoreError
from tests.bundles import V1, V2, V3, contents, sealed
from tests.integration.stores import WHO, FolderPlace, Place, published


def together(*calls: Callable[[], Any]) -> tuple[list[Any], list[StoreError]]:
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


def test_a_promotion_that_was_overtaken_names_both(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(place, tmp_path, V1, V2, V3)
    for earlier in (None, V1):
        if earlier:
            place.open().promote("housets", earlier, **WHO)
        slow = place.open()
        swap = slow._swap  # type: ignore[attr-defined]

        def overtaken(key: str, body: bytes, token: str, swap: Any = swap) -> bool:
            place.open().promote("housets", V2, by="bob", why="faster")
            return bool(swap(key, body, token))

        monkeypatch.setattr(slow, "_swap", overtaken)
        with pytest.raises(StoreError, match=rf"{V3} was not promoted: .*{V2} \(by bob") as caught:
            slow.promote("housets", V3, **WHO)
        assert "Traceback" not in str(caught.value)
        assert place.open().current("housets").version == V2  # type: ignore[union-attr]


def test_a_swap_whose_answer_was_lost_is_not_a_lost_race(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(place, tmp_path, V1)
    store = place.open()
    swap = store._swap  # type: ignore[attr-defined]
    monkeypatch.setattr(store, "_swap", lambda *arguments: swap(*arguments) and swap(*arguments))
    assert store.promote("housets", V1, **WHO) == place.open().current("housets")


@pytest.mark.parametrize("first", [None, V1])
def test_of_promoters_at_once_one_wins(place: Place, tmp_path: Path, first: str | None) -> None:
    versions = [f"2026020{i}T000000Z-0000000{i}" for i in range(1, 6)]
    published(place, tmp_path, V1, *versions)
    if first:
        place.open().promote("housets", first, **WHO)
    stores = [place.open() for _ in versions]
    won, lost = together(
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
    won, lost = together(
        *(lambda s=store, b=bundle: s.publish("housets", b) for store, bundle in zip(stores, bundles, strict=True))
    )
    assert won == [V1]
    assert len(lost) == len(bundles) - 1
    assert all(V1 in str(error) for error in lost)
    assert contents(place.open().fetch("housets", V1, tmp_path / "cache")) in [contents(bundle) for bundle in bundles]


def test_real_processes_promoting_at_once(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "models")
    versions = [f"2026020{i}T000000Z-0000000{i}" for i in range(1, 5)]
    published(place, tmp_path, *versions)
    script = """
import sys
from pathlib import Path
from src.core.folder_store import FolderStore
store = FolderStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
store.promote("housets", sys.argv[2], by="ann", why="x", expected=None)
"""
    command = [sys.executable, "-c", script, str(place.root)]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([*command, version], cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for version in versions
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in running]
    assert sorted(process.returncode for process in running) == [0, 1, 1, 1]
    winner = place.open().current("housets")
    assert winner is not None
    assert winner.history == ()
    assert sum(f"StoreError: housets: {v} was not promoted" in e for v, e in zip(versions, errors, strict=True)) == 3
    assert sum(winner.version in error for error in errors) == 3
