"""A model store in S3: below `<prefix>/models/<dataset>/` the versions' folders, `current.json` and `stages.json`."""

import base64
import hashlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from src.core.bundle import MANIFEST, Manifest, receive, verify_as
from src.core.config import Settings
from src.core.errors import BundleError, ConfigError, StoreError
from src.core.manifest import DATASET, MAX_MANIFEST_BYTES, VERSION, check_listed, parse_manifest
from src.core.moves import MovesVersions
from src.core.pointer import check_dataset, check_version, unknown
from src.core.s3_errors import ABSENT, CONDITION_FAILED, code_of, explained, no_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 2**20
# An upload over a slow line needs that long from its last byte's way into the machine's buffers to the answer.
SILENCE = 30.0


def connect(bucket: str, settings: Settings, silence: float = SILENCE) -> "S3Client":
    """Make a client that gives up on a dead endpoint within seconds (StoreError when it cannot be set up).

    `silence`: seconds without a byte after which an answer is given up; without any byte of it, it is asked for thrice.
    """
    options = Config(
        connect_timeout=3,
        read_timeout=silence,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    with explained(bucket, ""):
        try:
            # A session of its own: boto3's shared one is not safe in threads and remembers old credentials.
            return boto3.Session().client(
                "s3", region_name=settings.aws_region, endpoint_url=settings.s3_endpoint_url, config=options
            )
        except ValueError as error:
            raise ConfigError("S3_ENDPOINT_URL is not a URL: write it like http://host:9000") from error


class S3Store(MovesVersions):
    """Objects are written once, the manifest last; what changes is swapped with a conditional write."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str = "", *, public_key: str | None = None) -> None:
        self.client = client
        self.bucket = bucket
        self.root = "/".join([part for part in prefix.split("/") if part] + ["models"])
        self.public_key = public_key

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.root}"

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have a whole version."""
        manifests = (key.split("/") for key in self._list("") if key.endswith(f"/{MANIFEST}"))
        return sorted({p[0] for p in manifests if len(p) == 3 and DATASET.fullmatch(p[0]) and VERSION.fullmatch(p[1])})

    def versions(self, dataset: str) -> list[str]:
        """Return the whole versions, oldest first."""
        parts = [key.split("/") for key in self._list(f"{check_dataset(dataset)}/")]
        return sorted(p[0] for p in parts if len(p) == 2 and p[1] == MANIFEST and VERSION.fullmatch(p[0]))

    def manifest(self, dataset: str, version: str) -> Manifest:
        """Read a version's manifest; its files are not checked (StoreError, BundleError)."""
        key = f"{check_dataset(dataset)}/{check_version(version)}/{MANIFEST}"
        found = self._get(key, MAX_MANIFEST_BYTES)
        if found is None:
            raise unknown(dataset, version, self.versions(dataset))
        return parse_manifest(found[0], f"{self}/{key}", self.public_key)

    def publish(self, dataset: str, folder: Path) -> str:
        """Upload a sealed bundle and return its version; it is visible once it is whole.

        What a killed upload of the same bundle left is completed.

        Raises:
            BundleError: the bundle is not whole, or another dataset's.
            StoreError: the version exists, another bundle is being uploaded under its name, or S3 refuses.
        """
        check_dataset(dataset)
        manifest = verify_as(folder, dataset, public_key=self.public_key)
        prefix = f"{dataset}/{manifest.version}/"
        exists = f"{dataset}: version {manifest.version} is in {self} already, and versions never change"
        if MANIFEST in self._list(prefix):
            raise StoreError(exists)
        for name in manifest.files:
            digest = manifest.files[name].sha256
            if not self._put_once(prefix + name, folder / name, digest) and self._sha256(prefix + name) != digest:
                raise StoreError(
                    f"{self}/{prefix}{name} is of another bundle, whose upload goes on or was killed:"
                    " publish yours under a new version"
                )
        with (folder / MANIFEST).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if not self._put_once(prefix + MANIFEST, folder / MANIFEST, digest):
            raise StoreError(exists)
        return manifest.version

    def fetch(self, dataset: str, version: str, into: Path) -> Path:
        """Download a version to the folder `into`, checked before it appears there.

        A whole copy that is there already is kept.

        Raises:
            BundleError: the version in the store is not whole, or what `into` holds is not that version.
            StoreError: no such version, S3 refuses, or `into` cannot be written.
        """
        prefix = f"{check_dataset(dataset)}/{check_version(version)}/"

        def fill(folder: Path) -> None:
            manifest = self.manifest(dataset, version)
            check_listed(self._list(prefix), manifest, f"{self}/{prefix}")
            for name in (*manifest.files, MANIFEST):
                limit = MAX_MANIFEST_BYTES if name == MANIFEST else manifest.files[name].size
                self._download(prefix + name, folder / name, limit)

        return receive(into, dataset, version, fill, public_key=self.public_key)

    def _swap(self, key: str, body: bytes, token: str) -> bool:
        key = f"{self.root}/{key}"
        with explained(self.bucket, key):
            try:
                if token:
                    self.client.put_object(Bucket=self.bucket, Key=key, Body=body, IfMatch=token)
                else:
                    self.client.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                # With If-Match, an object that was deleted meanwhile is "not found".
                if code_of(error) in CONDITION_FAILED or (token and code_of(error) in ABSENT):
                    return False
                raise
        return True

    def _put_once(self, key: str, path: Path, digest: str) -> bool:
        """Write an object unless one has its name; S3 refuses bytes whose SHA-256 is not the given one."""
        full = f"{self.root}/{key}"
        checksum = base64.b64encode(bytes.fromhex(digest)).decode()
        with path.open("rb") as body, explained(self.bucket, full):
            try:
                self.client.put_object(
                    Bucket=self.bucket, Key=full, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum
                )
            except ClientError as error:
                if code_of(error) in CONDITION_FAILED:
                    return False
                raise
        return True

    def _list(self, prefix: str) -> dict[str, int]:
        """Return key (below the prefix) and size of every object."""
        full = f"{self.root}/{prefix}"
        found: dict[str, int] = {}
        with explained(self.bucket, full):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=full):
                if "IsTruncated" not in page:  # some other server's page would read as an empty list
                    raise no_s3(self.bucket, full)
                found |= {entry["Key"].removeprefix(full): entry["Size"] for entry in page.get("Contents", ())}
        return found

    def _get(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """Return content and ETag of a small object, None if there is none."""
        full = f"{self.root}/{key}"
        with explained(self.bucket, full):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=full)
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            with closing(answer["Body"]) as body:
                if "ETag" not in answer:
                    raise no_s3(self.bucket, full)
                content = body.read(limit + 1)
                if len(content) <= limit:
                    body.read(1)  # at the end botocore tells whether all of it came
                return content, answer["ETag"]

    def _download(self, key: str, path: Path, limit: int) -> None:
        size = 0
        # Closed also when the loop ends early, as a body that is left unread keeps its connection.
        with path.open("wb") as stream, closing(self._chunks(key)) as chunks:
            for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise BundleError(f"{self}/{key} is altered: longer than the {limit:,} bytes of the manifest")
                stream.write(chunk)

    def _sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        for chunk in self._chunks(key):
            digest.update(chunk)
        return digest.hexdigest()

    def _chunks(self, key: str) -> Generator[bytes]:
        full = f"{self.root}/{key}"
        with explained(self.bucket, full):
            answer = self.client.get_object(Bucket=self.bucket, Key=full)
            with closing(answer["Body"]) as body:
                if "ETag" not in answer:
                    raise no_s3(self.bucket, full)
                yield from body.iter_chunks(CHUNK)
