"""The expressions for groups are the metrics of arrays."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core import class_metrics, metrics
from src.core import metric_expressions as grouped

prices = st.floats(-1e7, 1e7, allow_subnormal=False).map(lambda x: round(x, 3))
maybe = st.none() | prices
# Group, actual, estimate, and how far the ends of the interval lie from it.
rows = st.lists(
    st.tuples(st.sampled_from("abc"), maybe, maybe, st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6)),
    max_size=40,
)
COLUMNS = ("group", "actual", "estimate", "below", "above")


def frame_of(drawn: list[tuple[object, ...]]) -> pl.DataFrame:
    kinds = {"group": pl.String} | dict.fromkeys(COLUMNS[1:], pl.Float64)
    made = pl.DataFrame(drawn, schema=kinds, orient="row")
    lower, upper = pl.col("estimate") - pl.col("below"), pl.col("estimate") + pl.col("above")
    return made.with_columns(lower.alias("lower"), upper.alias("upper"))


EXPRESSIONS = {
    "mae": grouped.mae("actual", "estimate"),
    "rmse": grouped.rmse("actual", "estimate"),
    "bias": grouped.bias("actual", "estimate"),
    "mape": grouped.mape("actual", "estimate"),
    "mdape": grouped.mdape("actual", "estimate"),
    "coverage": grouped.coverage("actual", "lower", "upper"),
    "mean_width": grouped.mean_width("lower", "upper"),
    "mean_relative_width": grouped.mean_relative_width("estimate", "lower", "upper"),
}
NEEDS = {
    "coverage": ("actual", "lower", "upper"),
    "mean_width": ("lower", "upper"),
    "mean_relative_width": ("estimate", "lower", "upper"),
}
DIVIDES_BY = {"mape": "actual", "mdape": "actual", "mean_relative_width": "estimate"}


@given(rows)
def test_each_group_has_the_metric_of_its_rows(drawn: list[tuple[object, ...]]) -> None:
    frame = frame_of(drawn)
    found = frame.group_by("group").agg(**EXPRESSIONS).sort("group")
    assert found.height == frame["group"].n_unique()
    for row in found.iter_rows(named=True):
        here = frame.filter(pl.col("group") == row["group"])
        for name, value in row.items():
            if name == "group":
                continue
            needed = NEEDS.get(name, ("actual", "estimate"))
            counted = here.drop_nulls(list(needed))
            if name in DIVIDES_BY:
                counted = counted.filter(pl.col(DIVIDES_BY[name]) != 0)
            if counted.is_empty():
                assert value is None
            else:
                wanted = getattr(metrics, name)(*(counted[column].to_numpy() for column in needed))
                assert value == pytest.approx(wanted, rel=1e-9, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_accuracy_is_that_of_classification(pairs: list[tuple[int, int]]) -> None:
    actual, said = map(np.array, zip(*pairs, strict=True))
    names = pl.Series(["setosa", "versicolor", "virginica"])
    frame = pl.DataFrame({"actual": names[actual.tolist()], "said": names[said.tolist()]})
    wanted = class_metrics.scores(actual, np.eye(3)[said])["accuracy"]
    assert frame.select(grouped.accuracy("actual", "said")).item() == pytest.approx(wanted)


def test_a_row_without_an_actual_counts_nothing() -> None:
    frame = pl.DataFrame({"actual": ["a", None, "b"], "said": ["a", "b", "a"]})
    assert frame.select(grouped.accuracy("actual", "said")).item() == 0.5
    assert frame.clear().select(grouped.accuracy("actual", "said")).item() is None
