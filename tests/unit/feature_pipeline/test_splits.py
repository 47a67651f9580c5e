"""Random splits keep their shares and never part what belongs together."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from src.core.config import DatasetConfig
from src.core.errors import DataError
from src.feature_pipeline import load, splits
from tests.conftest import SHARED
from tests.markets import tiny_config

COLUMNS: dict[str, Any] = {"place": {"type": "text", "tidy": True}, "kind": "text", "a": "number", "price": "number"}


def random_config(**rule: Any) -> DatasetConfig:
    return tiny_config(
        columns=COLUMNS,
        keys=[],
        features=[{"recipe": "numbers", "columns": ["a"]}],
        split={"by": "random", **rule},
    )


def rows(a: Sequence[float | None], **columns: Any) -> pl.DataFrame:
    n = len(a)
    made = {"place": ["x"] * n, "kind": ["flat"] * n, "a": list(a), "price": [1.0] * n} | columns
    return pl.DataFrame(made, schema={"place": pl.String, "kind": pl.String, "a": pl.Float64, "price": pl.Float64})


def heights(parts: dict[str, pl.DataFrame]) -> tuple[int, ...]:
    return tuple(part.height for part in parts.values())


@pytest.mark.parametrize(("n", "share", "seed"), [(10, 0.2, 0), (103, 0.25, 7), (1000, 0.07, 42), (20_640, 0.2, 42)])
def test_the_holdout_is_scikit_learns_test_set(n: int, share: float, seed: int) -> None:
    frame = rows(range(n))
    test = train_test_split(np.arange(n), test_size=share, random_state=seed)[1]
    parts = splits.split(frame, random_config(seed=seed, holdout=share, eval=0.1))
    assert parts["holdout"]["a"].to_list() == sorted(test)
    assert parts["eval"].height == math.ceil(0.1 * n)
    assert pl.concat(parts.values()).sort("a").equals(frame)


def test_the_holdout_of_california_is_the_published_one() -> None:
    path = SHARED / "california" / "housing.csv"
    if not path.is_file():
        pytest.skip(f"no real California rows at {path}")
    names = pl.read_csv(path, n_rows=1, infer_schema=False).columns
    config = tiny_config(
        columns={name: "text" if name == "ocean_proximity" else "number" for name in names},
        target={"column": "median_house_value"},
        keys=[],
        features=[{"recipe": "numbers", "columns": ["median_income"]}],
        split={"by": "random", "seed": 42, "holdout": 0.2},
    )
    frame = load.read(path, config)
    test = train_test_split(np.arange(frame.height), test_size=0.2, random_state=42)[1]
    assert splits.split(frame, config)["holdout"].equals(frame[np.sort(test)])


@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 60)), min_size=30, max_size=200),
    seed=st.integers(0, 2**32 - 1),
)
def test_equal_rows_never_straddle_and_no_row_is_lost(values: list[int | None], seed: int) -> None:
    frame, config = rows(values), random_config(seed=seed)
    largest = max(values.count(value) for value in set(values))
    try:
        parts = splits.split(frame, config)
    except DataError:
        # A unit larger than a share may swallow it.
        assert largest > math.ceil(0.1 * len(values))
        return
    held = [set(part["a"]) for part in parts.values()]
    assert sum(map(len, held)) == len(set(values))
    assert pl.concat(parts.values()).sort("a").equals(frame.sort("a"))
    # A unit that begins inside a share belongs to it as a whole.
    assert abs(parts["holdout"].height - 0.2 * len(values)) <= largest
    assert abs(parts["eval"].height - 0.1 * len(values)) <= largest


def test_the_seed_decides_and_nothing_else() -> None:
    frame = rows(range(200))
    one, same, other = (splits.split(frame, random_config(seed=seed)) for seed in (1, 1, 2))
    assert all(one[name].equals(same[name]) for name in one)
    assert not one["holdout"].equals(other["holdout"])
    assert heights(one) == heights(other) == (140, 20, 40)


def test_copies_are_dropped_before_the_split_where_the_config_says_so(caplog: pytest.LogCaptureFixture) -> None:
    frame = rows([i % 100 for i in range(130)])
    with caplog.at_level(logging.INFO, "src"):
        parts = splits.split(frame, random_config(duplicates="drop"))
    assert "dropped 30 rows that equal an earlier one" in caplog.text
    assert heights(parts) == heights(splits.split(rows(range(100)), random_config())) == (70, 10, 20)


def test_scattered_copies_are_counted_in_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    frame = rows([i % 50 for i in range(100)])
    parts = splits.split(frame, random_config(duplicates="scatter"))
    assert heights(parts) == (70, 10, 20)
    shared = sum(
        1 for name, part in parts.items() for a in part["a"] if any(a in set(parts[o]["a"]) for o in parts if o != name)
    )
    assert shared > 0
    assert f"{shared} rows have an equal in another split (split.duplicates: scatter)" in caplog.text
    test = train_test_split(np.arange(100), test_size=0.2, random_state=42)[1]
    assert parts["holdout"].equals(frame[np.sort(test)])


@given(sizes=st.lists(st.integers(1, 9), min_size=20, max_size=60), seed=st.integers(0, 1000))
def test_groups_never_straddle(sizes: list[int], seed: int) -> None:
    places = [f"place {i}" for i, size in enumerate(sizes) for _ in range(size)]
    # Another spelling of a place is not another place.
    places = [place.upper() if i % 2 else place for i, place in enumerate(places)]
    parts = splits.split(rows(range(len(places)), place=places), random_config(group=["place"], seed=seed))
    held = [set(part["place"].str.to_lowercase()) for part in parts.values()]
    assert sum(map(len, held)) == len(sizes)
    assert abs(parts["holdout"].height - 0.2 * len(places)) <= max(sizes)


@given(counts=st.lists(st.integers(5, 60), min_size=2, max_size=6), seed=st.integers(0, 1000))
def test_every_class_has_its_shares(counts: list[int], seed: int) -> None:
    kinds = np.random.default_rng(seed).permutation([f"kind {i}" for i, n in enumerate(counts) for _ in range(n)])
    parts = splits.split(rows(range(len(kinds)), kind=kinds.tolist()), random_config(stratify="kind", seed=seed))
    for number, count in enumerate(counts):
        kept = [part.filter(kind=f"kind {number}").height for part in parts.values()]
        assert kept == [count - math.ceil(0.2 * count) - math.ceil(0.1 * count), math.ceil(0.1 * count), kept[2]]
        assert kept[2] == math.ceil(0.2 * count)


@pytest.mark.parametrize(
    ("frame", "rule", "said"),
    [
        (rows([]), {}, "the train split is empty: there are 0 rows"),
        (rows([1, 2]), {}, "the train split is empty: there are 2 rows, 2 of them different; split.eval 0.1 and"),
        (rows([1] * 50 + [2]), {}, "split is empty: there are 51 rows, 2 of them different"),
        (
            rows(range(9), place=list("aaaaaabbb")),
            {"group": ["place"]},
            "split is empty: .* 9 rows in 2 groups of place",
        ),
        (rows(range(9), place=[None, *"aaaabbbb"]), {"group": ["place"]}, "1 rows have no place; every row needs one"),
        (rows(range(9), kind=[None, *"aaaabbbb"]), {"stratify": "kind"}, "1 rows have no kind; every row needs one"),
        (
            rows(range(12), kind=list("aaaaaaaaaabc")),
            {"stratify": "kind"},
            "2 of 3 classes of kind have too few rows for the train split, for example 'b', 'c'",
        ),
    ],
)
def test_rows_that_cannot_be_split_are_explained(frame: pl.DataFrame, rule: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        splits.split(frame, random_config(**rule))


def test_a_large_group_leaves_eval_its_share() -> None:
    places = ["large"] * 30 + [f"p{i}" for i in range(30)]
    for seed in range(20):
        parts = splits.split(rows(range(60), place=places), random_config(group=["place"], seed=seed))
        assert min(heights(parts)) >= 6, seed


def test_straddling_rows_are_counted_in_each_split() -> None:
    parts = {"train": rows([1, 2, 3, None]), "eval": rows([3, 3]), "holdout": rows([4, None])}
    assert splits.straddling(parts, random_config()) == {"train": 2, "eval": 2, "holdout": 1}
    grouped = {"train": rows([1], place=["A"]), "eval": rows([2], place=["a"]), "holdout": rows([3], place=["b"])}
    assert splits.straddling(grouped, random_config(group=["place"])) == {"train": 1, "eval": 1, "holdout": 0}


def test_a_load_records_what_it_dropped(tmp_path: Path, settings: Any) -> None:
    rows([i % 60 for i in range(90)]).write_csv(tmp_path / "rows.csv")
    config = random_config(duplicates="drop")
    loaded = load.run(config, str(tmp_path / "rows.csv"), settings, tmp_path / "raw")
    assert (loaded.rows, loaded.dropped, loaded.splits) == (90, 30, {"train": 42, "eval": 6, "holdout": 12})
