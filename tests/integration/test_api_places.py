"""Any place of the market gives a row that can be priced, cheaply asked for, also of versions that bring none."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from src.core import bundle
from src.core.config import Settings
from src.core.manifest import RECENT
from src.core.store import FolderStore
from tests.serving import Small, client_of

PLACES, RECENT_ROW = "/datasets/housets/places", "/datasets/housets/recent"


@pytest.fixture(scope="module")
def client(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(model_store=str(small.store.root), workspace=tmp_path_factory.mktemp("work"), rate_limit=0)
    with client_of(settings) as made:
        yield made


def ask(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kept(small: Small) -> pl.DataFrame:
    return pl.read_parquet(small.store.root / "housets" / small.versions[0] / RECENT)


def test_every_place_has_a_recent_row_that_can_be_priced(client: TestClient, small: Small) -> None:
    said = ask(client, PLACES)
    regions = {one["region"]: one["places"] for one in said["regions"]}
    assert (said["dataset"], said["version"]) == ("housets", small.versions[0])
    assert list(regions) == sorted(regions)
    assert all(names == sorted(names) for names in regions.values())
    pairs = [(region, place) for region, names in regions.items() for place in names]
    assert sorted(place for _, place in pairs) == sorted(kept(small)["zipcode"])
    assert said["total"] == len(pairs) == 20
    rows = []
    for region, place in pairs:
        found = ask(client, RECENT_ROW, place=place)
        assert (found["place"], found["region"], found["month"]) == (place, region, found["row"]["date"][:7])
        assert (found["row"]["zipcode"], "price" in found["row"]) == (place, False)
        assert ask(client, RECENT_ROW, place=place, region=region) == found
        rows.append(found["row"])
    priced = client.post("/predict", json=rows)
    assert priced.status_code == 200, priced.text
    assert priced.json()["predictions"] == small.predictor.predict(rows).estimate.tolist()


def test_a_row_writes_missing_values_as_predict_takes_them(client: TestClient, small: Small) -> None:
    row = kept(small).filter(pl.any_horizontal(pl.col("bus", "mall", "station", "Median Rent").is_null()))
    assert row.height > 0, "the simulated market has places without data"
    said = ask(client, RECENT_ROW, place=row["zipcode"][0])["row"]
    assert None not in said.values()
    assert [said[name] for name in row.columns if row[name][0] is None] == [0] * row.head(
        1
    ).null_count().sum_horizontal()[0]


def test_places_and_regions_may_be_spelled_as_the_caller_likes(client: TestClient) -> None:
    whole = ask(client, PLACES)["regions"]
    first, second = whole[0], whole[1]
    shouted = first["region"].upper()
    assert ask(client, PLACES, region=shouted)["regions"] == [first]
    assert ask(client, PLACES, region=[shouted, second["region"]])["regions"] == [first, second]
    assert ask(client, PLACES, region="nowhere") | {"version": ""} == {
        "dataset": "housets", "version": "", "total": 0, "regions": [],
    }  # fmt: skip
    place = next(name for one in whole for name in one["places"])
    assert ask(client, RECENT_ROW, place=f" {place.removeprefix('0')} ")["place"] == place


@pytest.mark.parametrize(("path", "query"), [(PLACES, {}), (RECENT_ROW, {"place": ""})])
def test_an_unchanged_answer_is_not_sent_again(client: TestClient, path: str, query: dict[str, str]) -> None:
    places = ask(client, PLACES)["regions"][0]["places"]
    query = dict.fromkeys(query, places[0])
    first = client.get(path, params=query)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.get(path, params=query, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, params={**query, "region": "nowhere"}).headers.get("etag") != tag


@pytest.mark.parametrize(
    ("path", "query", "status", "kind"),
    [
        (RECENT_ROW, {"place": "00000"}, 404, "no-place"),
        (RECENT_ROW, {"place": "x" * 2_000}, 404, "no-place"),
        (RECENT_ROW, {}, 422, "request"),
        (RECENT_ROW, {"place": ""}, 422, "request"),
        (RECENT_ROW, {"place": "x" * 2_001}, 422, "request"),
        ("/datasets/nothing/recent", {"place": "x"}, 404, "no-dataset"),
        ("/datasets/nothing/places", {}, 404, "no-dataset"),
    ],
)
def test_what_is_not_known_is_refused(
    client: TestClient, path: str, query: dict[str, str], status: int, kind: str
) -> None:
    answer = client.get(path, params=query)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:housecast:problem:{kind}")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_place_of_another_region_is_not_known(client: TestClient) -> None:
    first, second = ask(client, PLACES)["regions"][:2]
    answer = client.get(RECENT_ROW, params={"place": first["places"][0], "region": second["region"]})
    assert answer.json()["type"] == "urn:housecast:problem:no-place"
    assert f"{first['places'][0]} in {second['region']}" in answer.json()["detail"]


def test_a_version_that_was_made_before_there_were_recent_rows_serves(small: Small, tmp_path: Path) -> None:
    folder = small.store.fetch("housets", small.versions[0], tmp_path / "old")
    (folder / RECENT).unlink()
    bundle.seal(
        folder,
        dataset="housets",
        version=small.versions[0],
        created=datetime(2026, 1, 1, tzinfo=UTC),
        git_commit="old",
        data_fingerprint="f" * 64,
    )
    store = FolderStore(tmp_path / "models")
    store.publish("housets", folder)
    store.promote("housets", small.versions[0], by="tests", why="old")
    with client_of(Settings(model_store=str(store.root), workspace=tmp_path, rate_limit=0)) as client:
        assert client.post("/predict", json=small.rows[:3]).status_code == 200
        assert ask(client, PLACES)["regions"] == []
        answer = client.get(RECENT_ROW, params={"place": small.rows[0]["zipcode"]})
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:housecast:problem:no-place")
