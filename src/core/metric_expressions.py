"""The metrics of `metrics` and `class_metrics` as Polars expressions, for the groups of a frame.

Arguments are names of columns in which whatever is missing is null, and every number is finite. A row without one of
the values counts nothing; where no row counts, a metric is null. A relative error of an actual value of 0 does not
exist, and the row is left out of `mape` and `mdape`, where `metrics` would refuse it.
"""

import polars as pl


def mae(actual: str, estimate: str) -> pl.Expr:
    """Return the mean absolute error, in the target's unit."""
    return (pl.col(estimate) - pl.col(actual)).abs().mean()


def rmse(actual: str, estimate: str) -> pl.Expr:
    """Return the root mean squared error, in the target's unit."""
    return (pl.col(estimate) - pl.col(actual)).pow(2).mean().sqrt()


def bias(actual: str, estimate: str) -> pl.Expr:
    """Return the mean error, estimate minus actual, in the target's unit."""
    return (pl.col(estimate) - pl.col(actual)).mean()


def mape(actual: str, estimate: str) -> pl.Expr:
    """Return the mean absolute error relative to the actual value (0.1 is 10 %)."""
    return _relative_error(actual, estimate).mean()


def mdape(actual: str, estimate: str) -> pl.Expr:
    """Return the median absolute error relative to the actual value (0.1 is 10 %)."""
    return _relative_error(actual, estimate).median()


def coverage(actual: str, lower: str, upper: str) -> pl.Expr:
    """Return the share of actual values inside [lower, upper], ends included."""
    inside = (pl.col(lower) <= pl.col(actual)) & (pl.col(actual) <= pl.col(upper))
    # False and unknown is false, and a row with one end only counts nothing.
    return inside.filter(pl.col(lower).is_not_null() & pl.col(upper).is_not_null()).mean()


def mean_width(lower: str, upper: str) -> pl.Expr:
    """Return the mean width of the intervals, in the target's unit."""
    return (pl.col(upper) - pl.col(lower)).mean()


def mean_relative_width(estimate: str, lower: str, upper: str) -> pl.Expr:
    """Return the mean of (upper - lower) / estimate; estimates of 0 are left out."""
    size = pl.col(estimate).abs()
    return pl.when(size > 0).then((pl.col(upper) - pl.col(lower)) / size).mean()


def accuracy(actual: str, said: str) -> pl.Expr:
    """Return the share of rows whose class is the one that was said."""
    return (pl.col(actual) == pl.col(said)).mean()


def _relative_error(actual: str, estimate: str) -> pl.Expr:
    size = pl.col(actual).abs()
    return pl.when(size > 0).then((pl.col(estimate) - pl.col(actual)).abs() / size)
