"""Where the monthly reports live: `reports/<dataset>/<month>/`, beside an S3 model store or in the workspace."""

import mimetypes
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from src.core.address import place_of
from src.core.bundle import sync
from src.core.config import Settings
from src.core.errors import StoreError, why
from src.core.files import replacing
from src.core.pointer import check_dataset

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ReportsStore(Protocol):
    """What every store of reports can do for its one dataset; `str()` of it is where it is."""

    def read(self, month: str, name: str) -> bytes | None:
        """Return a file of a month's report; None where there is none."""

    def put(self, month: str, name: str, content: bytes) -> None:
        """Write a file of a month's report, or replace it, whole or not at all."""


def open_reports(dataset: str, settings: Settings) -> ReportsStore:
    """Open a dataset's: beside an S3 model store's models/, else in the workspace.

    Raises:
        ConfigError: the model store's URI is neither a folder nor s3://bucket/prefix.
        StoreError: S3 cannot be set up, for example because AWS_PROFILE does not exist.
    """
    check_dataset(dataset)
    place = place_of(settings.models_uri or "", "model store")
    if isinstance(place, Path):
        return FolderReports(settings.workspace / "reports" / dataset)
    # botocore takes 0.3 s to import, which a folder need not pay.
    from src.core.s3_store import connect

    bucket, prefix = place
    return S3Reports(connect(bucket, settings), bucket, f"{prefix}/reports/{dataset}")


class FolderReports:
    """A folder for each month, with files that are renamed into place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def read(self, month: str, name: str) -> bytes | None:
        """Return a file of a month's report; None where there is none (StoreError)."""
        try:
            return (self.folder / month / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"reports {self.folder / month}: {name} cannot be read: {why(error)}") from error

    def put(self, month: str, name: str, content: bytes) -> None:
        """Write a file of a month's report, or replace it, whole or not at all (StoreError)."""
        try:
            with replacing(self.folder / month / name) as temporary:
                temporary.write_bytes(content)
                sync(temporary)
        except OSError as error:
            raise StoreError(f"reports {self.folder / month}: {name} cannot be written: {why(error)}") from error


class S3Reports:
    """Objects below one prefix; S3 replaces an object whole."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = "/".join(part for part in prefix.split("/") if part)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def read(self, month: str, name: str) -> bytes | None:
        """Return a file of a month's report; None where there is none (StoreError)."""
        from botocore.exceptions import ClientError

        from src.core.s3_errors import ABSENT, explained, no_s3

        key = f"{self.prefix}/{month}/{name}"
        with explained(self.bucket, key):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error.response["Error"].get("Code") in ABSENT:
                    return None
                raise
            with closing(answer["Body"]) as body:
                if "ETag" not in answer:
                    raise no_s3(self.bucket, key)
                return body.read()

    def put(self, month: str, name: str, content: bytes) -> None:
        """Write a file of a month's report, or replace it, whole or not at all (StoreError)."""
        from src.core.s3_errors import explained

        key = f"{self.prefix}/{month}/{name}"
        # Without its type a browser offers a page as a download.
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        with explained(self.bucket, key):
            self.client.put_object(Bucket=self.bucket, Key=key, Body=content, ContentType=f"{kind}; charset=utf-8")
