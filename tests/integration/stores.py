"""The same model store twice: a folder, and a bucket behind a real HTTP endpoint."""

import uuid
from pathlib import Path
from typing import Any, Protocol

import pytest

from src.core.config import Settings
from src.core.folder_store import FolderStore
from src.core.s3_store import S3Store, connect
from src.core.store import Store
from tests.bundles import sealed

SECRET = "very-secret-key"
WHO = {"by": "ann", "why": "better"}


class Place(Protocol):
    """Where a store keeps its objects, by their path below `models/`."""

    uri: str

    def open(self, **options: Any) -> Store:
        """Open the store anew, as another process would."""

    def write(self, path: str, content: bytes) -> None: ...

    def delete(self, path: str) -> None: ...

    def read(self, path: str) -> bytes: ...


class FolderPlace:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)

    def open(self, **options: Any) -> FolderStore:
        return FolderStore(self.root, **options)

    def write(self, path: str, content: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)

    def delete(self, path: str) -> None:
        (self.root / path).unlink()

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()


class BucketPlace:
    def __init__(self, settings: Settings) -> None:
        self.bucket = f"bucket-{uuid.uuid4().hex}"
        self.uri = f"s3://{self.bucket}/some/prefix"
        self.client: Any = connect(self.bucket, settings)
        self.client.create_bucket(Bucket=self.bucket)

    def open(self, **options: Any) -> S3Store:
        return S3Store(self.client, self.bucket, "some/prefix", **options)

    def write(self, path: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"some/prefix/models/{path}", Body=content)

    def delete(self, path: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"some/prefix/models/{path}")

    def read(self, path: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=f"some/prefix/models/{path}")["Body"].read()
        return content


def isolate_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the AWS client made-up credentials and keep it from the machine's own."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def published(place: Place, tmp_path: Path, *versions: str) -> None:
    """Seal and publish versions of the default dataset, in folders of their own."""
    for version in versions:
        place.open().publish("housets", sealed(tmp_path / f"bundle-{version}", version))
