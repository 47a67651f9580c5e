"""Whoever publishes, promotes or moves may be killed at any point (SIGKILL): the old version stays; a rerun works."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.core.config import PROJECT, Settings
from tests.bundles import V1, V2, contents, sealed
from tests.integration.stores import BucketPlace, FolderPlace, Place

# Each turn forks a child that is killed at its n-th operation on the store, then looks at what the child left;
# the turns follow one another without tidying, so each is also the rerun after a kill. The last one is not killed.
TURNS = """
import os, shutil, signal, sys, tempfile
from pathlib import Path

from src.core.config import Settings
from src.core.pointer import Pointer
from src.core.store import open_store
from tests.bundles import V1, V2, contents

uri, task, bundle = sys.argv[1:]
store = open_store(uri, Settings(), Path())


def act():
    if task == "publish":
        store.publish("housets", Path(bundle))
    elif task == "move":
        store.move("housets", V2, "staging", by="bob", why="try it")
    else:
        store.promote("housets", V2, by="bob", why="better")


def look():
    versions, current = store.versions("housets"), store.current("housets").version
    assert versions in ([V1], [V1, V2]), versions
    assert current in (V1, V2) if task == "promote" else current == V1, current
    with tempfile.TemporaryDirectory() as folder:
        for version in versions:
            store.fetch("housets", version, Path(folder) / version)
    stage = store.story("housets").stage(V2)
    if task == "move":
        assert stage in ("development", "staging"), stage
        return stage == "staging"
    return current == V2 if task == "promote" else V2 in versions


kills = 0
while True:
    child = os.fork()
    if child == 0:
        arm(kills + 1)
        act()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    done = look()
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0 and done, status
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    kills += 1
    if done:  # killed after the decisive moment: undo, and go on with the later ones
        undo()
print(kills)
"""

IN_A_FOLDER = """
def arm(point):
    seen = 0

    def count(event, arguments):
        nonlocal seen
        if event == "fcntl.flock" or any(str(argument).startswith(uri) for argument in arguments):
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def undo():
    if task == "publish":
        shutil.rmtree(Path(uri, "housets", V2))
    elif task == "move":
        store.move("housets", V2, "development", by="ann", why="again")
    else:
        store.promote("housets", V1, by="ann", why="again")
"""

OVER_HTTP = """
import socket

send = socket.socket.sendall


def arm(point):
    seen = 0

    def count(self, data, *flags):
        nonlocal seen
        seen += 1
        if seen == point:
            send(self, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return send(self, data, *flags)

    socket.socket.sendall = count


def undo():
    if task == "move":  # which looks at the pointer once more after it has written
        store.move("housets", V2, "development", by="ann", why="again")
        return
    raise AssertionError("the last thing sent is what makes the version visible: half of it must not")
"""


def _kill_in_turns(place: Place, task: str, bundle: Path, arm: str) -> int:
    script = TURNS.replace("kills = 0\n", f"{arm}\nkills = 0\n")
    done = subprocess.run(
        [sys.executable, "-c", script, place.uri, task, str(bundle)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return sealed(tmp_path / "old", V1)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return sealed(tmp_path / "new", V2, size=20_000)


def _promoted(place: Place, old: Path) -> None:
    place.open().publish("housets", old)
    place.open().promote("housets", V1, by="ann", why="first")


def test_a_publisher_killed_in_a_folder(tmp_path: Path, old: Path, new: Path) -> None:
    place = FolderPlace(tmp_path / "models")
    _promoted(place, old)
    kills = _kill_in_turns(place, "publish", new, IN_A_FOLDER)
    assert kills > 30, "every file is opened, copied and synced"
    assert contents(place.open().fetch("housets", V2, tmp_path / "cache")) == contents(new)
    left = {path.name for path in (tmp_path / "models" / "housets").iterdir()}
    assert left == {V1, V2, "current.json", ".publish.lock", ".promote.lock"}


def test_a_promoter_killed_in_a_folder(tmp_path: Path, old: Path, new: Path) -> None:
    place = FolderPlace(tmp_path / "models")
    _promoted(place, old)
    place.open().publish("housets", new)
    kills = _kill_in_turns(place, "promote", new, IN_A_FOLDER)
    assert kills > 5
    left = {path.name for path in (tmp_path / "models" / "housets").iterdir()}
    assert left == {V1, V2, "current.json", ".publish.lock", ".promote.lock"}


def test_a_mover_killed_in_a_folder(tmp_path: Path, old: Path, new: Path) -> None:
    place = FolderPlace(tmp_path / "models")
    _promoted(place, old)
    place.open().publish("housets", new)
    assert _kill_in_turns(place, "move", new, IN_A_FOLDER) > 5
    left = {path.name for path in (tmp_path / "models" / "housets").iterdir()}
    assert left == {V1, V2, "current.json", "stages.json", ".publish.lock", ".promote.lock"}


def _s3_environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", str(settings.s3_endpoint_url))
    monkeypatch.setenv("AWS_REGION", str(settings.aws_region))


def test_a_publisher_killed_while_uploading(
    tmp_path: Path, old: Path, new: Path, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _s3_environment(monkeypatch, s3_settings)
    place = BucketPlace(s3_settings)
    _promoted(place, old)
    kills = _kill_in_turns(place, "publish", new, OVER_HTTP)
    assert kills > 16, "every object has a head and a body"
    assert contents(place.open().fetch("housets", V2, tmp_path / "cache")) == contents(new)


def test_a_promoter_killed_while_sending(
    old: Path, new: Path, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _s3_environment(monkeypatch, s3_settings)
    place = BucketPlace(s3_settings)
    _promoted(place, old)
    place.open().publish("housets", new)
    assert _kill_in_turns(place, "promote", new, OVER_HTTP) >= 3


def test_a_mover_killed_while_sending(
    old: Path, new: Path, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _s3_environment(monkeypatch, s3_settings)
    place = BucketPlace(s3_settings)
    _promoted(place, old)
    place.open().publish("housets", new)
    assert _kill_in_turns(place, "move", new, OVER_HTTP) >= 4
