"""The recipe on newer rows: where its split goes, and what it keeps of the search."""

from datetime import date

import polars as pl
import pytest

from src.core.config import load_config
from src.core.errors import ConfigError, DataError
from src.core.sections import TimeSplit
from src.training_pipeline import challenger

HOUSETS = load_config("housets")


@pytest.mark.parametrize(
    ("newest", "holdout", "starts"),
    [
        (date(2023, 12, 31), date(2023, 10, 1), date(2023, 4, 1)),
        (date(2024, 2, 29), date(2023, 12, 1), date(2023, 6, 1)),
        (date(2024, 3, 1), date(2024, 1, 1), date(2023, 7, 1)),
    ],
)
def test_the_split_moves_with_the_data_and_all_else_stays(newest: date, holdout: date, starts: date) -> None:
    made = challenger.forwarded(HOUSETS, newest)
    assert made.split == TimeSplit(by="time", column="date", eval_from=starts, holdout_from=holdout)
    assert made.model_copy(update={"split": HOUSETS.split}) == HOUSETS
    assert made.digest != HOUSETS.digest


@pytest.mark.parametrize("name", ["iris", "california"])
def test_rows_drawn_at_random_have_no_unseen_months(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: models are compared on months that neither has seen"):
        challenger.forwarded(load_config(name), date(2023, 12, 31))


def test_the_newest_date_is_that_of_the_rows() -> None:
    frame = pl.DataFrame({"date": [date(2023, 1, 31), None, date(2022, 5, 31)]})
    assert challenger.newest_of(frame, HOUSETS) == date(2023, 1, 31)
    with pytest.raises(DataError, match="no row has a date"):
        challenger.newest_of(frame.clear(), HOUSETS)


def test_what_the_search_chose_is_kept_and_the_configs_own_is_not() -> None:
    training = {"family": "xgboost", "params": {"max_depth": 7, "trend_share": 0.2, "num_parallel_tree": 1, "seed": 3}}
    assert challenger.tuned_of(training, HOUSETS) == {"max_depth": 7, "trend_share": 0.2}
    assert challenger.tuned_of({**training, "family": "ridge"}, HOUSETS) == {}
    assert challenger.tuned_of({}, HOUSETS) == {}
