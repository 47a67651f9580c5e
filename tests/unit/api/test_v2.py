"""The protocol's bytes, as Triton's own client writes and reads them."""

import gzip
import json
import zlib
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from src.api import tensors, v2
from src.api.contract import RowContract
from src.api.problems import Problem
from tests.flowers import iris_predictor
from tests.v2_requests import CONFIG, CONTRACT, PRODUCED, ROW, plain, read, request, tensor

ANSWER = pl.DataFrame({"predicted_price": [1.5, 2.25], "lower_80": [1.0, -0.0], "flags": ["", "unknown_zipcode é"]})


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("deep", [True, False])
def test_what_tritons_client_writes_is_read_as_rows(binary: bool, deep: bool) -> None:
    rows = [ROW, {**ROW, "inventory": 0.1, "city_full": "Île-de-France"}]
    asked = read(*request(rows, binary=binary, deep=deep, request_id="a-1"))
    assert asked.rows == rows
    assert asked.id == "a-1"
    assert [(one.name, one.binary) for one in asked.outputs] == [(name, True) for name in PRODUCED]


def test_outputs_are_answered_as_they_are_asked() -> None:
    wanted = [InferRequestedOutput("flags", binary_data=False), InferRequestedOutput("predicted_price")]
    asked = read(*request([ROW], wanted))
    assert asked.outputs == (v2.Output("flags", binary=False), v2.Output("predicted_price", binary=True))
    assert asked.id is None
    hand = read(json.dumps({**plain(), "outputs": [], "parameters": {"priority": 3}}).encode())
    assert hand.outputs == tuple(v2.Output(name, binary=False) for name in PRODUCED)


@pytest.mark.parametrize("binary", [True, False])
@settings(deadline=None)
@given(data=st.data())
def test_every_datatype_comes_through(binary: bool, data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(list(tensors.NUMBERS)))
    if datatype in tensors.FLOATS:
        element: Any = st.floats(width=int(datatype[2:]), allow_nan=False, allow_infinity=False)
    else:
        ends = np.iinfo(tensors.INTEGERS[datatype])
        element = st.integers(int(ends.min), int(ends.max))
    values = data.draw(st.lists(element, min_size=1, max_size=5))
    others = [tensor(name, [value] * len(values)) for name, value in ROW.items() if name != "inventory"]
    body, length = InferenceServerClient.generate_request_body(
        [tensor("inventory", values, datatype, binary=binary), *others]
    )
    assert [row["inventory"] for row in read(body, str(length)).rows] == values


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), st.booleans())
def test_every_text_comes_through(values: list[str], binary: bool) -> None:
    others = [tensor(name, [value] * len(values)) for name, value in ROW.items() if name != "city_full"]
    made = [tensor("city_full", values, binary=binary), *others]
    body, length = InferenceServerClient.generate_request_body(made)
    assert [row["city_full"] for row in read(body, str(length)).rows] == values


def test_a_place_may_be_a_whole_number() -> None:
    made = [tensor(n, [501], "UINT16") if n == "zipcode" else tensor(n, [v]) for n, v in ROW.items()]
    body, length = InferenceServerClient.generate_request_body(made)
    assert read(body, str(length)).rows[0]["zipcode"] == 501
    assert CONTRACT.check(read(body, str(length)).rows)[0]["zipcode"] == "501"


@pytest.mark.parametrize("binary", [[], ["predicted_price"], ["lower_80", "flags"], list(PRODUCED)])
def test_what_is_written_tritons_client_reads(binary: list[str]) -> None:
    asked = v2.Asked("seven", [], tuple(v2.Output(name, name in binary) for name in PRODUCED))
    body, headers = v2.write(asked, "housets", "v", ANSWER)
    length = headers.get("inference-header-content-length")
    assert headers["content-type"] == ("application/octet-stream" if binary else "application/json")
    result = InferenceServerClient.parse_response_body(body, header_length=length)
    assert {key: value for key, value in result.get_response().items() if key != "outputs"} == {
        "model_name": "housets", "model_version": "v", "id": "seven",
    }  # fmt: skip
    assert result.as_numpy("predicted_price").tolist() == [1.5, 2.25]
    flags = result.as_numpy("flags").tolist()
    assert [one.decode() if isinstance(one, bytes) else one for one in flags] == ANSWER["flags"].to_list()


def test_no_rows_are_answered_with_no_elements() -> None:
    empty = [tensor(name, []) for name in ROW]
    body, length = InferenceServerClient.generate_request_body(empty)
    asked = read(body, str(length))
    assert asked.rows == []
    written, headers = v2.write(asked, "housets", "v", ANSWER.clear())
    result = InferenceServerClient.parse_response_body(
        written, header_length=headers["inference-header-content-length"]
    )
    assert result.as_numpy("predicted_price").shape == result.as_numpy("flags").shape == (0,)


def test_metadata_name_what_must_come_and_what_is_given() -> None:
    said = v2.metadata(CONFIG, "v", PRODUCED)
    assert tuple(one["name"] for one in said["inputs"]) == CONFIG.raw_inputs
    assert {"name": "zipcode", "datatype": "BYTES", "shape": [-1]} in said["inputs"]
    assert said["outputs"][0] == {"name": "predicted_price", "datatype": "FP64", "shape": [-1]}
    assert (said["name"], said["versions"], said["platform"]) == ("housets", ["v"], "housecast_xgboost")


def test_classes_come_as_labels_and_probabilities() -> None:
    predictor = iris_predictor()
    flowers = np.array([[6.9, 3.2, 5.7, 2.3], [5.1, 3.5, 1.4, 0.2]])
    made = [
        InferInput(name, [2, 1], "FP64").set_data_from_numpy(flowers[:, [i]])
        for i, name in enumerate(predictor.config.raw_inputs)
    ]
    body, length = InferenceServerClient.generate_request_body(made)
    produced = predictor.predict([]).frame("species").schema
    asked = v2.read(body, str(length), predictor.config, produced, 10)
    said = predictor.predict(RowContract(predictor.config).check(asked.rows))
    written, headers = v2.write(asked, "iris", "v", said.frame("species"))
    length = headers["inference-header-content-length"]
    result = InferenceServerClient.parse_response_body(written, header_length=length)
    assert result.as_numpy("predicted_species").tolist() == [b"virginica", b"setosa"]
    found = np.column_stack([result.as_numpy(f"probability_{name}") for name in predictor.config.target.classes])
    assert found.tolist() == said.estimate.tolist()
    outputs = v2.metadata(predictor.config, "v", produced)["outputs"]
    assert [one["datatype"] for one in outputs] == ["BYTES", "FP64", "FP64", "FP64", "BYTES"]


def test_a_compressed_body_is_read_up_to_a_limit() -> None:
    body = b"x" * 1_000
    assert v2.decompressed(body, "identity", 10) is body
    assert v2.decompressed(gzip.compress(body), "GZIP", 1_000) == body
    assert v2.decompressed(zlib.compress(body), "deflate", 1_000) == body
    for packed, encoding, status in [
        (gzip.compress(body), "br", 415),
        (gzip.compress(body), "gzip", 413),
        (gzip.compress(body)[:-1], "gzip", 400),
        (body, "gzip", 400),
        (b"", "gzip", 400),
    ]:
        with pytest.raises(Problem) as caught:
            v2.decompressed(packed, encoding, 999 if status == 413 else 1_000)
        assert caught.value.status == status
