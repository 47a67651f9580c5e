"""A bucket with a model behind a real S3 endpoint, for the images to find."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from src.core.config import Settings
from src.core.s3_store import connect
from src.core.store import open_store
from tests.integration.stores import SECRET, isolate_aws
from tests.serving import Small, make_small

BUCKET = "housecast"


@dataclass(frozen=True)
class Cloud:
    """What the deployment has: a bucket with a model, and the environment that leads to it."""

    small: Small
    client: Any
    environment: dict[str, str]

    def keys(self, prefix: str) -> list[str]:
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    small = make_small(folder)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {"S3_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1", "S3_BUCKET": BUCKET}
    with pytest.MonkeyPatch.context() as patch:
        isolate_aws(patch)
        settings = Settings(s3_endpoint_url=environment["S3_ENDPOINT_URL"], aws_region="us-east-1", s3_bucket=BUCKET)
        client: Any = connect(BUCKET, settings)
        client.create_bucket(Bucket=BUCKET)
        store = open_store(settings.models_uri, settings, folder)
        version = store.publish("housets", Path(folder) / "30" / "bundle")
        store.promote("housets", version, by="tests", why="the only one")
        client.upload_file(str(folder / "30" / "rows.parquet"), BUCKET, "incoming/housets.parquet")
        credentials = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
        yield Cloud(small, client, {**environment, **credentials})
    server.stop()
