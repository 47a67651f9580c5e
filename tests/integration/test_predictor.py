"""The published model prices rows the same way however they arrive."""

import json
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from src.core.config import PROJECT, DatasetConfig
from src.core.errors import BundleError, DataError, InvalidRowsError
from src.core.plain_pickle import load_plain
from src.inference_pipeline.models import load_model
from src.inference_pipeline.predictor import Predictor
from tests.conftest import Published


@pytest.fixture(scope="session")
def holdout(published: Published) -> pl.DataFrame:
    return pl.read_csv(published.space.raw / "holdout.csv", schema_overrides={"zipcode": pl.String})


def test_rows_keep_their_number_and_order(published: Published, holdout: pl.DataFrame) -> None:
    shuffled = holdout.sample(fraction=1, shuffle=True, seed=3)
    before = shuffled.clone()
    prediction = published.predictor.predict(shuffled)
    assert len(prediction.estimate) == len(prediction.flags) == shuffled.height
    whole = published.predictor.predict(holdout).frame("price")
    keyed = holdout.select("zipcode", "date").hstack(whole).unique(["zipcode", "date"], keep="first")
    again = shuffled.select("zipcode", "date").hstack(prediction.frame("price"))
    joined = again.join(keyed, on=["zipcode", "date"], how="left", maintain_order="left")
    assert (joined["predicted_price"] == joined["predicted_price_right"]).all()
    assert shuffled.equals(before)


def test_two_identical_rows_get_two_identical_prices(published: Published, holdout: pl.DataFrame) -> None:
    twice = pl.concat([holdout.head(1), holdout.head(1)])
    estimate = published.predictor.predict(twice).estimate
    assert len(estimate) == 2
    assert estimate[0] == estimate[1]


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_batch_equals_single_to_the_last_bit(published: Published, holdout: pl.DataFrame, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, holdout.height - 1), min_size=1, max_size=100))
    rows = holdout[chosen].to_dicts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.inference_pipeline.predictor.FEW_ROWS", 30)
        together = published.predictor.predict(rows)
    frame = published.predictor.predict(holdout[chosen], threads=2)
    single = [published.predictor.predict([row]) for row in rows]
    assert together.estimate.tolist() == frame.estimate.tolist() == [one.estimate[0] for one in single]
    assert together.lower[0.8].tolist() == frame.lower[0.8].tolist() == [one.lower[0.8][0] for one in single]
    assert together.flags == frame.flags == [one.flags[0] for one in single]


def test_intervals_nest_around_the_estimate(published: Published, holdout: pl.DataFrame) -> None:
    said = published.predictor.predict(holdout)
    assert (said.lower[0.95] <= said.lower[0.8]).all()
    assert (said.upper[0.8] <= said.upper[0.95]).all()
    assert (said.lower[0.8] < said.upper[0.8]).all()
    assert (said.lower[0.95] > 0).all()


def test_contributions_add_up_to_the_estimate(published: Published, holdout: pl.DataFrame) -> None:
    rows = holdout.head(20)
    why = published.predictor.explain(rows)
    estimate = published.predictor.predict(rows).estimate
    assert why.base + why.amounts.sum(axis=1) == pytest.approx(estimate, rel=1e-12)
    top = why.top(0, 3)
    assert [abs(amount) for _, amount in top] == sorted(np.abs(why.amounts[0]))[::-1][:3]


def test_unknown_places_are_priced_and_flagged(published: Published, holdout: pl.DataFrame) -> None:
    row = holdout.head(1).with_columns(zipcode=pl.lit("00001"), city_full=pl.lit("Atlantis"))
    said = published.predictor.predict(row)
    assert said.estimate[0] > 0
    assert said.flags == ["unknown_city_full;unknown_zipcode;unknown_zipcode_3"]


def test_a_missing_column_is_named_not_filled(published: Published, holdout: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="lacks the columns inventory, city_full"):
        published.predictor.predict(holdout.drop("inventory", "city_full"))
    with pytest.raises(InvalidRowsError, match="row 0: date: is missing"):
        published.predictor.predict([{"foo": 1}])
    many = [*holdout.head(100).to_dicts(), {"foo": 1}]
    with pytest.raises(InvalidRowsError, match="row 100: date: is missing"):
        published.predictor.predict(many)


@pytest.mark.parametrize("count", [1, 100])
def test_a_mistyped_value_is_named_by_row_and_field(published: Published, holdout: pl.DataFrame, count: int) -> None:
    rows = holdout.head(count).to_dicts()
    rows[-1]["inventory"] = "many"
    with pytest.raises(InvalidRowsError, match=f"row {count - 1}: inventory: must be a number, not 'many'"):
        published.predictor.predict(rows)


def test_a_frame_with_a_required_value_missing_names_the_row(published: Published, holdout: pl.DataFrame) -> None:
    third = pl.int_range(pl.len()) == 2
    rows = holdout.head(5).with_columns(
        pl.when(third).then(None).otherwise(pl.col("zipcode")).alias("zipcode"),
    )
    with pytest.raises(InvalidRowsError, match="row 2: zipcode: is required and has no value"):
        published.predictor.predict(rows)


def test_no_rows_give_no_prices(published: Published, holdout: pl.DataFrame) -> None:
    for rows in ([], holdout.clear()):
        said = published.predictor.predict(rows)
        assert said.estimate.shape == said.lower[0.8].shape == (0,)
        assert said.flags == []


def test_threads_share_one_predictor(published: Published, holdout: pl.DataFrame) -> None:
    wanted = published.predictor.predict(holdout).estimate.tolist()
    answers: list[list[float]] = []
    work = [
        threading.Thread(target=lambda: answers.append(published.predictor.predict(holdout).estimate.tolist()))
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert answers == [wanted] * 4


@pytest.fixture
def bundle(published: Published, tmp_path: Path) -> Path:
    pointer = published.store.current("housets")
    assert pointer is not None
    return published.store.fetch("housets", pointer.version, tmp_path / pointer.version)


def test_the_compiled_evaluator_serves_where_it_was_built(published: Published) -> None:
    pytest.importorskip("src.inference_pipeline._trees", reason="no C compiler was there at installation")
    assert published.predictor.evaluator == "compiled"


ONLY_WHEN_ASKED = """
import json, sys
from pathlib import Path
from src.inference_pipeline.predictor import Predictor
folder = Path(sys.argv[1])
predictor = Predictor.load(folder)
rows = json.loads((folder / "golden.json").read_text())["rows"]
predictor.predict(rows)
before = "xgboost" in sys.modules
predictor.explain(rows)
print(predictor.evaluator, before, "xgboost" in sys.modules)
"""


def test_xgboost_is_imported_when_reasons_are_asked_for(bundle: Path) -> None:
    pytest.importorskip("src.inference_pipeline._trees", reason="no C compiler was there at installation")
    command = [sys.executable, "-c", ONLY_WHEN_ASKED, bundle]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["compiled", "False", "True"]


def reloaded(predictor: Predictor, bundle: Path, plain: dict[str, Any], margins: Any) -> Predictor:
    """Put a bundle's model together with other numbers than it holds."""
    golden = json.loads((bundle / "golden.json").read_text())
    model = load_model(bundle, predictor.config, plain)
    return Predictor(predictor.config, plain["tables"], model, {}, "v", golden["rows"], margins=margins)


def test_trees_that_differ_from_what_xgboost_said_are_compared_with_it_again(
    published: Published, bundle: Path, holdout: pl.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("src.inference_pipeline._trees", reason="no C compiler was there at installation")
    plain = load_plain(bundle / "encoders.pkl")
    said = np.array(json.loads((bundle / "golden.json").read_text())["margins"], np.float32)
    said[0] = np.nextafter(said[0], np.float32(np.inf))
    for numbers, margins in (
        (plain, said),
        (plain | {"base_margin": [plain["base_margin"][0] + 1]}, said),
        ({name: value for name, value in plain.items() if name != "base_margin"}, None),
    ):
        caplog.clear()
        again = reloaded(published.predictor, bundle, numbers, margins)
        assert again.evaluator == "compiled"
        assert ("XGBoost is asked" in caplog.text) == (margins is not None)
        wanted = published.predictor.predict(holdout)
        np.testing.assert_array_equal(again.predict(holdout).estimate, wanted.estimate)


@pytest.mark.parametrize("name", ["model.ubj", "encoders.pkl", "config.yaml", "golden.json"])
def test_an_altered_file_is_refused_by_name_before_it_is_parsed(bundle: Path, name: str) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BundleError, match=name):
        Predictor.load(bundle)


def test_golden_answers_must_come_out(published: Published, bundle: Path) -> None:
    golden = json.loads((bundle / "golden.json").read_text())
    golden["predictions"][1] *= 1.001
    with pytest.raises(BundleError, match="does not reproduce its golden row 1"):
        published.predictor.check_golden(golden)


def test_a_hostile_pickle_does_not_run(bundle: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (bundle / "encoders.pkl").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(BundleError):
        load_plain(bundle / "encoders.pkl")
    assert not (tmp_path / "ran").exists()


def test_the_bundle_needs_nothing_of_the_project_beside_it(
    published: Published, bundle: Path, config: DatasetConfig, holdout: pl.DataFrame
) -> None:
    loaded = Predictor.load(bundle)
    assert loaded.config == config
    shutil.rmtree(bundle)
    assert loaded.predict(holdout).estimate.tolist() == published.predictor.predict(holdout).estimate.tolist()
