"""One split judged: scores beside baselines, ratio study, coverage, and all of it by segment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core import class_metrics, metrics
from src.core.config import DatasetConfig, Segment
from src.core.errors import DataError
from src.core.metrics import RatioMeasure
from src.core.sections import TimeSplit

Array = NDArray[np.float64]
Bounds = Mapping[float, tuple[Array, Array]]

NOT_ENOUGH = "not enough data"


@dataclass(frozen=True)
class Estimates:
    """What a model said about one split; all arrays (n,) in the target's unit, in the order of `meta`.

    Of classes, `y` are class numbers, and `yhat` and baselines probabilities, (n, k). `baselines` holds NaN where a
    baseline has no answer. `bounds` are level -> (lower, upper).
    """

    split: str
    y: Array
    yhat: Array
    meta: pl.DataFrame
    baselines: Mapping[str, Array] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """A baseline's scores, and the model's on the same rows."""

    n: int
    scores: dict[str, float]
    model: dict[str, float]


@dataclass(frozen=True)
class Coverage:
    """How often an interval held, beside its nominal level; width relative to the estimate."""

    level: float
    observed: float
    width: float


@dataclass(frozen=True)
class SegmentRow:
    """One group of rows; `scores` is None when there are fewer than the config's `min_rows`."""

    value: str
    n: int
    scores: dict[str, float] | None = None
    ratios: dict[str, RatioMeasure] | None = None
    coverage: tuple[Coverage, ...] = ()


@dataclass(frozen=True)
class Scorecard:
    """Everything that is known about a model on one split."""

    split: str
    n: int
    first: str | None  # date; None where rows have none
    last: str | None
    scores: dict[str, float]
    baselines: dict[str, Baseline]
    ratios: dict[str, RatioMeasure] | None
    ratio_note: str
    coverage: tuple[Coverage, ...]
    missing_levels: tuple[float, ...]
    segments: dict[str, tuple[SegmentRow, ...]]
    task: str = "regression"
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The task's metrics, name -> label."""
        return metrics.LABELS_OF[self.task]

    @property
    def dates(self) -> str:
        """From when to when the rows are; empty where they have no date."""
        return f"{self.first} to {self.last}" if self.first else ""

    def values(self) -> dict[str, float]:
        """Return every number that a gate can name: scores, ratio study, `coverage_80` and so on."""
        found = dict(self.scores)
        found |= {name: measure.value for name, measure in (self.ratios or {}).items()}
        return found | {f"coverage_{100 * c.level:g}": c.observed for c in self.coverage}


def judge(said: Estimates, config: DatasetConfig) -> Scorecard:
    """Score one split.

    Raises:
        DataError: no rows, or a value that a metric cannot take (see `src.core.metrics`).
    """
    task = config.task
    ratios, note = _ratio_study(said.y, said.yhat, task)
    return Scorecard(
        split=said.split,
        n=len(said.y),
        scores=_named(said.split, said.y, said.yhat, task),
        first=str(said.meta[config.date].min()) if config.date else None,
        last=str(said.meta[config.date].max()) if config.date else None,
        baselines=_against(said, task),
        ratios=ratios,
        ratio_note=note,
        coverage=_coverage(said, np.arange(len(said.y))),
        missing_levels=tuple(level for level in config.levels if level not in said.bounds),
        segments={s.name: tuple(_segment_rows(said, s, config)) for s in config.segments},
        task=task,
        confusion=_confusion(said) if task == "classification" else (),
    )


def calibration(split: str, config: DatasetConfig) -> str:
    """Say from which rows a split's intervals are."""
    if split != "eval":
        return "calibrated on eval"
    return "cross-fitted by month" if isinstance(config.split, TimeSplit) else "cross-fitted in random parts"


def segment_values(segment: Segment, said: Estimates, day: str | None) -> tuple[NDArray[np.intp], list[str]]:
    """Return each row's group number (n,) and the groups' names, in the order to be shown."""
    if segment.by == "price_decile":
        edges = np.quantile(said.y, np.linspace(0, 1, 11))
        inner = np.unique(edges[1:-1])
        ends = [edges[0], *inner, edges[-1]]
        names = [f"{i + 1}: {ends[i]:,.4g} to {ends[i + 1]:,.4g}" for i in range(len(inner) + 1)]
        if edges[-1] >= 10_000:
            names = [f"{i + 1}: {ends[i]:,.0f} to {ends[i + 1]:,.0f}" for i in range(len(inner) + 1)]
        return np.searchsorted(inner, said.y, side="left"), names
    name = segment.column or day
    assert name  # the config lets no months pass where there is no date
    column = said.meta[name]
    text = column.dt.strftime("%Y-%m") if segment.by == "month" else column.cast(pl.String)
    names_, index = np.unique(text.fill_null("(missing)").to_numpy().astype(str), return_inverse=True)
    return index, names_.tolist()


def _segment_rows(said: Estimates, segment: Segment, config: DatasetConfig) -> Iterator[SegmentRow]:
    index, names = segment_values(segment, said, config.date)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(names) + 1))
    for group, name in enumerate(names):
        here = order[starts[group] : starts[group + 1]]
        if len(here) < segment.min_rows:
            if len(here):
                yield SegmentRow(name, len(here))
            continue
        y, yhat = said.y[here], said.yhat[here]
        scores, ratios = metrics.scores_of(config.task, y, yhat), _ratio_study(y, yhat, config.task)[0]
        yield SegmentRow(name, len(here), scores, ratios, _coverage(said, here))


def _against(said: Estimates, task: str) -> dict[str, Baseline]:
    found = {}
    for name, estimate in said.baselines.items():
        known = np.flatnonzero(~np.isnan(estimate.reshape(len(estimate), -1)).any(axis=1))
        if len(known):
            y = said.y[known]
            theirs, ours = (metrics.scores_of(task, y, one[known]) for one in (estimate, said.yhat))
            found[name] = Baseline(len(known), theirs, ours)
    return found


def _confusion(said: Estimates) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in class_metrics.confusion(said.y, said.yhat).tolist())


def _coverage(said: Estimates, rows: NDArray[np.intp]) -> tuple[Coverage, ...]:
    y, yhat = said.y[rows], said.yhat[rows]
    found = []
    for level, (lower, upper) in said.bounds.items():
        low, high = lower[rows], upper[rows]
        known = yhat != 0 if yhat.any() else slice(None)  # an estimate brought up to 0 has no relative width
        width = metrics.mean_relative_width(yhat[known], low[known], high[known])
        found.append(Coverage(level, metrics.coverage(y, low, high), width))
    return tuple(found)


def _ratio_study(y: Array, yhat: Array, task: str) -> tuple[dict[str, RatioMeasure] | None, str]:
    if task == "classification":
        return None, "classes have no ratios"
    try:
        return metrics.ratio_study(y, yhat), ""
    except DataError as error:
        return None, str(error)


def _named(split: str, y: Array, yhat: Array, task: str) -> dict[str, float]:
    try:
        return metrics.scores_of(task, y, yhat)
    except DataError as error:
        raise DataError(f"{split}: {error}") from error
