"""AWS for the tests of the infrastructure: moto's server, with a clean account for each module."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from tests.integration.stores import isolate_aws

Connect = Callable[[str], Any]


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def aws(moto_url: str) -> Iterator[Connect]:
    """Make clients of an account in which nothing is yet."""
    empty(moto_url)
    with pytest.MonkeyPatch.context() as patch:
        isolate_aws(patch)
        patch.setenv("AWS_ENDPOINT_URL", moto_url)
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield boto3.Session().client


def empty(moto_url: str) -> None:
    """Forget everything that the account has."""
    requests.post(f"{moto_url}/moto-api/reset", timeout=10).raise_for_status()
