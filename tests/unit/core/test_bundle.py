"""A bundle is whole, unaltered and made for this software, or it is refused by name."""

import json
import logging
import os
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from src.core import bundle, manifest
from src.core.bundle import MANIFEST, assembling, git_commit, new_version, seal, verify, verify_as
from src.core.errors import BundleError, ConfigError
from src.core.manifest import RECENT
from tests.bundles import BUNDLED, FILES, V1, V2, ed25519_keys, sealed


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_sealed_bundle_verifies_and_says_where_it_came_from(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "b")
    made = verify(folder)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert (made.dataset, made.version, made.git_commit) == ("housets", V1, "abc")
    assert set(made.files) == set(BUNDLED)
    assert set(made.packages) == {"xgboost", "numpy", "polars", "narwhals", "scikit-learn", "housecast", "python"}
    assert made.packages["xgboost"] != "absent"
    assert made.files["model.ubj"].size == 1000


def test_versions_sort_by_time_whatever_the_zone() -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    first = new_version(noon, "data", "config")
    assert first.startswith("20261120T120000Z-")
    assert manifest.VERSION.fullmatch(first)
    assert new_version(noon.astimezone(timezone(timedelta(hours=9))), "data", "config") == first
    assert new_version(noon + timedelta(seconds=1), "other", "config") > first
    assert new_version(noon, "other", "config") != first
    assert new_version(noon, "data", "other") != first
    with pytest.raises(ValueError, match="time zone"):
        new_version(datetime(2026, 1, 1), "data", "config")  # noqa: DTZ001


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = sealed(tmp_path / "b")
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} missing"):
        verify(folder)


def test_a_bundle_without_recent_rows_is_whole_and_one_that_is_told_of_is_needed(tmp_path: Path) -> None:
    about: dict[str, Any] = {"created": datetime(2026, 1, 1, tzinfo=UTC), "git_commit": "a", "data_fingerprint": "b"}
    folder = sealed(tmp_path / "b")
    recent = (folder / RECENT).read_bytes()
    (folder / RECENT).unlink()
    seal(folder, dataset="housets", version=V1, **about)
    assert RECENT not in verify(folder).files
    (folder / RECENT).write_bytes(recent)
    with pytest.raises(BundleError, match=r"recent\.parquet is not in the manifest"):
        verify(folder)
    seal(folder, dataset="housets", version=V1, **about)
    assert RECENT in verify(folder).files


@pytest.mark.parametrize("name", BUNDLED)
def test_truncated_and_altered_files_are_named(tmp_path: Path, name: str) -> None:
    folder = sealed(tmp_path / "b")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    with pytest.raises(BundleError, match=f"{name} is truncated: 999 bytes"):
        verify(folder)
    (folder / name).write_bytes(whole + b"!")
    with pytest.raises(BundleError, match=f"{name} is altered"):
        verify(folder)
    (folder / name).write_bytes(whole[:-1] + b"!")
    with pytest.raises(BundleError, match=f"{name} is altered: its SHA-256"):
        verify(folder)
    (folder / name).write_bytes(b"")
    with pytest.raises(BundleError, match=f"{name} is truncated: 0 bytes"):
        verify(folder)


@pytest.mark.parametrize("name", ["evil.py", ".hidden", "model.ubj.bak"])
def test_an_extra_file_is_named(tmp_path: Path, name: str) -> None:
    folder = sealed(tmp_path / "b")
    (folder / name).write_text("x")
    with pytest.raises(BundleError, match=f"'{name}' does not belong"):
        verify(folder)


def test_links_folders_and_pipes_are_refused_without_being_read(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "b")
    (tmp_path / "elsewhere").write_bytes((folder / "model.ubj").read_bytes())
    (folder / "model.ubj").unlink()
    (folder / "model.ubj").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"model\.ubj is not a plain file"):
        verify(folder)
    (folder / "model.ubj").unlink()
    os.mkfifo(folder / "model.ubj")  # opening it would wait for ever
    with pytest.raises(BundleError, match=r"model\.ubj is not a plain file"):
        verify(folder)
    (folder / "model.ubj").unlink()
    (folder / "model.ubj").mkdir()
    with pytest.raises(BundleError, match=r"model\.ubj is not a plain file"):
        verify(folder)


def test_a_link_to_a_bundle_and_what_is_no_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sealed(tmp_path / "b"))
    for path in (tmp_path / "link", tmp_path / "nothing", tmp_path / "b" / "model.ubj"):
        with pytest.raises(BundleError, match="is not a folder"):
            verify(path)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "..", "sub/model.ubj", "model.ubj\x00"])
def test_a_manifest_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    folder = sealed(tmp_path / "b")
    entry = json.loads((folder / MANIFEST).read_text())["files"]
    _edit(folder, files=entry | {name: entry["model.ubj"]})
    with pytest.raises(BundleError, match="does not belong in a bundle"):
        verify(folder)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"version": "../../etc"}, "version"),
        ({"version": V1 + "\n"}, "version"),
        ({"dataset": "../x"}, "dataset"),
        ({"created": "2026-01-01T00:00:00"}, "created"),
        ({"surprise": 1}, "surprise"),
        ({"format": 2}, "format"),
        ({"files": {"model.ubj": {"sha256": "0" * 64, "size": -1}}}, "files.model.ubj.size"),
        ({"files": {"model.ubj": {"sha256": "0" * 64, "size": 10**15}}}, "files.model.ubj.size"),
        ({"files": {"model.ubj": {"sha256": "short", "size": 1}}}, "files.model.ubj.sha256"),
    ],
)
def test_a_wrong_manifest_names_the_key(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    folder = sealed(tmp_path / "b")
    _edit(folder, **changes)
    with pytest.raises(BundleError, match=f"is not a manifest: {key}"):
        verify(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000])
def test_a_manifest_that_is_not_json_is_refused(tmp_path: Path, text: bytes) -> None:
    folder = sealed(tmp_path / "b")
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(BundleError, match="is not a manifest"):
        verify(folder)


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "b")
    (folder / MANIFEST).write_bytes(b" " * (manifest.MAX_MANIFEST_BYTES + 1))
    with pytest.raises(BundleError, match="larger than 65,536 bytes"):
        verify(folder)


def test_signed_bundles_verify_with_the_key_and_with_no_other(tmp_path: Path) -> None:
    private, public = ed25519_keys()
    folder = sealed(tmp_path / "signed", private_key=private)
    assert verify(folder, public_key=public).signature
    assert verify(folder).signature, "without a public key a signature is not needed, and does not hurt"
    with pytest.raises(BundleError, match="signature does not match"):
        verify(folder, public_key=ed25519_keys()[1])
    with pytest.raises(BundleError, match="is not signed"):
        verify(sealed(tmp_path / "unsigned"), public_key=public)


@pytest.mark.parametrize(
    "changes",
    [{"version": V2}, {"dataset": "other"}, {"git_commit": "def"}, {"signature": "00" * 64}, {"signature": "zz"}],
)
def test_a_signature_covers_the_whole_manifest(tmp_path: Path, changes: dict[str, Any]) -> None:
    private, public = ed25519_keys()
    folder = sealed(tmp_path / "b", private_key=private)
    _edit(folder, **changes)
    with pytest.raises(BundleError, match="signature does not match"):
        verify(folder, public_key=public)


def test_an_altered_file_with_a_matching_manifest_still_fails_the_signature(tmp_path: Path) -> None:
    private, public = ed25519_keys()
    folder = sealed(tmp_path / "b", private_key=private)
    signature = json.loads((folder / MANIFEST).read_text())["signature"]
    (folder / "model.ubj").write_bytes(b"hostile")
    again = datetime(2026, 1, 1, tzinfo=UTC)
    seal(folder, dataset="housets", version=V1, created=again, git_commit="abc", data_fingerprint="f" * 64)
    _edit(folder, signature=signature)
    assert verify(folder)
    with pytest.raises(BundleError, match="signature does not match"):
        verify(folder, public_key=public)


@pytest.mark.parametrize("key", ["abc", "zz" * 32, "00" * 31])
def test_a_key_that_is_none_is_the_users_mistake_and_is_not_repeated(tmp_path: Path, key: str) -> None:
    private, _ = ed25519_keys()
    folder = sealed(tmp_path / "b", private_key=private)
    with pytest.raises(ConfigError, match="BUNDLE_PUBLIC_KEY is not an Ed25519 key") as caught:
        verify(folder, public_key=key)
    assert key not in str(caught.value)
    with pytest.raises(ConfigError, match="BUNDLE_PRIVATE_KEY is not an Ed25519 key") as caught:
        sealed(tmp_path / "c", private_key=key)
    assert key not in str(caught.value)


def test_another_xgboost_is_refused_and_a_patch_of_it_is_not(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "b")
    packages = json.loads((folder / MANIFEST).read_text())["packages"]
    major, minor, *_ = packages["xgboost"].split(".")
    _edit(folder, packages=packages | {"xgboost": f"{major}.{minor}.99"})
    assert verify(folder)
    _edit(folder, packages=packages | {"xgboost": f"{major}.{int(minor) + 1}.0"})
    with pytest.raises(BundleError, match=rf"made with xgboost {major}\.{int(minor) + 1}\.0 and .* is installed"):
        verify(folder)
    _edit(folder, packages={})
    with pytest.raises(BundleError, match="xgboost absent"):
        verify(folder)


def test_other_packages_may_differ_and_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = sealed(tmp_path / "b")
    packages = json.loads((folder / MANIFEST).read_text())["packages"]
    with caplog.at_level(logging.WARNING, logger="src.core.bundle"):
        verify(folder)
        assert not caplog.records
        _edit(folder, packages=packages | {"polars": "0.1"})
        verify(folder)
    assert f"polars 0.1 -> {packages['polars']}" in caplog.text


def test_sealing_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    about = {"created": datetime(2026, 1, 1, tzinfo=UTC), "git_commit": "a", "data_fingerprint": "b"}
    folder = sealed(tmp_path / "b")
    with pytest.raises(BundleError, match="version"):
        seal(folder, dataset="housets", version="latest", **about)
    with pytest.raises(BundleError, match="dataset"):
        seal(folder, dataset="../x", version=V1, **about)
    (folder / "notes.txt").write_text("x")
    with pytest.raises(BundleError, match=r"notes\.txt"):
        seal(folder, dataset="housets", version=V1, **about)
    (folder / "notes.txt").unlink()
    (folder / "golden.json").unlink()
    with pytest.raises(BundleError, match=r"golden\.json missing"):
        seal(folder, dataset="housets", version=V1, **about)


def test_what_a_killed_seal_left_does_not_stop_the_next(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "b")
    (folder / ".manifest.123.tmp.json").write_text("{")
    made = datetime(2026, 1, 1, tzinfo=UTC)
    seal(folder, dataset="housets", version=V2, created=made, git_commit="a", data_fingerprint="b")
    assert verify(folder).version == V2


def test_a_renamed_bundle_is_not_what_its_name_says(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "b")
    assert verify_as(folder, "housets", V1).version == V1
    with pytest.raises(BundleError, match=f"holds housets {V1} and not housets {V2}"):
        verify_as(folder, "housets", V2)
    with pytest.raises(BundleError, match=f"holds housets {V1} and not other"):
        verify_as(folder, "other")


def test_assembling_shows_the_folder_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "new" / "b"

    def fail_halfway() -> None:
        with assembling(final) as temporary:
            (temporary / "half").write_text("x")
            assert not final.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]
    with assembling(final) as temporary:
        (temporary / "whole").write_text("x")
    with pytest.raises(OSError, match=r"[Nn]ot empty"), assembling(final) as temporary:
        (temporary / "other").write_text("x")
    assert [path.name for path in final.iterdir()] == ["whole"]
    assert [path.name for path in final.parent.iterdir()] == ["b"]


def test_git_commit_tells_a_clean_tree_from_a_changed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # set when the tests run in a git hook
    assert git_commit(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert git_commit(tmp_path) == "unknown", "no commit yet"
    (tmp_path / "file").write_text("a")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-qm", "x", "--no-verify"], check=True)
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("b")
    assert git_commit(tmp_path) == f"{clean}+dirty"


def test_git_commit_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_commit(tmp_path) == "unknown"


def test_a_full_disk_leaves_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sealed(tmp_path / "b")
    before = (folder / MANIFEST).read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        seal(
            folder,
            dataset="housets",
            version=V2,
            created=datetime(2026, 1, 1, tzinfo=UTC),
            git_commit="a",
            data_fingerprint="b",
        )
    monkeypatch.undo()
    assert (folder / MANIFEST).read_bytes() == before
    assert bundle.verify(folder).version == V1
