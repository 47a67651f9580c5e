"""The OpenAPI document is true: what it says is held against a live server by thousands of made-up requests."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.core.config import load_config
from tests.predictions import put_months
from tests.serving import ADMIN_KEY, KEYS, Server, Small, copied, serving

HOUSETS = load_config("housets")


@pytest.fixture(scope="module")
def server(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("document")
    store = copied(small, folder / "models")
    put_months(folder / "predictions", "2022-01", "2022-02")
    # So few rows that the largest valid body is below the limit of bytes.
    told = {"MODEL_STORE": str(store.root), "WORKSPACE": str(folder), "MAX_ROWS": "50"}
    with serving(folder, API_KEYS=KEYS, RATE_LIMIT="0", **told) as made:
        yield made


def test_the_document_shows_the_real_rows(server: Server, small: Small) -> None:
    document = server.get("/openapi.json").json()
    row = document["components"]["schemas"]["housets_row"]
    assert row["required"] == list(HOUSETS.raw_inputs)
    assert row["properties"]["median_dom"]["description"] == "days; 0 means missing"
    assert (row["properties"]["sold_above_list"]["minimum"], row["properties"]["sold_above_list"]["maximum"]) == (0, 1)
    for path in ("/predict", "/datasets/housets/predict"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"]["anyOf"][0] == {"$ref": "#/components/schemas/housets_row"}
        assert set(body["examples"]["one"]["value"]) == set(HOUSETS.raw_inputs)
    score = document["paths"]["/datasets/housets/score"]["post"]
    assert {"text/csv", "application/vnd.apache.arrow.file"} <= score["requestBody"]["content"].keys()
    assert score["responses"]["200"]["description"].endswith(
        "predicted_price, lower_80, upper_80, lower_95, upper_95, flags, error"
    )
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_the_document_names_what_the_batchs_output_is_sorted_by(server: Server) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    for path, column in (("predictions", "city_full"), ("summary", "coverage_95")):
        named = {one["name"]: one for one in paths[f"/datasets/{{name}}/{path}"]["get"]["parameters"]}
        assert column in named["sort"]["schema"]["enum"]
        assert named["name"]["schema"]["enum"] == ["housets"]


def test_the_page_needs_nothing_from_elsewhere(server: Server) -> None:
    page = server.get("/docs")
    found = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert found
    for address in found:
        assert address.startswith("/docs/assets/")
        assert server.get(address).status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]


# No schema can say that a tensor has as many elements as its shape, or what a file is; test_v2_malformed and the tests
# of the bulk readers make up requests of those as well.
BODIES_WITHOUT_SCHEMA = "^/v2/.*/infer$|/score$"
ANSWERS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
ANSWERS += "response_schema_conformance"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "least"),
    [
        # Each request to /run_batch may start a process, and a 503 is what it should answer to the fifth.
        (["--exclude-path-regex", BODIES_WITHOUT_SCHEMA, "--exclude-path", "/run_batch"], 1_500),
        # Valid by the schema or not, a body may be refused: the answers must be those of the document all the same.
        (["--include-path-regex", BODIES_WITHOUT_SCHEMA, "--checks", ANSWERS], 400),
    ],
    ids=["all", "files and tensors"],
)
def test_thousands_of_requests_find_no_crash_and_no_answer_but_those_of_the_document(
    server: Server, tmp_path: Path, chosen: list[str], least: int
) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", *chosen]
    command += ["--header", f"Authorization: Bearer {ADMIN_KEY}", "--max-examples", "40", "--seed", "7", "--no-color"]
    # The API's own limit of a request: the first one for comparables imports XGBoost, long on a busy machine.
    command += ["--request-timeout", "30"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    generated = re.search(r"([\d,]+) generated", done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert generated, done.stdout[-2000:]
    assert int(generated[1].replace(",", "")) > least
    assert server.get("/health/ready").status_code == 200
