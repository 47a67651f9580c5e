"""Files as they are named: what their content must be, and a zip's one CSV unpacked."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.core.errors import DataError

CHUNK = 1 << 20
SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".zip", ".gz", ".parquet")
# Texts that mean `missing`, in a CSV and in a database's text columns.
NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Yield a path that Polars reads as it is: a zip's one CSV is unpacked for the time of the block.

    Raises:
        DataError: the content is not what the name says.
    """
    _check_content(path)
    if path.suffix.lower() != ".zip":
        yield path
        return
    # Not beside the zip: its folder may be read-only.
    with tempfile.TemporaryDirectory(prefix="housecast-") as folder:
        yield _unpacked(path, Path(folder))


def _unpacked(path: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".csv") and "__MACOSX" not in name]
            if len(names) != 1:
                raise DataError(f"{path} must hold one CSV, it holds {len(names)}: {', '.join(names[:5])}")
            with archive.open(names[0]) as content, (folder / "unpacked.csv").open("wb") as out:
                shutil.copyfileobj(content, out, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}): fetch it again") from error
    except (RuntimeError, NotImplementedError) as error:  # a password, or a method that Python does not know
        raise DataError(f"{path} cannot be unpacked ({error}): unpack it by hand") from error
    return folder / "unpacked.csv"


def _check_content(path: Path) -> None:
    if path.is_dir():
        if not any(path.rglob("*.parquet")):
            raise DataError(f"the folder {path} holds no .parquet file")
        return
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: cannot tell what it is; name it {', '.join(SUFFIXES)}")
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head:
        raise DataError(f"{path} is empty")
    kinds = {b"PAR1": "Parquet", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip"}
    actual = next((kind for magic, kind in kinds.items() if head.startswith(magic)), "text")
    if actual == "text" and b"\0" in head:
        actual = "binary"
    named = {".parquet": "Parquet", ".gz": "gzip", ".zip": "zip", ".csv": "text"}[Path(name).suffix]
    if actual != named:
        raise DataError(f"{path} is named as {named} but its content is {actual}")
