"""Fixtures of the integration tests: real services, started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from src.core.config import Settings
from src.monitoring import database
from tests import postgres as postgres_server
from tests import s3_server
from tests.integration.stores import BucketPlace, FolderPlace, Place, isolate_aws
from tests.once import made_once
from tests.serving import Small, load_small, make_small


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3_server.running() as address:
        yield address


@pytest.fixture
def s3_settings(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    isolate_aws(monkeypatch)
    return Settings(workspace=tmp_path, s3_endpoint_url=s3_endpoint, aws_region="us-east-1")


@pytest.fixture(scope="session")
def postgres_running() -> Iterator[postgres_server.Postgres]:
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def postgres(postgres_running: postgres_server.Postgres) -> postgres_server.Postgres:
    """A real Postgres with an empty database of the test's own."""
    return postgres_running.with_database()


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with an empty monitoring database."""
    if request.param == "sqlite":
        return Settings(workspace=tmp_path)
    server: postgres_server.Postgres = request.getfixturevalue("postgres")
    return Settings(workspace=tmp_path, database_url=SecretStr(server.url))


@pytest.fixture
def engine(kept: Settings) -> Iterator[sa.Engine]:
    """The monitoring database of `kept`, with its tables."""
    with database.opened(kept) as made:
        yield made


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return FolderPlace(tmp_path / "models")
    return BucketPlace(request.getfixturevalue("s3_settings"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Small:
    """Two versions of a small model in a store; read it, never write to it."""
    return load_small(made_once(tmp_path_factory, worker_id, "small", make_small))
