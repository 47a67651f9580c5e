"""Both images as they run in production: from the bucket to a price, a page and a month of predictions."""

import subprocess
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from src.core.config import PROJECT
from tests.images.conftest import Cloud
from tests.images.containers import BASE, Container, inspected, running
from tests.serving import KEYS, READ, READ_KEY, until
from tests.system_parts import require_program

API, DASHBOARD = "http://127.0.0.1:8000", "http://127.0.0.1:8501/dashboard"
# What the project promises: MB over the base image, and seconds from the start until there are prices.
LARGEST = {"housecast-api": 650, "housecast-dashboard": 550}
READY_SECONDS = 6


def status(url: str) -> int:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return 0


@pytest.fixture
def api(cloud: Cloud) -> Iterator[Container]:
    with running("housecast-api", {**cloud.environment, "API_KEYS": KEYS, "DRAIN_SECONDS": "1"}) as container:
        until(lambda: status(f"{API}/health/ready") == 200 or container.process.poll() is not None, "the API")
        assert container.process.poll() is None, container.log.read_text()
        yield container


@pytest.mark.parametrize("image", LARGEST)
def test_an_image_is_small_names_its_commit_and_runs_as_nobody_of_note(image: str) -> None:
    config, size = inspected(image)
    over = (size - inspected(BASE)[1]) / 1e6
    assert over <= LARGEST[image], f"{over:,.0f} MB over the base image"
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, check=True, capture_output=True, text=True)
    assert config["Labels"]["org.opencontainers.image.revision"] == commit.stdout.strip()
    assert config["User"] == "10001"
    assert config["Cmd"][0] not in ("/bin/sh", "sh")
    assert list(config["Volumes"]) == ["/cache"]


def test_a_cold_start_is_ready_soon_and_sigterm_ends_it_well(cloud: Cloud) -> None:
    with running("housecast-api", {**cloud.environment, "API_KEYS": KEYS, "DRAIN_SECONDS": "0"}) as container:
        started = time.monotonic()
        until(lambda: status(f"{API}/health/ready") == 200 or container.process.poll() is not None, "the API")
        seconds = time.monotonic() - started
        print(f"ready after {seconds:.1f} s; asked: {READY_SECONDS} s")  # noqa: T201
        assert container.stop() == 0, container.log.read_text()
        assert container.written() == []


def test_the_api_prices_as_the_model_does(api: Container, cloud: Cloud) -> None:
    rows = cloud.small.rows[:3]
    assert httpx.post(f"{API}/predict", json=rows).status_code == 401
    said = httpx.post(f"{API}/predict", json=rows, headers=READ).json()
    assert said["predictions"] == cloud.small.predictor.predict(rows).estimate.tolist()
    why = httpx.post(f"{API}/predict?explain=true", json=rows[:1], headers=READ, timeout=30).json()
    assert why["explanations"][0]["contributions"]


def test_without_keys_it_refuses_to_listen_to_others(cloud: Cloud) -> None:
    with running("housecast-api", cloud.environment) as container:
        assert container.process.wait(60) == 2
        assert "API_KEYS" in container.log.read_text()


def test_with_an_empty_store_it_lives_and_is_not_ready(cloud: Cloud) -> None:
    told = {**cloud.environment, "API_KEYS": KEYS, "MODEL_STORE": "s3://housecast/empty"}
    with running("housecast-api", told) as container:
        until(lambda: status(f"{API}/health/live") == 200 or container.process.poll() is not None, "the API")
        assert status(f"{API}/health/ready") == 503


def test_the_dashboard_shows_what_the_api_says(api: Container) -> None:
    chromium = require_program("chromium", "Chromium")
    with running("housecast-dashboard", {"API_URL": API, "API_KEY": READ_KEY}) as container:
        until(lambda: status(f"{DASHBOARD}/_stcore/health") == 200 or container.process.poll() is not None, "the page")
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"{DASHBOARD}/estimate")
            expect(page.get_by_text("An estimate, not an appraisal.")).to_be_visible(timeout=60_000)
            expect(page.get_by_role("heading", name="Known homes most like it")).to_be_visible(timeout=60_000)
            browser.close()
        container.stop()
        assert container.written() == []


def test_the_batch_leaves_a_file_a_month_in_the_bucket(cloud: Cloud) -> None:
    command = ["python", "-m", "src.batch.run_monthly", "--dataset", "housets"]
    told = {**cloud.environment, "BATCH_INPUT": "s3://housecast/incoming/{dataset}.parquet"}
    with running("housecast-api", told, command) as container:
        assert container.process.wait(120) == 0, container.log.read_text()
        assert container.written() == []
    months = {str(row["date"])[:7] for row in cloud.small.rows}
    wanted = {f"predictions/housets/preds_{month.replace('-', '_')}.parquet" for month in months}
    assert wanted == {key for key in cloud.keys("predictions/") if key.endswith(".parquet")}


def test_a_batch_without_a_model_fails_and_says_so(cloud: Cloud) -> None:
    command = ["python", "-m", "src.batch.run_monthly", "--input", "s3://housecast/incoming/housets.parquet"]
    told = {**cloud.environment, "MODEL_STORE": "s3://housecast/empty"}
    with running("housecast-api", told, command) as container:
        assert container.process.wait(120) != 0
        assert "no model" in container.log.read_text().lower() or "current" in container.log.read_text()
