"""The batch's output is read once, then what has changed, and what is wrong with a file hurts no other."""

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from src.core import sealed_parquet
from src.core.config import DatasetConfig
from src.core.errors import StoreError
from src.core.predictions_store import FolderPredictions, PredictionsFile, file_name
from src.inference_pipeline import batch_output
from src.inference_pipeline.batch_output import BatchOutput
from tests.predictions import month_frame, put_months

JANUARY, FEBRUARY, MARCH = "2022-01", "2022-02", "2022-03"


class Counting(FolderPredictions):
    """A folder that counts what is asked of it, and can be away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.looks = 0
        self.read_names: list[str] = []
        self.away = False
        self.unreadable: set[str] = set()

    def files(self) -> list[PredictionsFile]:
        self.looks += 1
        if self.away:
            raise StoreError("s3://secret/place does not answer")
        return super().files()

    def read(self, name: str) -> tuple[bytes, str]:
        self.read_names.append(name)
        if name in self.unreadable:
            raise StoreError("gone")
        return super().read(name)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    store = Counting(tmp_path / "out")
    put_months(store, JANUARY, FEBRUARY, MARCH)
    return store


@pytest.fixture
def output(config: DatasetConfig, store: Counting) -> BatchOutput:
    return BatchOutput(config, store, check_seconds=0)


def test_nothing_is_read_before_it_is_asked_for(output: BatchOutput, store: Counting) -> None:
    assert store.looks == 0
    assert output.now().months == (JANUARY, FEBRUARY, MARCH)
    assert sorted(store.read_names) == [file_name(month) for month in (JANUARY, FEBRUARY, MARCH)]


def test_only_what_has_changed_is_read_again(output: BatchOutput, store: Counting) -> None:
    first = output.now()
    store.read_names.clear()
    assert output.now() == first
    put_months(store, FEBRUARY, seed=1)
    put_months(store, "2022-04")
    second = output.now()
    assert sorted(store.read_names) == [file_name(FEBRUARY), file_name("2022-04")]
    assert second.tag != first.tag
    assert second.months == (JANUARY, FEBRUARY, MARCH, "2022-04")
    assert second.frame.height == 80
    assert first.frame.height == 60, "who has the old rows keeps them"
    for month, seed in ((JANUARY, 0), (FEBRUARY, 1), (MARCH, 0)):
        (mean,) = second.summary("month").filter(month=month)["mean_predicted"]
        assert mean == pytest.approx(month_frame(month, seed=seed)["predicted_price"].mean())
    (store.folder / file_name(JANUARY)).unlink()
    assert output.now().months == (FEBRUARY, MARCH, "2022-04")
    put_months(store, JANUARY)
    put_months(store, FEBRUARY)
    (store.folder / file_name("2022-04")).unlink()
    assert output.now().frame.equals(first.frame)


def test_the_store_is_looked_at_now_and_then_or_when_told(config: DatasetConfig, store: Counting) -> None:
    now = [0.0]
    output = BatchOutput(config, store, check_seconds=10, clock=lambda: now[0])
    looks = []
    for now[0] in (1.0, 2.0, 10.9, 11.0, 12.0, 20.9, 21.0):
        output.now()
        looks.append(store.looks)
    assert looks == [1, 1, 1, 2, 2, 2, 3]
    output.look_again()
    output.now()
    output.now()
    assert store.looks == 4


def test_a_damaged_month_is_reported_and_left_out(
    output: BatchOutput, store: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    content = sealed_parquet.to_bytes(month_frame(FEBRUARY))
    store.put(file_name(FEBRUARY), content[:500] + b"?" + content[501:])
    store.put(file_name("2022-04"), b"zipcode,price\n")
    store.put(file_name("2022-05"), sealed_parquet.to_bytes(month_frame("2022-06")))
    with caplog.at_level(logging.WARNING):
        rows = output.now()
    assert rows.months == (JANUARY, MARCH)
    assert rows.problems == {
        file_name(FEBRUARY): "it is damaged: its bytes are not those that were written",
        file_name("2022-04"): "it is damaged or no Parquet file",
        file_name("2022-05"): "it has rows of 2022-06",
    }
    assert len(caplog.records) == 3
    store.read_names.clear()
    assert output.now().problems == rows.problems
    assert store.read_names == [], "what is damaged is not read again and again"
    put_months(store, FEBRUARY, "2022-04", "2022-05")
    whole = output.now()
    assert (len(whole.months), whole.problems) == (5, {})
    store.put(file_name(FEBRUARY), b"damaged again")
    assert output.now().months == (JANUARY, MARCH, "2022-04", "2022-05")
    (store.folder / file_name(FEBRUARY)).unlink()
    assert output.now().problems == {}


def test_a_month_that_cannot_be_read_now_stays_as_it_was_and_is_tried_again(
    output: BatchOutput, store: Counting
) -> None:
    before = output.now()
    put_months(store, FEBRUARY, "2022-04", seed=1)
    store.unreadable = {file_name(FEBRUARY), file_name("2022-04")}
    rows = output.now()
    assert rows.months == (JANUARY, FEBRUARY, MARCH)
    assert rows.frame.equals(before.frame)
    assert set(rows.problems) == store.unreadable
    assert rows.tag != before.tag
    store.unreadable = set()
    assert output.now().frame.height == 80
    assert output.now().problems == {}


def test_a_store_that_is_down_changes_nothing(config: DatasetConfig, store: Counting) -> None:
    output = BatchOutput(config, store, check_seconds=0)
    store.away = True
    with pytest.raises(StoreError, match="does not answer"):
        output.now()
    store.away = False
    rows = output.now()
    assert output.failure is None
    store.away = True
    assert output.now() is rows
    assert output.failure is not None


def test_a_store_that_never_answered_is_not_asked_by_everybody(config: DatasetConfig, store: Counting) -> None:
    output = BatchOutput(config, store, check_seconds=60)
    store.away = True
    for _ in range(3):
        with pytest.raises(StoreError, match="does not answer"):
            output.now()
    assert store.looks == 1


def test_a_file_that_is_too_large_is_left_out(
    output: BatchOutput, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_output, "MOST_BYTES", 10_000)
    with (store.folder / file_name(MARCH)).open("ab") as stream:
        os.truncate(stream.fileno(), 10_001)
    assert output.now().problems == {file_name(MARCH): "it has 10,001 bytes, and at most 10,000 are read"}
    assert file_name(MARCH) not in store.read_names


def test_threads_that_ask_while_months_are_replaced_have_whole_answers(config: DatasetConfig, store: Counting) -> None:
    output = BatchOutput(config, store, check_seconds=0)
    stop, wrong = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            rows = output.now()
            found = rows.summary("month")
            if found["n"].to_list() != [20, 20, 20] or rows.problems or rows.latest(99).frame.height != 20:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 1.5
    seed = 0
    while time.monotonic() < end:
        seed += 1
        put_months(store, FEBRUARY, seed=seed)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    (mean,) = output.now().summary("month").filter(month=FEBRUARY)["mean_predicted"]
    assert mean == pytest.approx(month_frame(FEBRUARY, seed=seed)["predicted_price"].mean())
