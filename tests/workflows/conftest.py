"""A made-up account of AWS for the scripts that the workflows run."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from tests.integration.stores import isolate_aws

Connect = Callable[[str], Any]


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[str, Connect]]:
    """Yield the address of an account and what makes clients of it, each once: reading EC2's model takes a second."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        isolate_aws(patch)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield f"http://{host}:{port}", functools.cache(boto3.Session().client)
    server.stop()


@pytest.fixture
def aws(account: tuple[str, Connect]) -> Connect:
    """Make clients of an account in which nothing is yet."""
    url, connect = account
    requests.post(f"{url}/moto-api/reset", timeout=10).raise_for_status()
    return connect
