"""The monthly batch's output in S3: `<prefix>/<dataset>/preds_YYYY_MM.parquet`."""

from contextlib import closing
from typing import TYPE_CHECKING

from src.core.predictions_store import PredictionsFile, is_month_file
from src.core.s3_errors import explained, no_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Predictions:
    """Objects below one prefix; S3 replaces an object whole."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = "/".join(part for part in prefix.split("/") if part)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def files(self) -> list[PredictionsFile]:
        """Return the Parquet files that are there, by month (StoreError)."""
        folder = f"{self.prefix}/"
        found = []
        with explained(self.bucket, folder):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=folder, Delimiter="/"
            )
            for page in pages:
                if "IsTruncated" not in page:  # some other server's page would read as an empty list
                    raise no_s3(self.bucket, folder)
                for entry in page.get("Contents", ()):
                    name = entry["Key"].removeprefix(folder)
                    if is_month_file(name):
                        found.append(PredictionsFile(name, entry["ETag"], entry["Size"]))
        return sorted(found, key=lambda file: file.name)

    def read(self, name: str) -> tuple[bytes, str]:
        """Return a file's content and the tag of just that content (StoreError)."""
        key = f"{self.prefix}/{name}"
        with explained(self.bucket, key):
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            with closing(answer["Body"]) as body:
                if "ETag" not in answer:
                    raise no_s3(self.bucket, key)
                return body.read(), answer["ETag"]

    def put(self, name: str, content: bytes) -> None:
        """Write a file, or replace it, whole or not at all (StoreError)."""
        key = f"{self.prefix}/{name}"
        with explained(self.bucket, key):
            self.client.put_object(Bucket=self.bucket, Key=key, Body=content)
