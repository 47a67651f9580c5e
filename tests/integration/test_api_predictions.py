"""The batch's output over HTTP: rows by page, scores by month and region, JSON and Arrow, each sent once."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from src.core.config import Settings
from src.core.predictions_store import FolderPredictions, file_name, open_predictions
from src.inference_pipeline.batch_output import BatchOutput
from src.inference_pipeline.priced_rows import Selection
from tests.integration.stores import BucketPlace
from tests.predictions import REGIONS, month_frame, put_months
from tests.serving import Small, client_of, until

ARROW = "application/vnd.apache.arrow.stream"
MONTHS = ("2022-01", "2022-02", "2022-03")
ROWS, SUMMARY = "/datasets/housets/predictions", "/datasets/housets/summary"


def settings_in(workspace: Path, small: Small) -> Settings:
    return Settings(model_store=str(small.store.root), workspace=workspace, rate_limit=0, sync_seconds=0.05)


@pytest.fixture(scope="module")
def client(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = settings_in(tmp_path_factory.mktemp("work"), small)
    put_months(open_predictions("housets", settings), *MONTHS)
    with client_of(settings) as made:
        yield made


@pytest.fixture
def store(small: Small, tmp_path: Path) -> FolderPredictions:
    """A store that a test may change; `changing` serves it."""
    store = open_predictions("housets", settings_in(tmp_path, small))
    assert isinstance(store, FolderPredictions)
    put_months(store, *MONTHS)
    return store


@pytest.fixture
def changing(small: Small, tmp_path: Path, store: FolderPredictions) -> Iterator[TestClient]:
    with client_of(settings_in(tmp_path, small)) as made:
        yield made


def ask(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_rows_come_by_page_selected_and_sorted(client: TestClient) -> None:
    said = ask(client, ROWS)
    assert (said["dataset"], said["target"], said["unit"]) == ("housets", "price", "USD")
    assert (said["total"], said["offset"], said["months"], said["left_out"]) == (60, 0, list(MONTHS), [])
    assert list(said["rows"][0]) == month_frame("2022-01", 1).columns
    assert said["rows"][0]["date"] == "2022-01-28"
    boston, denver = REGIONS
    query: dict[str, Any] = {
        "region": [boston, denver],
        "from": "2022-02",
        "to": "2022-03",
        "place": ["02101", "02102"],
    }
    said = ask(client, ROWS, sort="predicted_price", order="desc", limit=3, offset=1, **query)
    assert (said["total"], said["offset"], len(said["rows"])) == (4, 1, 3)
    every = ask(client, ROWS, sort="predicted_price", order="desc", **query)["rows"]
    assert said["rows"] == every[1:]
    assert every == sorted(every, key=lambda row: -row["predicted_price"])
    assert {row["zipcode"] for row in every} == {"02101", "02102"}


def test_errors_and_rows_from_all_over(client: TestClient) -> None:
    region = {"region": next(iter(REGIONS))}
    said, whole = (
        ask(client, "/datasets/housets/errors", **region),
        ask(client, SUMMARY, by="none", **region)["rows"][0],
    )
    assert sum(row["n"] for row in said["rows"]) == whole["n"] - whole["n_without_actual"]
    assert (said["rows"][0]["low"], said["rows"][-1]["high"], said["unit"]) == (None, None, "USD")
    every, some = ask(client, ROWS), ask(client, ROWS, limit=3, spread=True)
    assert some["total"] == every["total"]
    assert some["rows"] == [every["rows"][i] for i in (0, 20, 40)]


def test_summaries_are_those_of_the_rows(client: TestClient) -> None:
    said = ask(client, SUMMARY)
    assert [row["month"] for row in said["rows"]] == list(MONTHS)
    assert {row["n"] for row in said["rows"]} == {20}
    assert {row["n_without_actual"] for row in said["rows"]} == {1}
    both = ask(client, SUMMARY, by="month,region", sort="mae", order="desc", limit=2)
    assert (both["total"], len(both["rows"])) == (6, 2)
    assert both["rows"][0]["mae"] >= both["rows"][1]["mae"]
    (overall,) = ask(client, SUMMARY, by="none", region=next(iter(REGIONS)))["rows"]
    assert overall["n"] == 30
    assert set(overall) >= {"mae", "rmse", "mape", "mdape", "bias", "coverage_80", "mean_width_95"}


def test_the_latest_month(client: TestClient) -> None:
    said = ask(client, "/latest_predictions", limit=7)
    assert (said["total"], len(said["rows"])) == (20, 7)
    assert {row["date"] for row in said["rows"]} == {"2022-03-28"}


@pytest.mark.parametrize("path", [ROWS, SUMMARY, "/latest_predictions"])
def test_whoever_accepts_arrow_has_the_same_rows(client: TestClient, path: str) -> None:
    plain = ask(client, path, limit=5)
    answer = client.get(path, params={"limit": 5}, headers={"Accept": f"{ARROW}, application/json;q=0.5"})
    assert answer.headers["content-type"] == ARROW
    assert answer.headers["x-total-count"] == str(plain["total"])
    frame = pl.read_ipc_stream(BytesIO(answer.content))
    text = frame.with_columns(pl.col(pl.Date).dt.strftime("%Y-%m-%d"))
    assert text.to_dicts() == plain["rows"]


def test_an_unchanged_answer_is_not_sent_again(client: TestClient) -> None:
    first = client.get(SUMMARY)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for sent in (tag, f'"other", W/{tag}', "*"):
        again = client.get(SUMMARY, headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(SUMMARY, headers={"If-None-Match": '"other"'}).status_code == 200
    for other in (
        client.get(SUMMARY, params={"by": "region"}, headers={"If-None-Match": tag}),
        client.get(ROWS, headers={"If-None-Match": tag}),
        client.get(SUMMARY, headers={"If-None-Match": tag, "Accept": ARROW}),
    ):
        assert other.status_code == 200
        assert other.headers["etag"] != tag


def test_a_changed_month_is_sent_with_another_tag(changing: TestClient, store: FolderPredictions) -> None:
    first = changing.get(SUMMARY)
    tag = first.headers["etag"]
    put_months(store, "2022-02", seed=1)
    until(lambda: changing.get(SUMMARY, headers={"If-None-Match": tag}).status_code == 200, "the new month", 10)
    changed = changing.get(SUMMARY)
    assert changed.json()["rows"][1] != first.json()["rows"][1]
    assert changed.json()["rows"][2] == first.json()["rows"][2]


def test_a_damaged_month_is_told_and_the_others_are_served(changing: TestClient, store: FolderPredictions) -> None:
    (store.folder / file_name("2022-02")).write_bytes(b"damaged")
    said = ask(changing, SUMMARY)
    assert said["months"] == ["2022-01", "2022-03"]
    assert said["left_out"] == [{"file": file_name("2022-02"), "problem": "it is damaged or no Parquet file"}]
    assert str(store.folder) not in str(said)


def test_numbers_that_are_none_are_null(changing: TestClient, store: FolderPredictions) -> None:
    bad = month_frame("2022-03").with_columns(
        actual_price=pl.lit(float("nan")), upper_95=pl.lit(float("inf")), lower_95=pl.lit(None, pl.Float64)
    )
    bad.write_parquet(store.folder / file_name("2022-03"))
    for path in (ROWS, SUMMARY, "/latest_predictions"):
        answer = changing.get(path)
        assert "NaN" not in answer.text
        assert "inf" not in answer.text.lower()
    row = ask(changing, "/latest_predictions")["rows"][0]
    assert (row["actual_price"], row["upper_95"], row["lower_95"]) == (None, None, None)
    assert ask(changing, SUMMARY)["rows"][2]["mae"] is None


@pytest.mark.parametrize(
    ("path", "query", "status", "said"),
    [
        (ROWS, {"sort": "secret"}, 422, "sort: 'secret' is not one of zipcode"),
        (ROWS, {"from": "2022-13"}, 422, "does not fit"),
        (ROWS, {"limit": 10_001}, 422, "does not fit"),
        (ROWS, {"offset": -1}, 422, "does not fit"),
        (SUMMARY, {"by": "zipcode"}, 422, "does not fit"),
        (SUMMARY, {"order": "up"}, 422, "does not fit"),
        ("/datasets/nowhere/summary", {}, 404, "No data set 'nowhere'"),
        ("/latest_predictions", {"limit": 0}, 422, "does not fit"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    client: TestClient, path: str, query: dict[str, Any], status: int, said: str
) -> None:
    answer = client.get(path, params=query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


def test_nothing_yet_is_no_rows(small: Small, tmp_path: Path) -> None:
    settings = Settings(model_store=str(small.store.root), workspace=tmp_path / "new", rate_limit=0)
    with client_of(settings) as client:
        for path in (ROWS, SUMMARY, "/latest_predictions"):
            said = ask(client, path)
            assert (said["total"], said["rows"], said["months"]) == (0, [], [])
        assert ask(client, SUMMARY, by="none")["rows"][0]["n"] == 0


def test_output_in_s3_is_served_and_a_store_that_is_down_is_told_without_its_place(
    small: Small, s3_settings: Settings
) -> None:
    place = BucketPlace(s3_settings)
    told = {"model_store": str(small.store.root), "predictions_store": place.uri, "rate_limit": 0}
    settings = s3_settings.model_copy(update=told)
    put_months(open_predictions("housets", settings), *MONTHS)
    with client_of(settings) as client:
        assert ask(client, SUMMARY)["months"] == list(MONTHS)
    down = settings.model_copy(update={"predictions_store": "s3://no-such-bucket"})
    with client_of(down) as client:
        answer = client.get(SUMMARY)
        assert answer.status_code == 503
        assert "no-such-bucket" not in answer.text


def test_a_summary_is_that_of_the_rows(client: TestClient, small: Small, store: FolderPredictions) -> None:
    boston = next(iter(REGIONS))
    rows = BatchOutput(small.predictor.config, store).now()
    wanted = rows.summary("month", Selection(regions=(boston,), first="2022-02")).to_dicts()
    assert ask(client, SUMMARY, region=boston, **{"from": "2022-02"})["rows"] == wanted
