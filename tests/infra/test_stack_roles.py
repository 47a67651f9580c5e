"""The tasks' roles against the code: what API and batch ask of S3 is what their roles let them, and no more."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.client
import polars as pl
import pytest

from src.batch import run_monthly
from src.core.config import Settings
from src.core.store import open_store
from tests.infra.conftest import Connect
from tests.infra.stack_policies import allows, applies, as_list, statements
from tests.infra.stack_template import VARIANTS, Stack, load, resolve
from tests.once import made_once
from tests.serving import ADMIN, KEYS, READ, Small, client_of, load_small, make_small

BUCKET = "homes"
ACTIONS = {"GetObject": "s3:GetObject", "PutObject": "s3:PutObject", "ListObjectsV2": "s3:ListBucket"}
Asked = set[tuple[str, str]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Small:
    return load_small(made_once(tmp_path_factory, worker_id, "small", make_small))


@pytest.fixture(scope="module")
def stack() -> Stack:
    return resolve(load(), VARIANTS["everything"])


@pytest.fixture(scope="module")
def bucket(aws: Connect, small: Small) -> Any:
    """A bucket as the operator leaves it: a second version published, the first one promoted, an input."""
    s3 = aws("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    store = open_store(f"s3://{BUCKET}", Settings(), Path())
    for version in small.versions:
        store.publish("housets", small.store.root / "housets" / version)
    store.promote("housets", small.versions[0], by="operator", why="first")
    rows = io.BytesIO()
    pl.DataFrame(small.rows).write_parquet(rows)
    s3.put_object(Bucket=BUCKET, Key="input/housets.parquet", Body=rows.getvalue())
    return s3


@contextmanager
def listening() -> Iterator[Asked]:
    """Collect what this process asks of S3, as actions and resources."""
    asked: Asked = set()
    real: Callable[..., Any] = botocore.client.BaseClient._make_api_call

    def heard(client: Any, operation: str, given: dict[str, Any]) -> Any:
        assert given["Bucket"] == BUCKET
        key = f"/{given['Key']}" if "Key" in given else ""
        asked.add((ACTIONS.get(operation, operation), f"Bucket.Arn{key}"))
        return real(client, operation, given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", heard)
        yield asked


def environment(stack: Stack, task: str) -> dict[str, str]:
    """Return a container's environment, as it would be in the account."""
    said = {one["Name"]: one["Value"] for one in stack.container(task)["Environment"]}
    said |= {"S3_BUCKET": BUCKET, "AWS_REGION": "eu-central-1", "BATCH_INPUT": said["BATCH_INPUT"]}
    said["BATCH_INPUT"] = said["BATCH_INPUT"].replace("s3://Bucket/", f"s3://{BUCKET}/")
    said.pop("BUNDLE_PUBLIC_KEY")  # the small model is not signed
    return said


@pytest.fixture(scope="module")
def asked_by_batch(stack: Stack, bucket: Any, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    work = str(tmp_path_factory.mktemp("batch"))
    with pytest.MonkeyPatch.context() as patch, listening() as asked:
        for name, value in {**environment(stack, "BatchTask"), "WORKSPACE": work, "THREADS": "1"}.items():
            patch.setenv(name, value)
        run_monthly.main(stack.container("BatchTask")["Command"][3:])
    return asked


@pytest.fixture(scope="module")
def asked_by_api(stack: Stack, small: Small, tmp_path_factory: pytest.TempPathFactory, asked_by_batch: Asked) -> Asked:
    work = tmp_path_factory.mktemp("api")
    told = {name.lower(): value for name, value in environment(stack, "ApiTask").items()}
    settings = Settings(**told, api_keys=KEYS, workspace=work, cache=work / "cache", threads=1)
    with listening() as asked, client_of(settings) as client:
        for path in ("/health", "/datasets", "/datasets/housets", "/latest_predictions", "/datasets/housets/summary"):
            assert client.get(path, headers=READ).status_code == 200, path
        assert client.get(f"/datasets/housets/versions/{small.versions[1]}", headers=READ).status_code == 200
        assert client.post("/predict", json=small.rows[:2], headers=READ).status_code == 200
        promoted = {"dataset": "housets", "version": small.versions[1], "why": "better"}
        assert client.post("/admin/promote", json=promoted, headers=ADMIN).status_code == 200
        assert (
            client.post("/admin/rollback", json={"dataset": "housets", "why": "worse"}, headers=ADMIN).status_code
            == 200
        )
        assert client.post("/admin/reload", headers=ADMIN).status_code == 200
    return asked


def test_the_batch_asks_for_what_its_role_lets_it_and_for_all_of_that(stack: Stack, asked_by_batch: Asked) -> None:
    assert [one for one in asked_by_batch if not allows(stack, "BatchRole", *one)] == []
    assert unused(stack, "BatchRole", asked_by_batch) == []


def test_the_api_asks_for_what_its_role_lets_it_and_for_all_of_that(
    stack: Stack, asked_by_api: Asked, asked_by_batch: Asked
) -> None:
    # A batch that is started over the API is the same command with the API's role.
    asked = asked_by_api | asked_by_batch
    assert [one for one in asked if not allows(stack, "ApiRole", *one)] == []
    assert unused(stack, "ApiRole", asked) == []
    assert ("s3:PutObject", "Bucket.Arn/models/housets/current.json") in asked_by_api
    assert any(key.startswith("Bucket.Arn/predictions/housets/preds_") for _, key in asked_by_api)


def unused(stack: Stack, role: str, asked: Asked) -> list[tuple[str, str]]:
    """Return what a role may do and nobody asked for."""
    return [
        (action, resource)
        for one in statements(stack, role)
        for action in as_list(one["Action"])
        for resource in as_list(one["Resource"])
        if not any(applies({"Action": action, "Resource": resource}, *what, {}) for what in asked)
    ]


def test_an_object_that_is_not_there_is_asked_for(stack: Stack, asked_by_api: Asked, bucket: Any) -> None:
    """Why listing has no condition: S3 answers 403 for such an object to whoever may not list the whole bucket."""
    assert ("s3:GetObject", "Bucket.Arn/models/housets/stages.json") in asked_by_api
    keys = {one["Key"] for one in bucket.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert "models/housets/stages.json" not in keys
    for role in ("ApiRole", "BatchRole"):
        assert all("Condition" not in one for one in statements(stack, role))
