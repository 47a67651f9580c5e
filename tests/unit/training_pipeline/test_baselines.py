from datetime import date

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

from src.core.config import DatasetConfig, load_config
from src.core.errors import DataError
from src.training_pipeline import baselines
from src.training_pipeline.baselines import Linear

CONFIG = load_config("housets")


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    X[:, 3] = 7.0
    y = np.exp(12 + 0.3 * X[:, 0] - 0.2 * X[:, 1] + 0.05 * rng.normal(size=n))
    return X, y


def test_median_answers_the_median_of_train() -> None:
    assert baselines.median_of(np.array([1.0, 5.0, 3.0]), 2).tolist() == [3.0, 3.0]
    with pytest.raises(DataError, match="there are none"):
        baselines.median_of(np.array([]), 2)


@pytest.mark.parametrize("block", [64, baselines.BLOCK])
def test_linear_model_is_scikit_learns_ridge(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "BLOCK", block)
    X, y = rows()
    ours = Linear.fit(X, y, ["log"], ridge=3.0)[0].predict(X)
    used = X[:, :3].astype(np.float64)
    scaled = (used - used.mean(axis=0)) / used.std(axis=0)
    theirs = Ridge(alpha=3.0).fit(scaled, np.log(y)).predict(scaled)
    np.testing.assert_allclose(np.log(ours), np.clip(theirs, np.log(y.min()), np.log(y.max())), rtol=1e-9)


def test_linear_model_imputes_with_trains_median_and_an_indicator() -> None:
    X, y = rows()
    gone = np.random.default_rng(1).random(len(y)) < 0.3
    y = np.where(gone, y * 2, y)  # missing means dear here, which the median alone cannot say
    X[gone, 2] = np.nan
    model = Linear.fit(X, y, ["log"])[0]
    assert model.design.medians[2] == pytest.approx(np.nanmedian(X[:, 2]))
    relative = np.abs(model.predict(X) / y - 1)
    assert np.median(relative) < 0.06
    assert np.isfinite(model.predict(np.full((3, 4), np.nan, dtype=np.float32))).all()


def test_linear_model_stays_in_the_range_of_train() -> None:
    X, y = rows()
    model = Linear.fit(X, y, ["log"])[0]
    absurd = X[:2].copy()
    absurd[0, 0], absurd[1, 0] = 999_999_999, -np.inf
    estimate = model.predict(absurd)
    assert estimate[0] == pytest.approx(y.max())
    assert y.min() <= estimate[1] <= y.max()


def test_linear_model_survives_columns_that_are_all_missing_or_equal() -> None:
    X, y = rows(20)
    X[:, 2] = np.nan
    X[:, 1] = X[:, 0]
    assert np.isfinite(Linear.fit(X, y, ["none"])[0].predict(X)).all()


def test_the_stronger_scale_is_chosen_on_train() -> None:
    X, y = rows()
    assert Linear.stronger(X, y, "log").transform == "log"
    adds_up = 1_000 + 200 * X[:, 0].astype(float) + 100 * X[:, 1]
    assert Linear.stronger(X, adds_up, "log").transform == "none"
    assert Linear.stronger(X, y, "none").transform == "none"


def history() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "zipcode": ["02351", "02351", "02351", "10001", "10001"],
            "date": [date(2020, 1, 31), date(2020, 2, 29), date(2020, 3, 31), date(2020, 3, 31), date(2020, 1, 31)],
            "price": [100.0, 110.0, None, 500.0, 400.0],
        }
    )


def test_last_known_is_the_latest_price_of_a_strictly_earlier_month() -> None:
    asked = pl.DataFrame(
        {
            "zipcode": ["10001", "02351", "02351", "10001", "99999", None],
            "date": [date(2020, 3, 1), date(2020, 4, 30), date(2020, 1, 31), date(2021, 1, 31), date(2021, 1, 1), None],
        },
        schema={"zipcode": pl.String, "date": pl.Date},
    )
    found = baselines.last_known(asked, history(), CONFIG)
    assert found is not None
    np.testing.assert_array_equal(found, [400.0, 110.0, np.nan, 500.0, np.nan, np.nan])


def test_last_known_needs_a_place() -> None:
    assert baselines.last_known(history(), history(), CONFIG.model_copy(update={"place": None})) is None


def test_last_known_of_nothing_is_nothing() -> None:
    found = baselines.last_known(history(), history().clear(), CONFIG)
    assert found is not None
    assert np.isnan(found).all()


def test_a_places_median_is_of_its_training_rows() -> None:
    plain = CONFIG.model_dump(mode="json") | {"split": {"by": "random"}, "segments": []}
    config = DatasetConfig.model_validate(plain)
    train = pl.DataFrame({"zipcode": ["a", "b", "a", "a", None], "price": [1.0, 7.0, 3.0, 9.0, 5.0]})
    asked = pl.DataFrame({"zipcode": ["b", "c", "a", None]})
    found = baselines.place_median(asked, train, config)
    assert found is not None
    np.testing.assert_array_equal(found, [7.0, np.nan, 3.0, np.nan])
    assert baselines.place_median(asked, train, CONFIG) is None
    assert baselines.place_median(asked, train, config.model_copy(update={"place": None})) is None


def test_last_known_needs_a_date() -> None:
    undated = CONFIG.model_dump(mode="json") | {"split": {"by": "random"}, "segments": []}
    assert baselines.last_known(history(), history(), DatasetConfig.model_validate(undated)) is None
