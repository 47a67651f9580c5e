"""What the log holds of a request: a row for each of its rows, with the key and month that actuals are joined by."""

import json
from datetime import UTC, datetime
from typing import Any

from src.core.config import load_config
from src.monitoring.recorded import Configs, predictions_of

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def request(dataset: str, inputs: Any, answer: Any) -> dict[str, Any]:
    common = {"at": AT, "request_id": "request-1", "dataset": dataset, "version": "v1", "role": "champion"}
    texts = {name: None if one is None else json.dumps(one) for name, one in (("inputs", inputs), ("answer", answer))}
    return {**common, "milliseconds": 1.5, **texts}


def test_each_row_has_its_own_answer() -> None:
    homes = [
        {"zipcode": 2139, "date": "2023-05-31", "median_list_price": 7e5},
        {"zipcode": "77005", "date": "2023-06-30", "median_list_price": None},
    ]
    answer = {
        "predictions": [650_000.0, 1_200_000.5],
        "intervals": {"80": [[6e5, 7e5], [1e6, 1.4e6]], "95": [[5e5, 8e5], [9e5, 2e6]]},
        "flags": [[], ["place:unseen", "date:new"]],
    }
    first, second = predictions_of(request("housets", homes, answer), load_config("housets"))
    assert (first["row"], first["key"], first["month"], first["estimate"]) == (0, '["02139"]', "2023-05", 650_000.0)
    assert (second["row"], second["key"], second["month"]) == (1, '["77005"]', "2023-06")
    assert json.loads(second["intervals"]) == {"80": [1e6, 1.4e6], "95": [9e5, 2e6]}
    assert (first["flags"], second["flags"]) == ("", "place:unseen;date:new")
    assert [json.loads(one["inputs"]) for one in (first, second)] == homes
    assert first["label"] is None
    assert (second["request_id"], second["at"], second["milliseconds"]) == ("request-1", AT, 1.5)


def test_a_class_has_the_shares_of_all() -> None:
    answer = {"predictions": ["setosa"], "probabilities": [{"setosa": 0.9, "virginica": 0.1}], "flags": [[]]}
    (made,) = predictions_of(request("iris", [{"petal_length": 1.4}], answer), load_config("iris"))
    assert (made["label"], made["estimate"], made["key"], made["month"]) == ("setosa", None, None, None)
    assert json.loads(made["intervals"]) == {"setosa": 0.9, "virginica": 0.1}


def test_a_file_that_was_scored_and_a_failure_have_no_rows() -> None:
    assert predictions_of(request("housets", None, None), load_config("housets")) == []


def test_a_data_set_without_its_config_has_no_keys() -> None:
    answer = {"predictions": [1.0], "intervals": {}, "flags": [[]]}
    assert Configs().of("gone") is None
    (made,) = predictions_of(request("gone", [{"id": 1}], answer), None)
    assert (made["key"], made["month"], made["estimate"]) == (None, None, 1.0)
