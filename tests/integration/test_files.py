"""Files that are damaged, disks that are full, commands that are stopped: the previous output stays whole."""

import errno
import gzip
import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from src.core.config import PROJECT, DatasetConfig, Settings
from src.core.errors import DataError
from src.feature_pipeline import feature_engineering, load, preprocess
from tests.factories import housets_frame
from tests.integration.test_sources import contents, run


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("market") / "market.csv"
    housets_frame(rows=400).write_csv(path)
    return path.read_bytes()


def zipped(market: bytes, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("HouseTS.csv", market)
    return path


def test_a_zip_in_a_read_only_folder_is_loaded_and_nothing_stays(
    market: bytes, config: DatasetConfig, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scratch = tmp_path / "read-only", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    path = zipped(market, folder / "market.zip")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = folder.stat().st_mtime_ns
    folder.chmod(0o555)
    try:
        assert run(str(path), config, settings).rows == 400
    finally:
        folder.chmod(0o755)
    # The superuser may write everywhere, so that nothing was tried is seen by the folder's own time.
    assert folder.stat().st_mtime_ns == before
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("fault", ["cut short", "altered", "locked"])
def test_a_damaged_or_locked_archive_is_named(
    fault: str, market: bytes, config: DatasetConfig, settings: Settings, tmp_path: Path
) -> None:
    path = zipped(market, tmp_path / "market.zip")
    content = bytearray(path.read_bytes())
    if fault == "cut short":
        content = content[:5000]
    elif fault == "altered":
        content[5000:5010] = b"0123456789"
    else:
        content[6] |= 1  # the flag of an encrypted member, in the local header and in the directory
        content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="unpack it by hand" if fault == "locked" else "is damaged .* fetch it again"):
        run(str(path), config, settings)


def test_a_gzip_that_was_cut_short_is_named(
    market: bytes, config: DatasetConfig, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "market.csv.gz"
    path.write_bytes(gzip.compress(market)[:-5000])
    with pytest.raises(DataError, match=r"cannot read .*market.csv.gz: unexpected end of file"):
        run(str(path), config, settings)


def test_a_name_with_brackets_is_a_name_and_not_a_pattern(
    market: bytes, config: DatasetConfig, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "market[1]*.csv"
    path.write_bytes(market)
    (tmp_path / "market1.csv").write_bytes(b"date\n")
    assert run(str(path), config, settings).rows == 400
    folder = tmp_path / "parts[1]"
    folder.mkdir()
    frame = pl.read_csv(path, infer_schema_length=None, glob=False)
    frame.head(100).write_parquet(folder / "b.parquet")
    frame.tail(300).write_parquet(folder / "c.parquet")
    assert run(str(folder), config, settings).rows == 400
    frame.write_parquet(tmp_path / "M.PARQUET")
    assert run(str(tmp_path / "M.PARQUET"), config, settings).rows == 400


STAGES = ("raw", "processed", "features")


def run_stages(config: DatasetConfig, source: Path, settings: Settings) -> None:
    raw, processed, features = (settings.workspace / stage for stage in STAGES)
    load.run(config, str(source), settings, raw, csv=True)
    preprocess.run(config, raw, processed)
    feature_engineering.run(config, processed, features)


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_fills_up_leaves_the_stages_previous_output_whole(
    stage: str, config: DatasetConfig, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "market.csv"
    housets_frame(rows=400).write_csv(source)
    run_stages(config, source, settings)
    housets_frame(rows=400, seed=1).write_csv(source)
    before = contents(settings.workspace / stage)
    write = pl.DataFrame.write_parquet

    def full(frame: pl.DataFrame, path: Path, **options: Any) -> None:
        write(frame, path, **options)
        if path.parent.name == stage and "holdout" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        run_stages(config, source, settings)
    assert contents(settings.workspace / stage) == before


def test_a_write_that_the_system_refuses_ends_the_command_with_code_1_and_one_line(tmp_path: Path) -> None:
    source = tmp_path / "market.csv"
    housets_frame(rows=3000).write_csv(source)
    arguments = ["--input", str(source), "--output-dir", str(tmp_path / "raw")]

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, str(PROJECT / "src/feature_pipeline/load.py"), *arguments],
        capture_output=True,
        text=True,
        preexec_fn=small_files_only,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot write to {tmp_path / 'raw'}: ")
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_stopped_load_leaves_nothing_half_written(
    config: DatasetConfig, settings: Settings, market: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = zipped(market, tmp_path / "market.zip")
    run(str(source), config, settings)
    before = contents(settings.workspace)

    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", stop)
    with pytest.raises(KeyboardInterrupt):
        run(str(source), config, settings)
    assert contents(settings.workspace) == before
    assert json.loads((settings.workspace / "raw" / "load.json").read_text())["rows"] == 400


def test_two_loads_at_once_leave_one_whole_output(config: DatasetConfig, settings: Settings, market: bytes) -> None:
    folder = settings.workspace
    path = folder / "market.csv"
    path.write_bytes(market)
    command = [
        sys.executable,
        "-m",
        "src.feature_pipeline.load",
        "--input",
        str(path),
        "--output-dir",
        str(folder / "raw"),
    ]
    both = [subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    splits = [f"{name}.{kind}" for name in ("eval", "holdout", "train") for kind in ("csv", "parquet")]
    assert sorted(contents(folder / "raw")) == sorted([*splits, "load.json"])
    rows = {name: pl.read_parquet(folder / "raw" / f"{name}.parquet").height for name in ("train", "eval", "holdout")}
    assert json.loads((folder / "raw" / "load.json").read_text())["splits"] == rows
