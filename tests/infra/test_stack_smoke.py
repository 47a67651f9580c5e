"""`infra/smoke.py` before real servers: it passes what works, and names what does not."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import deploy, smoke
from src.core.config import PROJECT
from tests.infra.stack_balancer import balancing, dashboard
from tests.once import made_once
from tests.serving import KEYS, LEAN, READ_KEY, Server, free_port, load_small, make_small, serving


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Server]:
    small = load_small(made_once(tmp_path_factory, worker_id, "small", make_small))
    folder = tmp_path_factory.mktemp("api")
    told = {"MODEL_STORE": str(small.store.root), "WORKSPACE": str(folder), "API_KEYS": KEYS}
    with serving(folder, **LEAN, **told) as server:
        yield server


@pytest.fixture(scope="module")
def dashboard_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with dashboard(tmp_path_factory.mktemp("dashboard")) as port:
        yield port


@pytest.fixture
def url(api: Server, dashboard_port: int) -> Iterator[str]:
    with balancing({"ApiTargets": api.port, "DashboardTargets": dashboard_port}) as address:
        yield address


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", READ_KEY)


def test_a_stack_that_works_passes(url: str, api: Server) -> None:
    run = subprocess.run(
        [PROJECT / "infra" / "smoke.py", url], capture_output=True, text=True, env=os.environ, check=False
    )
    version = api.get("/health").json()["datasets"]["housets"]["version"]
    assert (run.returncode, run.stderr) == (0, "")
    assert f"by {version}, and the dashboard answers" in run.stdout


def failed(capsys: pytest.CaptureFixture[str], url: str, *options: str) -> str:
    assert smoke.main([url, "--seconds", "0", *options]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_an_api_without_a_model_fails(dashboard_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"MODEL_STORE": str(tmp_path / "models"), "WORKSPACE": str(tmp_path), "API_KEYS": KEYS}
    with (
        serving(tmp_path, wait=False, **LEAN, **told) as empty,
        balancing({"ApiTargets": empty.port, "DashboardTargets": dashboard_port}) as address,
    ):
        said = failed(capsys, address)
    assert "/health/ready answers 503: Not ready: no model of housets serves" in said


def test_a_wrong_key_fails(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("API_KEY", "hc_wrong")
    assert "/datasets/housets answers 401" in failed(capsys, url)


def test_another_data_set_fails(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "/datasets/iris answers 404" in failed(capsys, url, "--dataset", "iris")


def test_a_dashboard_that_is_down_fails(api: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with balancing({"ApiTargets": api.port, "DashboardTargets": free_port()}) as address:
        assert "/dashboard/ answers 502: Bad Gateway" in failed(capsys, address)


def test_a_page_that_is_not_the_dashboards_fails(api: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with balancing({"ApiTargets": api.port, "DashboardTargets": api.port}) as address:
        assert "/dashboard/ answers 401" in failed(capsys, address)
        assert "is not the dashboard's page" in failed(capsys, address, "--dashboard", address)


def test_an_address_where_nobody_is_fails(capsys: pytest.CaptureFixture[str]) -> None:
    said = failed(capsys, f"http://127.0.0.1:{free_port()}")
    assert "/health/ready does not answer" in said
    assert "refused" in said


def test_an_api_that_admits_strangers_fails(
    api: Server,
    dashboard_port: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        smoke, "ask", lambda address, key=None, body=None, real=smoke.ask: real(address, READ_KEY, body)
    )
    with balancing({"ApiTargets": api.port, "DashboardTargets": dashboard_port}) as address:
        assert "answers 200 without a key, and not 401" in failed(capsys, address)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"predictions": [0.0], "model": {"version": "v"}}', "answers 0.0, which is no price"),
        ('{"predictions": [NaN], "model": {"version": "v"}}', "answers nan, which is no price"),
        ("<html>Welcome</html>", "answers something else than the API does: <html>Welcome</html>"),
    ],
)
def test_what_is_no_price_fails(
    answer: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(address: str, key: str | None = None, body: object = None) -> tuple[int, str]:
        return 200, '{"example": {}}' if address.endswith("/datasets/housets") else answer

    monkeypatch.setattr(smoke, "ask", ask)
    assert said in failed(capsys, "http://homes.example.org")


def test_a_deployment_tries_the_stack_with_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy.smoke(url, "housets")
    monkeypatch.setenv("API_KEY", "hc_wrong")
    with pytest.raises(deploy.DeployError, match=r"does not pass infra/smoke\.py"):
        deploy.smoke(url, "housets")
