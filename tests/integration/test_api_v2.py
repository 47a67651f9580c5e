"""Triton's own client asks the service over a socket, and gets the Predictor's answers or a refusal in words."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.testclient import TestClient
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from src.core.config import Settings
from tests.serving import KEYS, READ, READ_KEY, Server, Small, client_of, serving
from tests.v2_requests import request, tensor

INFER = "/v2/models/housets/infer"


@pytest.fixture(scope="module")
def server(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("v2"), MODEL_STORE=str(small.store.root), RATE_LIMIT="0") as made:
        yield made


@pytest.fixture(scope="module")
def triton(server: Server) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


@pytest.fixture(scope="module")
def client(small: Small) -> Iterator[TestClient]:
    with client_of(Settings(model_store=str(small.store.root), rate_limit=0, max_body_mb=1)) as made:
        yield made


def inputs_of(rows: list[dict[str, Any]], *, binary: bool = True, deep: bool = False) -> list[InferInput]:
    return [tensor(name, [row[name] for row in rows], binary=binary, deep=deep) for name in rows[0]]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tritons_client_gets_the_predictors_prices(
    triton: InferenceServerClient, small: Small, binary_in: bool, binary_out: bool | None
) -> None:
    rows = small.rows[:40]
    wanted = small.predictor.predict(rows)
    names = ["predicted_price", "lower_80", "upper_80", "lower_95", "upper_95", "flags"]
    outputs = None if binary_out is None else [InferRequestedOutput(name, binary_data=binary_out) for name in names]
    said = triton.infer("housets", inputs_of(rows, binary=binary_in, deep=True), outputs=outputs, request_id="42")
    assert said.as_numpy("predicted_price").tolist() == wanted.estimate.tolist()
    for level in (0.8, 0.95):
        assert said.as_numpy(f"lower_{level * 100:g}").tolist() == wanted.lower[level].tolist()
        assert said.as_numpy(f"upper_{level * 100:g}").tolist() == wanted.upper[level].tolist()
    flags = said.as_numpy("flags").tolist()
    assert [one.decode() if isinstance(one, bytes) else one for one in flags] == wanted.flags
    about = said.get_response()
    assert [one["name"] for one in about["outputs"]] == names
    assert (about["model_name"], about["model_version"], about["id"]) == ("housets", small.versions[0], "42")


def test_a_row_may_come_in_other_datatypes(triton: InferenceServerClient, small: Small) -> None:
    row = small.rows[0]
    kinds = {"inventory": "INT64", "homes_sold": "INT32", "Median Rent": "FP32", "zipcode": "UINT32"}
    made = [
        tensor(name, [int(value) if "INT" in kinds.get(name, "") else value], kinds.get(name, ""))
        for name, value in row.items()
    ]
    said = triton.infer("housets", made, outputs=[InferRequestedOutput("predicted_price")])
    near = {**row, "Median Rent": float(np.float32(row["Median Rent"])), "zipcode": int(row["zipcode"])}
    assert said.as_numpy("predicted_price").tolist() == small.predictor.predict([near]).estimate.tolist()
    assert len(said.get_response()["outputs"]) == 1


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request_is_read(triton: InferenceServerClient, small: Small, algorithm: str) -> None:
    said = triton.infer(
        "housets",
        inputs_of(small.rows[:3]),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert said.as_numpy("predicted_price").tolist() == small.predictor.predict(small.rows[:3]).estimate.tolist()


def test_tritons_client_finds_the_server_and_its_models(triton: InferenceServerClient, small: Small) -> None:
    version = small.versions[0]
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("housets")
    assert triton.is_model_ready("housets", version)
    assert not triton.is_model_ready("housets", small.versions[1])
    assert not triton.is_model_ready("nowhere")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    about = triton.get_model_metadata("housets")
    assert about == triton.get_model_metadata("housets", version)
    assert about["versions"] == [version]
    assert tuple(one["name"] for one in about["inputs"]) == small.predictor.config.raw_inputs
    assert {one["name"]: one["datatype"] for one in about["outputs"]}["flags"] == "BYTES"


def test_metadata_are_enough_to_ask(triton: InferenceServerClient, small: Small) -> None:
    about = triton.get_model_metadata("housets")
    kinds = {"FP64": np.float64, "BYTES": np.object_}
    made = []
    for one in about["inputs"]:
        values = np.array([small.rows[0][one["name"]]], dtype=kinds[one["datatype"]])
        made.append(InferInput(one["name"], [1], one["datatype"]).set_data_from_numpy(values))
    said = triton.infer(about["name"], made, about["versions"][0])
    assert all(said.as_numpy(one["name"]).shape == (1,) for one in about["outputs"])


def test_tritons_client_says_what_was_refused(triton: InferenceServerClient, small: Small) -> None:
    rows = small.rows[:2]
    with pytest.raises(InferenceServerException, match=r"\[404\] Version '20[0-9TZ-]+[0-9a-f]+' of housets does not"):
        triton.infer("housets", inputs_of(rows), small.versions[1])
    with pytest.raises(InferenceServerException, match=r"\[404\] No data set 'nowhere' is served"):
        triton.infer("nowhere", inputs_of(rows))
    with pytest.raises(InferenceServerException, match=r"\[400\] The input inventory must be given"):
        triton.infer("housets", [one for one in inputs_of(rows) if one.name() != "inventory"])
    with pytest.raises(InferenceServerException, match=r"\[422\] row 1: inventory: must be a finite number, not nan"):
        triton.infer("housets", inputs_of([rows[0], {**rows[1], "inventory": np.nan}]))
    with pytest.raises(InferenceServerException, match=r"\[422\] row 0: sold_above_list: must be at most 1, not 1.5"):
        triton.infer("housets", inputs_of([{**rows[0], "sold_above_list": 1.5}], binary=False))


def ask(client: TestClient, content: Any, path: str = INFER, **headers: str) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return client.post(path, content=body, headers=headers)


def by_hand(row: dict[str, Any]) -> dict[str, Any]:
    inputs = [
        {"name": n, "shape": [1, 1], "datatype": "BYTES" if isinstance(v, str) else "FP64", "data": [v]}
        for n, v in row.items()
    ]
    return {"inputs": inputs}


def by_json(small: Small) -> dict[str, Any]:
    return {**small.rows[0], "date": str(small.rows[0]["date"])}


def test_a_request_as_mlserver_writes_it_is_answered_in_json(client: TestClient, small: Small) -> None:
    written = by_hand(by_json(small))
    for one in written["inputs"]:
        one["parameters"] = {"content_type": "str" if one["datatype"] == "BYTES" else "np"}
    answer = ask(client, {**written, "id": "a", "parameters": {"content_type": "pd"}, "outputs": None})
    assert answer.status_code == 200, answer.text
    said = {one["name"]: one["data"] for one in answer.json()["outputs"]}
    assert said["predicted_price"] == client.post("/predict", json=by_json(small)).json()["predictions"]
    assert said["flags"] == [""]
    assert answer.json()["id"] == "a"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "path", "content", "headers"),
    [
        (400, INFER, b"", {}),
        (400, INFER, {"inputs": []}, {}),
        (400, INFER, b"{}", {"inference-header-content-length": "3"}),
        (400, INFER, b"{}", {"content-encoding": "gzip"}),
        (415, INFER, b"{}", {"content-encoding": "br"}),
        (413, INFER, b" " * 1_100_000, {}),
        (404, "/v2/models/nowhere/infer", b"{}", {}),
        (404, "/v2/models/housets/versions/1/infer", b"{}", {}),
        (404, "/v2/repository/index", b"{}", {}),
        (405, "/v2/models/housets", b"{}", {}),
        (405, "/v2", b"{}", {}),
    ],
)
def test_a_refusal_has_the_protocols_error(
    client: TestClient, status: int, path: str, content: Any, headers: dict[str, str]
) -> None:
    answer = ask(client, content, path, **headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["error"] == problem["detail"]
    assert problem["status"] == status
    assert "error" not in client.post("/predict", content=b"").json()


def test_rows_are_held_to_the_contract_of_predict(client: TestClient, small: Small) -> None:
    rows = [by_json(small), {**by_json(small), "inventory": -1.5, "date": "soon"}]
    body, length = request(rows)
    answer = ask(client, body, **{"inference-header-content-length": length})
    assert answer.status_code == 422
    wanted = client.post("/predict", json=rows).json()
    assert answer.json()["errors"] == wanted["errors"]
    assert answer.json()["error"] == "row 1: date: must be a date like 2021-05-31, not 'soon'; " + (
        "row 1: inventory: must be at least 0, not -1.5"
    )


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_request_is_priced_whole_or_refused(client: TestClient, small: Small, data: st.DataObject) -> None:
    body, length = request([by_json(small)] * 2, binary=data.draw(st.booleans()))
    start = data.draw(st.integers(0, len(body)))
    damaged = body[:start] + data.draw(st.binary(max_size=9)) + body[start + data.draw(st.integers(0, 9)) :]
    headers = data.draw(st.sampled_from([{}, {"inference-header-content-length": length or str(len(body))}]))
    answer = ask(client, damaged, **headers)
    assert answer.status_code in (200, 400, 413, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"]
        assert "outputs" not in answer.json()


def test_a_key_is_needed_as_everywhere_and_its_lack_is_told_in_the_protocol(small: Small) -> None:
    settings = Settings(model_store=str(small.store.root), api_keys=SecretStr(KEYS), rate_limit=0)
    with client_of(settings, address="203.0.113.9") as keyed:
        for path in ("/v2", "/v2/models/housets", INFER):
            answer = keyed.get(path)
            assert answer.status_code == 401
            assert answer.json()["error"] == answer.json()["detail"]
        assert keyed.get("/v2/health/ready").json() == {"ready": True}
        assert keyed.get("/v2/health/live").json() == {"live": True}
        assert keyed.get("/v2", headers=READ).json()["name"] == "housecast"
        assert keyed.get("/v2", headers={"X-API-Key": READ_KEY}).status_code == 200


def test_the_document_of_the_api_shows_the_protocol(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = {path for path in document["paths"] if path.startswith("/v2")}
    assert len(paths) == 9
    body = document["paths"]["/v2/models/{name}/infer"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"]["properties"]["inputs"]["items"]["properties"]["shape"]
    assert "$defs" not in json.dumps(document)
