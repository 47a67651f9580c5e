"""Rows in, prices out, over HTTP: the same prices as the Predictor's, and a refusal for whatever is not a row."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from src.api.contract import MANY_BYTES
from src.core.config import Settings
from tests.serving import Small, client_of

Row = dict[str, Any]


@pytest.fixture(scope="module")
def client(small: Small) -> Iterator[TestClient]:
    with client_of(Settings(model_store=str(small.store.root), rate_limit=0)) as made:
        yield made


@pytest.fixture(scope="module")
def rows(small: Small) -> list[Row]:
    return small.rows[:60]


def predict(client: TestClient, body: Any, path: str = "/predict", **options: Any) -> Any:
    answer = client.post(path, json=body, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(client: TestClient, content: str | bytes, status: int = 422) -> Any:
    answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "predictions" not in problem
    return problem


def test_n_rows_give_n_prices_in_order_equal_to_the_predictors(
    client: TestClient, rows: list[Row], small: Small
) -> None:
    for count in (1, 3, 60):
        said = predict(client, rows[:count])
        wanted = small.predictor.predict(rows[:count])
        assert said["predictions"] == wanted.estimate.tolist()
        assert said["intervals"]["80"] == np.stack([wanted.lower[0.8], wanted.upper[0.8]], axis=1).tolist()
        assert set(said["intervals"]) == {"80", "95"}
        assert len(said["flags"]) == count
        assert said["model"]["version"] == small.predictor.version
        assert said["actuals"] == [row["price"] for row in rows[:count]]


def test_many_rows_are_answered_as_few_are(client: TestClient, rows: list[Row]) -> None:
    many = (rows * 20)[:1_111]
    assert len(json.dumps(many)) > MANY_BYTES
    few, said = predict(client, rows), predict(client, many)
    for name in ("predictions", "flags", "actuals"):
        assert said[name] == (few[name] * 20)[:1_111]
    assert said["intervals"]["95"] == (few["intervals"]["95"] * 20)[:1_111]
    bare = [{name: value for name, value in row.items() if name != "price"} for row in many]
    assert "actuals" not in predict(client, bare)
    assert predict(client, [*bare[:-1], many[-1]])["actuals"] == [*[None] * 1_110, many[-1]["price"]]
    problem = refusal(client, json.dumps([*many[:700], {**many[0], "inventory": "7"}, *many]))
    assert [(one["row"], one["field"]) for one in problem["errors"]] == [(700, "inventory")]


def test_one_object_is_one_row_at_either_address(client: TestClient, rows: list[Row]) -> None:
    row = {name: value for name, value in rows[0].items() if name != "price"}
    said = predict(client, row)
    assert said == predict(client, [row], "/datasets/housets/predict")
    assert len(said["predictions"]) == 1
    assert "actuals" not in said


def test_no_rows_give_no_prices(client: TestClient) -> None:
    assert predict(client, [])["predictions"] == []


def test_unknown_places_are_priced_and_flagged(client: TestClient, rows: list[Row]) -> None:
    said = predict(client, [rows[0], {**rows[0], "zipcode": "00001", "city_full": "Atlantis"}])
    assert said["flags"] == [[], ["unknown_city_full", "unknown_zipcode", "unknown_zipcode_3"]]


def test_reasons_add_up_to_the_price(client: TestClient, rows: list[Row]) -> None:
    said = predict(client, rows[:3], "/predict?explain=true")
    for price, why in zip(said["predictions"], said["explanations"], strict=True):
        amounts = [one["amount"] for one in why["contributions"]]
        assert why["base"] + sum(amounts) + why["rest"] == pytest.approx(price)
        assert sorted(amounts, key=abs, reverse=True) == amounts
        assert why["unit"] == "USD"


def test_every_problem_of_every_row_is_listed(client: TestClient, rows: list[Row]) -> None:
    wrong = [rows[0], {**rows[1], "inventory": "many"}, {**rows[2], "foo": 1, "date": "soon"}]
    problem = refusal(client, json.dumps(wrong))
    assert [(one["row"], one["field"], one["detail"]) for one in problem["errors"]] == [
        (1, "inventory", "must be a number, not 'many'"),
        (2, "foo", "is not a column of housets"),
        (2, "date", "must be a date like 2021-05-31, not 'soon'"),
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("inventory", None, "has no value (null): write 0 where it is not known"),
        ("zipcode", None, "has no value (null)"),
        ("zipcode", "", "is required and has no value"),
        ("inventory", True, "must be a number, not True"),
        ("inventory", [1], "must be a number, not list"),
        ("inventory", -1, "must be at least 0, not -1"),
        ("sold_above_list", 1.5, "must be at most 1, not 1.5"),
        ("inventory", float("nan"), "must be a finite number, not nan"),
        ("inventory", float("-inf"), "must be a finite number, not -inf"),
        ("date", "2021-02-30", "must be a date like 2021-05-31, not '2021-02-30'"),
        ("city_full", 7, "must be text, not 7"),
        ("median_sale_price", "x", "must be a number, not 'x'"),
    ],
)
@pytest.mark.parametrize("count", [1, 50])
def test_a_value_that_is_none_gives_no_price(
    client: TestClient, rows: list[Row], field: str, value: Any, said: str, count: int
) -> None:
    problem = refusal(client, json.dumps([*rows[: count - 1], {**rows[0], field: value}]))
    assert problem["errors"] == [{"row": count - 1, "field": field, "detail": said}]


def test_a_missing_field_is_named_and_never_filled(client: TestClient, rows: list[Row]) -> None:
    row = {name: value for name, value in rows[0].items() if name != "inventory"}
    assert refusal(client, json.dumps(row))["errors"] == [{"row": 0, "field": "inventory", "detail": "is missing"}]
    assert len(refusal(client, "{}")["errors"]) == 34


@pytest.mark.parametrize(
    "body",
    ["", " ", "{", "[" * 100_000, '{"a":' * 5_000, "\xff", '{"city_full": "\\ud800"}', "[1,]", "nul"],
)
def test_what_is_not_json_is_refused(client: TestClient, body: str) -> None:
    refusal(client, body.encode("latin-1"), 400)


@pytest.mark.parametrize("body", ["null", "3", '"x"', "[null]", "[[]]", "[3]", "true"])
def test_json_that_is_no_row_is_refused(client: TestClient, body: str) -> None:
    assert refusal(client, body)["errors"][0]["field"] == "row"


def test_a_number_beyond_all_numbers_is_refused(client: TestClient, rows: list[Row]) -> None:
    text = json.dumps({**rows[0], "inventory": "?"}).replace('"?"', "1e999")
    assert refusal(client, text)["errors"][0]["detail"] == "must be a finite number, not inf"
    text = json.dumps({**rows[0], "inventory": 10**400})
    assert refusal(client, text)["errors"][0]["detail"].startswith("must be a finite number, not 1000")


def test_a_body_of_another_type_is_refused(client: TestClient, rows: list[Row]) -> None:
    answer = client.post("/predict", content=json.dumps(rows[0]), headers={"content-type": "text/csv"})
    assert answer.status_code == 415
    assert client.post("/predict", content=json.dumps(rows[0])).status_code == 200
    assert client.get("/predict").status_code == 405


def test_too_many_rows_and_too_large_bodies_are_refused(client: TestClient, rows: list[Row]) -> None:
    assert "at most 10,000 rows, not 10,001" in refusal(client, json.dumps([{}] * 10_001))["detail"]
    assert "10 MB" in refusal(client, b" " * 60_000_000, 413)["detail"]


def test_a_thousand_bad_rows_name_a_hundred_problems(client: TestClient) -> None:
    assert len(refusal(client, json.dumps([{}] * 1_000))["errors"]) == 100
    assert len(refusal(client, json.dumps({f"a{i}": 1 for i in range(1_000)}))["errors"]) == 100


def test_an_unknown_data_set_is_not_found(client: TestClient, rows: list[Row]) -> None:
    for path in ("/datasets/nowhere/predict", "/datasets/a/b/predict", "/datasets//predict"):
        answer = client.post(path, json=rows[0])
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_explain_must_be_said_clearly(client: TestClient, rows: list[Row]) -> None:
    answer = client.post("/predict?explain=maybe", json=rows[0])
    assert (answer.status_code, answer.json()["detail"]) == (422, "explain must be true or false.")
