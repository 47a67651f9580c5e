"""One contract for both stores of predictions, against a real folder and a real S3 endpoint."""

import threading
from pathlib import Path

import pytest

from src.core.config import Settings
from src.core.errors import ConfigError, StoreError
from src.core.predictions_store import (
    FolderPredictions,
    PredictionsStore,
    file_name,
    open_predictions,
)
from tests.integration.stores import SECRET, BucketPlace, isolate_aws

MARCH, APRIL = "preds_2022_03.parquet", "preds_2022_04.parquet"


@pytest.fixture(params=["folder", "s3"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "folder":
        return Settings(workspace=tmp_path, predictions_store=str(tmp_path / "out"))
    s3_settings: Settings = request.getfixturevalue("s3_settings")
    return s3_settings.model_copy(update={"predictions_store": f"{BucketPlace(s3_settings).uri}/out/"})


@pytest.fixture
def store(deployment: Settings) -> PredictionsStore:
    return open_predictions("housets", deployment)


def test_an_empty_store_is_empty(store: PredictionsStore) -> None:
    assert store.files() == []
    assert str(store).endswith("out/housets")


def test_a_file_comes_back_as_it_went_with_the_tag_of_the_list(store: PredictionsStore) -> None:
    store.put(APRIL, b"april")
    store.put(MARCH, b"march")
    march, april = store.files()
    assert (march.name, march.month, march.size) == (MARCH, "2022-03", 5)
    assert (april.name, april.month) == (APRIL, "2022-04")
    assert store.read(MARCH) == (b"march", march.tag)
    assert store.read(APRIL) == (b"april", april.tag)


def test_a_file_is_replaced_and_has_another_tag_then(store: PredictionsStore) -> None:
    store.put(MARCH, b"first")
    store.put(APRIL, b"april")
    before = store.files()
    store.put(MARCH, b"other")
    after = store.files()
    assert store.read(MARCH) == (b"other", after[0].tag)
    assert after[0].tag != before[0].tag
    assert after[1] == before[1]


def test_data_sets_are_apart_and_what_is_no_months_file_is_left_out(
    store: PredictionsStore, deployment: Settings
) -> None:
    open_predictions("iris", deployment).put("preds_all.parquet", b"x")
    names = ["preds_2022_13.parquet", "preds_2022_03.csv", "notes.parquet", "xpreds_2022_03.parquet", "a/" + MARCH]
    for name in [MARCH, *names]:
        store.put(name, b"x")
    assert [file.name for file in store.files()] == [MARCH]
    (every,) = open_predictions("iris", deployment).files()
    assert every.month == "all"
    with pytest.raises(ConfigError, match="not a dataset's name"):
        open_predictions("../iris", deployment)


def test_a_file_that_is_gone_says_so(store: PredictionsStore) -> None:
    with pytest.raises(StoreError, match=r"out/housets.*(No such file|gone)"):
        store.read(MARCH)


def test_whoever_reads_while_a_file_is_replaced_has_one_of_them_whole(store: PredictionsStore) -> None:
    store.put(MARCH, b"0" * 100_000)
    stop = threading.Event()

    def write() -> None:
        for i in range(1, 30):
            store.put(MARCH, b"%d" % (i % 10) * 100_000)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    read = [store.read(MARCH)]
    while not stop.is_set():
        read.append(store.read(MARCH))
    writer.join()
    assert all(len(content) == 100_000 and len(set(content)) == 1 for content, _ in read)
    tags = {tag: content for content, tag in read}
    assert all(tags[tag] == content for content, tag in read)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderPredictions(tmp_path)
    store.put(MARCH, b"old")

    def full(_: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StoreError, match="No space left"):
            store.put(MARCH, b"new")
    assert store.read(MARCH)[0] == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [MARCH]


def test_an_endpoint_that_is_down_is_one_clear_error_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_aws(monkeypatch)
    settings = Settings(
        predictions_store="s3://prices/out", s3_endpoint_url="http://127.0.0.1:9", aws_region="us-east-1"
    )
    store = open_predictions("housets", settings)
    with pytest.raises(StoreError, match=r"s3://prices/out/housets/.*unreachable") as caught:
        store.files()
    assert SECRET not in str(caught.value)


def test_where_predictions_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_aws(monkeypatch)

    def place(dataset: str = "housets", **settings: str) -> str:
        return str(open_predictions(dataset, Settings(workspace=tmp_path, aws_region="us-east-1", **settings)))

    assert place() == str(tmp_path / "predictions")
    assert place("iris") == str(tmp_path / "predictions" / "iris")
    assert place(model_store=str(tmp_path / "models")) == str(tmp_path / "predictions")
    assert place(model_store="s3://bucket/a/b/") == "s3://bucket/a/b/predictions/housets"
    assert place(s3_bucket="bucket") == "s3://bucket/predictions/housets"
    assert place(s3_bucket="bucket", predictions_store=str(tmp_path)) == str(tmp_path / "housets")
    assert place("iris", predictions_store="s3://other") == "s3://other/iris"
    for uri in ("gs://bucket", f"s3://AKIAEXAMPLE:{SECRET}@bucket"):
        with pytest.raises(ConfigError, match="predictions store: ") as caught:
            place(predictions_store=uri)
        assert SECRET not in str(caught.value)
    assert not list(tmp_path.iterdir()), "opening makes nothing"


def test_a_months_file_is_named_by_year_and_month() -> None:
    assert file_name("2022-03") == MARCH
    assert file_name("all", ".csv") == "preds_all.csv"
