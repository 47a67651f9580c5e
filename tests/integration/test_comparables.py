"""The published model shows known rows that are like a row, however it was loaded and whoever asks first."""

import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from src.core.errors import BundleError, DataError, InvalidRowsError
from src.inference_pipeline.comparables import Comparable
from src.inference_pipeline.predictor import Predictor
from tests.conftest import Published
from tests.flowers import iris_predictor, parquet


@pytest.fixture(scope="module")
def known(published: Published) -> pl.DataFrame:
    """Rows of the reference as a caller would send them."""
    pointer = published.store.current("housets")
    assert pointer is not None
    path = next(published.settings.workspace.rglob(f"{pointer.version}/reference.parquet"))
    raw = pl.read_parquet(published.space.raw / "train.parquet").unique(["zipcode", "date"], keep="none")
    return pl.read_parquet(path).select("zipcode", "date").gather_every(400).join(raw, on=["zipcode", "date"])


@pytest.fixture
def loaded(published: Published, tmp_path: Path) -> Predictor:
    """A predictor that nobody has asked for comparables yet."""
    pointer = published.store.current("housets")
    assert pointer is not None
    return Predictor.load(published.store.fetch("housets", pointer.version, tmp_path / pointer.version))


def test_a_known_home_is_its_own_best_comparable(published: Published, known: pl.DataFrame) -> None:
    assert known.height > 5
    for row in known.to_dicts():
        best, *others = published.predictor.comparables(row)
        assert best.similarity == 1
        assert (best.row["zipcode"], best.row["date"]) == (row["zipcode"], row["date"])
        assert best.actual == row["price"]
        assert len(others) == 4
        assert all(1 > one.similarity > 0 for one in others)


def test_comparables_are_priced_like_the_row(published: Published) -> None:
    rows = pl.read_parquet(published.space.raw / "eval.parquet").gather_every(60)
    means = [np.mean([one.actual for one in published.predictor.comparables(row)]) for row in rows.to_dicts()]
    prices = rows["price"].to_numpy()
    off = np.median(np.abs(np.array(means) / prices - 1))
    middle = np.median(np.abs(np.median(prices) / prices - 1))
    assert off < 0.15 < middle


def test_a_comparable_says_what_it_is(published: Published, known: pl.DataFrame) -> None:
    (one,) = published.predictor.comparables(known.to_dicts()[0], limit=1)
    assert list(one.row)[:4] == ["zipcode", "date", "city_full", "median_list_price"]
    assert "price" not in one.row
    assert len(one.row) == 9
    assert one.estimate == pytest.approx(one.actual, rel=0.3)
    assert one.row["median_list_price"] == pytest.approx(known["median_list_price"][0], rel=1e-6)


def test_whoever_asks_first_gets_the_same_answer(
    published: Published, loaded: Predictor, known: pl.DataFrame, tmp_path: Path
) -> None:
    rows = known.head(8).to_dicts()
    answers: dict[int, list[Comparable]] = {}
    work = [
        threading.Thread(target=lambda n=n, row=row: answers.update({n: loaded.comparables(row)}))
        for n, row in enumerate(rows)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert [answers[n] for n in range(8)] == [published.predictor.comparables(row) for row in rows]


def test_a_row_that_cannot_be_priced_has_no_comparables(published: Published) -> None:
    with pytest.raises(InvalidRowsError, match="row 0: date: is missing"):
        published.predictor.comparables({"foo": 1})


def test_classes_of_an_estimator_are_compared_by_features() -> None:
    row = {"sepal_length": 6.9, "sepal_width": 3.2, "petal_length": 5.7, "petal_width": 2.3}  # flower 120
    best = iris_predictor().comparables(row)
    assert best[0] == Comparable(1.0, "virginica", "virginica", row)
    assert [one.similarity for one in best] == sorted((one.similarity for one in best), reverse=True)


def rebuilt(predictor: Predictor, reference: bytes | None) -> Predictor:
    return Predictor(predictor.config, predictor._tables, predictor._model, {}, "v", reference=reference)


def test_a_model_without_known_rows_says_so(published: Published, known: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="knows no rows"):
        rebuilt(published.predictor, None).comparables(known.to_dicts()[0])


def test_a_reference_of_something_else_is_a_fault_of_the_bundle(published: Published, known: pl.DataFrame) -> None:
    for content in (b"PAR1 or not", parquet(pl.DataFrame({"price": [1.0]}))):
        with pytest.raises(BundleError, match=r"reference\.parquet does not hold the rows of housets"):
            rebuilt(published.predictor, content).comparables(known.to_dicts()[0])
