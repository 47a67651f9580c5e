"""A file is replaced whole or not at all."""

import hashlib
from datetime import date
from pathlib import Path

import pytest

from src.core.errors import DataError
from src.core.files import read_json, replacing, sha256, write_json


def test_a_file_appears_whole_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.csv"
    with replacing(path) as temporary:
        assert temporary.suffix == ".csv", "writers choose the format by the suffix"
        assert temporary.parent == path.parent, "a rename is only atomic within one file system"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "b.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back_and_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"mape": 0.125, "when": date(2020, 1, 31), "city": "Köln"})
    assert read_json(path) == {"mape": 0.125, "when": "2020-01-31", "city": "Köln"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"mape": float("nan")})
    assert read_json(path)["mape"] == 0.125


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"mape": 0.1')
    with pytest.raises(DataError, match=r"x\.json is not JSON"):
        read_json(tmp_path / "x.json")
