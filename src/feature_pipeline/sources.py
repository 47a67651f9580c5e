"""Where raw rows come from: files, folders, S3, the web, Kaggle, or the simulator. All end as a file on disk."""

import logging
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.progress import Progress

from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError
from src.core.files import replacing
from src.feature_pipeline import simulate

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30
CHUNK = 1 << 20
SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".zip", ".gz", ".parquet")


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
        source = _own(config, settings)
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
    path = Path(source)
    if not path.exists():
        raise ConfigError(f"no such file or folder: {path}")
    return path


def _own(config: DatasetConfig, settings: Settings) -> str:
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
    with replacing(path) as temporary:
        simulate.write_csv(temporary, **arguments)
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
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urllib.parse.urlsplit(source)
    key = parts.path.lstrip("/")
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.aws_region,
        config=Config(connect_timeout=5, read_timeout=TIMEOUT_SECONDS, retries={"max_attempts": 3}),
    )
    path = downloads / Path(key).name
    try:
        with replacing(path) as temporary:
            client.download_file(parts.netloc, key, str(temporary))
    except (BotoCoreError, ClientError) as error:
        raise DataError(f"cannot read {source}: {error}") from error
    return path


def _web(source: str, downloads: Path) -> Path:
    name = Path(urllib.parse.urlsplit(source).path).name
    if not name.lower().endswith(SUFFIXES):
        raise ConfigError(f"{source} does not end with one of {', '.join(SUFFIXES)}")
    path = downloads / name
    try:
        with (
            urllib.request.urlopen(source, timeout=TIMEOUT_SECONDS) as answer,  # noqa: S310  (scheme is http or https)
            replacing(path) as temporary,
            temporary.open("wb") as out,
        ):
            announced = int(answer.headers["Content-Length"]) if answer.headers["Content-Length"] else None
            received = _copy(answer, out, announced, name)
            if announced is not None and received != announced:
                raise DataError(f"{source} broke off after {received:,} of {announced:,} bytes; try again")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise DataError(f"cannot download {source}: {getattr(error, 'reason', None) or error}") from error
    return path


def _copy(answer: Any, out: IO[bytes], total: int | None, name: str) -> int:
    received = 0
    with Progress(transient=True) as progress:
        task = progress.add_task(f"downloading {name}", total=total)
        while chunk := answer.read(CHUNK):
            out.write(chunk)
            received += len(chunk)
            progress.update(task, completed=received)
    return received


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Yield a path that Polars reads as it is: a zip's one CSV is unpacked beside it for the time of the block.

    Raises:
        DataError: the content is not what the name says.
    """
    _check_content(path)
    if path.suffix.lower() != ".zip":
        yield path
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv") and "__MACOSX" not in name]
        if len(names) != 1:
            raise DataError(f"{path} must hold one CSV, it holds {len(names)}: {', '.join(names[:5])}")
        unpacked = path.with_name(f".{path.stem}.{os.getpid()}.csv")
        if not os.access(path.parent, os.W_OK):
            unpacked = Path(os.environ.get("TMPDIR", "/tmp")) / unpacked.name  # noqa: S108
        try:
            with archive.open(names[0]) as content, unpacked.open("wb") as out:
                shutil.copyfileobj(content, out, CHUNK)
            yield unpacked
        finally:
            unpacked.unlink(missing_ok=True)


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
