"""Where raw rows come from: files, folders, S3, the web, Kaggle, or the simulator. All end as a file on disk."""

import http.client
import logging
import shutil
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError, StoreError
from src.core.files import replacing
from src.feature_pipeline import simulate

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30
CHUNK = 1 << 20
SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".zip", ".gz", ".parquet")
S3_ANSWERS = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object in the bucket",
    "AccessDenied": "access denied: the credentials need s3:GetObject on it",
}


def resolve(source: str | None, config: DatasetConfig, settings: Settings, downloads: Path) -> Path:
    """Turn `--input`, or the config's own source, into a local file or a folder of Parquet.

    Args:
        source: path, `s3://`, `https://`, `kaggle:` or `simulate:`; None takes the first of the config's files that
            is under DATA_ROOT, else the config's default.
        config: names the files, the default and the place where a person gets them.
        settings: DATA_ROOT and the S3 endpoint.
        downloads: folder for what is fetched or simulated.

    Raises:
        ConfigError: the source does not exist or is of no known kind.
        DataError: a download failed or is not whole.
    """
    if source is None:
        source = own_source(config, settings)
    if "@" in urllib.parse.urlsplit(shown(source)).netloc:
        # Not repeated: what stands before the @ is secret.
        raise ConfigError("an address with a user or password in it is not taken: remove what stands before the @")
    kind = source.split(":", 1)[0] if ":" in source else ""
    match kind:
        case "simulate":
            return _simulated(source, downloads)
        case "kaggle":
            return _kaggle(source.removeprefix("kaggle:"), config, settings)
        case "s3":
            return _s3(source, settings, downloads)
        case "https" | "http":
            return _web(source, downloads)
    if not source or not Path(source).exists():
        raise ConfigError(f"no such file or folder: {source or '(an empty name)'}")
    return Path(source)


def own_source(config: DatasetConfig, settings: Settings) -> str:
    """Return the first of the config's files under DATA_ROOT, else its default source (ConfigError without one)."""
    for name in config.source.files:
        path = settings.data_root / name
        if path.exists():
            return str(path)
    if config.source.default:
        logger.info("no %s under %s: using %s", config.name, settings.data_root, config.source.default)
        return config.source.default
    wanted = " or ".join(str(settings.data_root / name) for name in config.source.files)
    raise ConfigError(f"no data for {config.name}: get it from {config.source.origin} and save it as {wanted}")


def _simulated(source: str, downloads: Path) -> Path:
    arguments = simulate.parse_source(source)
    name = "-".join(f"{key}{value}" for key, value in sorted(arguments.items()))
    path = downloads / f"simulated-{name or 'default'}.csv"
    logger.info("simulating a market: %s", source)
    simulate.write_csv(path, **arguments)
    return path


def _kaggle(handle: str, config: DatasetConfig, settings: Settings) -> Path:
    by_hand = (
        f"download https://www.kaggle.com/datasets/{handle} by hand and save the file as "
        f"{settings.data_root / (config.source.files[0] if config.source.files else config.name)}"
    )
    try:
        import kagglehub
    except ImportError as error:
        raise ConfigError(f"kaggle: needs the extra `uv sync --extra kaggle`; or {by_hand}") from error
    try:
        folder = Path(kagglehub.dataset_download(handle))
    except Exception as error:  # kagglehub passes on whatever its HTTP layers raise
        raise ConfigError(f"Kaggle did not answer ({type(error).__name__}: {error}); {by_hand}") from error
    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES))
    if not files:
        raise DataError(f"the Kaggle dataset {handle} holds no CSV or Parquet file")
    known = [path for path in files if path.name in {Path(name).name for name in config.source.files}]
    return known[0] if known else max(files, key=lambda path: path.stat().st_size)


def _s3(source: str, settings: Settings, downloads: Path) -> Path:
    # botocore takes 0.3 s to import, which other sources need not pay.
    from botocore.exceptions import BotoCoreError, ClientError

    from src.core.s3_store import connect

    parts = urllib.parse.urlsplit(source, allow_fragments=False)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if not bucket or not key or key.endswith("/"):
        raise ConfigError(f"{shown(source)} names no object: write s3://bucket/folder/file.csv")
    _check_name(key, shown(source))
    path = downloads / Path(key).name
    try:
        answer = connect(bucket, settings).get_object(Bucket=bucket, Key=key)
        with answer["Body"] as body:
            _save(body, answer["ContentLength"], path, shown(source))
    except StoreError as error:
        raise ConfigError(f"cannot read {shown(source)}: {error}") from error
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        said = S3_ANSWERS.get(code, f"S3 answered {code}: check the bucket, the key and the credentials")
        raise DataError(f"cannot read {shown(source)}: {said}") from error
    except BotoCoreError as error:
        # botocore's own texts can quote requests, and with them credentials.
        raise DataError(
            f"cannot read {shown(source)} ({type(error).__name__}): check the network, S3_ENDPOINT_URL, AWS_REGION and "
            "the credentials, then try again"
        ) from error
    return path


def _web(source: str, downloads: Path) -> Path:
    name = Path(urllib.parse.urlsplit(source).path).name
    _check_name(name, shown(source))
    path = downloads / name
    try:
        with urllib.request.urlopen(source, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  (http or https)
            _save(answer, answer.length, path, shown(source))
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"cannot download {shown(source)}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise DataError(f"cannot download {shown(source)}: {getattr(error, 'reason', None) or error}") from error
    return path


def shown(source: str) -> str:
    """Return a source as records and messages may show it: without a query, which can hold a signature."""
    return source.split("?", 1)[0] if "://" in source else source


def _check_name(name: str, where: str) -> None:
    if not name.lower().endswith(SUFFIXES):
        raise ConfigError(f"{where} does not end with one of {', '.join(SUFFIXES)}")


def _save(stream: Any, announced: int | None, path: Path, where: str) -> None:
    """Copy a stream into a file, whole or not at all."""
    # rich takes 0.1 s to import, which other sources need not pay.
    from rich.console import Console
    from rich.progress import Progress

    logger.info("downloading %s", where)
    console = Console(stderr=True)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as out,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task(path.name, total=announced)
        while chunk := stream.read(CHUNK):
            out.write(chunk)
            progress.update(task, advance=len(chunk))
        received = out.tell()
        if announced is not None and received != announced:
            raise DataError(f"{where} broke off after {received:,} of {announced:,} bytes; try again")


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
