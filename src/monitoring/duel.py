"""Two models on the same rows: is one better by more than chance explains?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from src.core import metrics
from src.core.errors import DataError
from src.core.tables import cells, table

if TYPE_CHECKING:
    from rich.table import Table

Array = NDArray[np.float64]

RESAMPLES = 10_000
# So many draws at once: a few MB, however many places there are.
_DRAWS = 1_000_000
# Fewer places make the interval too narrow (Cameron, Gelbach and Miller 2008 see that below some 30, grossly below 10).
MIN_PLACES = 10
_HEAD = ("month", "rows", "champion", "challenger", "difference")


@dataclass(frozen=True)
class Month:
    """Both models' MAE in one month, in the target's unit."""

    month: str
    rows: int
    champion: float
    challenger: float


@dataclass(frozen=True)
class Duel:
    """Both models' MAE over all rows, and the difference, challenger less champion, with its interval."""

    months: tuple[Month, ...]
    rows: int
    places: int
    champion: float
    challenger: float
    difference: float
    lower: float
    upper: float
    confidence: float

    @property
    def is_won(self) -> bool:
        """Whether the challenger is better at the confidence asked for."""
        return self.upper < 0

    def words(self, unit: str) -> str:
        """Say which model is better, and how sure that is."""
        if self.is_won:
            said = "the challenger is better"
        elif self.lower > 0:
            said = "the champion is better"
        else:
            said = "the challenger is not better beyond chance"
        ends = f"{100 * self.confidence:g} % interval {_signed(self.lower)} to {_signed(self.upper)}"
        return f"{said}: MAE {_signed(self.difference)} {unit} ({ends})"

    def table(self, dataset: str, unit: str) -> "Table":
        """Lay both errors out for a terminal, a month a line, with the difference and its interval below."""
        made = table(f"{dataset}: MAE, {unit}, of {self.places:,} places", *_HEAD)
        for column in made.columns[1:]:
            column.justify = "right"
        every = Month("all", self.rows, self.champion, self.challenger)
        for one in (*self.months, every):
            gap = _signed(one.challenger - one.champion)
            made.add_row(*cells(one.month, f"{one.rows:,}", _number(one.champion), _number(one.challenger), gap))
        made.add_row(
            *cells(f"{100 * self.confidence:g} %", "", "", "", f"{_signed(self.lower)} to {_signed(self.upper)}")
        )
        return made


def judge(rows: pl.DataFrame, champion: Array, challenger: Array, confidence: float, seed: int = 0) -> Duel:
    """Compare two models' estimates of the same rows, which neither has been trained on.

    Args:
        rows: `month` (YYYY-MM), `place` and `actual`, a row each.
        champion: its estimates, shape (n,), in the target's unit.
        challenger: its estimates of the same rows.
        confidence: of the interval, for example 0.95.
        seed: of the resamples.

    Raises:
        DataError: no rows, values that are not finite, or fewer than `MIN_PLACES` places.
    """
    actual = rows["actual"].to_numpy()
    errors = [metrics.mae(actual, said) for said in (champion, challenger)]
    off = rows.with_columns(
        champion=pl.Series(np.abs(champion - actual)), challenger=pl.Series(np.abs(challenger - actual))
    )
    gaps = (off["challenger"] - off["champion"]).to_numpy()
    places = rows["place"].n_unique()
    if places < MIN_PLACES:
        raise DataError(f"{places} places say too little about a difference: at least {MIN_PLACES} are needed")
    lower, upper = interval(gaps, rows["place"].to_numpy(), confidence, seed)
    by_month = off.group_by("month").agg(pl.len(), pl.mean("champion"), pl.mean("challenger")).sort("month")
    return Duel(
        months=tuple(Month(*values) for values in by_month.iter_rows()),
        rows=len(gaps),
        places=places,
        champion=errors[0],
        challenger=errors[1],
        difference=float(gaps.mean()),
        lower=lower,
        upper=upper,
        confidence=confidence,
    )


def interval(gaps: Array, places: ArrayLike, confidence: float, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean of paired differences, by a bootstrap of whole places.

    Places are drawn with replacement, each with all its rows, since the rows of one place err alike; the interval's
    ends are percentiles of the resampled means. Pairs cluster bootstrap: Cameron, Gelbach and Miller, Review of
    Economics and Statistics 90 (2008), 3.1; percentile interval: Efron and Tibshirani, An Introduction to the Bootstrap
    (1993), 13.3. What hits all places of a month at once is not in its width: it hits both models.
    """
    _, index = np.unique(np.asarray(places), return_inverse=True)
    sums, counts = np.bincount(index, weights=gaps), np.bincount(index)
    random, size = np.random.default_rng(seed), len(sums)
    step = max(1, _DRAWS // size)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, step):
        drawn = random.integers(size, size=(min(step, RESAMPLES - start), size))
        means[start : start + step] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(lower), float(upper)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{_number(value)}"
