"""What comes over the network: an object of S3, a file of the web, a data set of Kaggle."""

import http.client
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from src.core.address import shown
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError, StoreError
from src.core.files import replacing
from src.feature_pipeline.content import CHUNK, SUFFIXES
from src.feature_pipeline.transfer import transfer

TIMEOUT_SECONDS = 30
S3_ANSWERS = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object in the bucket",
    "AccessDenied": "access denied: the credentials need s3:GetObject on it",
}


def from_kaggle(handle: str, config: DatasetConfig, settings: Settings) -> Path:
    """Let kagglehub download a data set; of several files the config's own, else the largest."""
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


def from_s3(source: str, settings: Settings, downloads: Path) -> Path:
    """Download one object."""
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


def from_web(source: str, downloads: Path) -> Path:
    """Download one file."""
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


def _check_name(name: str, where: str) -> None:
    if not name.lower().endswith(SUFFIXES):
        raise ConfigError(f"{where} does not end with one of {', '.join(SUFFIXES)}")


def _save(stream: Any, announced: int | None, path: Path, where: str) -> None:
    """Copy a stream into a file, whole or not at all."""
    with (
        replacing(path) as temporary,
        temporary.open("wb") as out,
        transfer(f"downloading {where}", announced) as advance,
    ):
        while chunk := stream.read(CHUNK):
            out.write(chunk)
            advance(len(chunk))
        received = out.tell()
        if announced is not None and received != announced:
            raise DataError(f"{where} broke off after {received:,} of {announced:,} bytes; try again")
