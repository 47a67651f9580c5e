"""Scores of several models on the same repeated splits, side by side, with intervals on their differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from src.core.config import DatasetConfig
from src.core.files import replacing
from src.core.metrics import HIGHER_IS_BETTER, LABELS_OF
from src.training_pipeline.model_card import cell

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Entrant:
    """One model or baseline: its scores on every split that judged it, in the splits' order; seconds a fit took."""

    name: str
    scores: tuple[dict[str, float], ...]
    seconds: float = 0.0
    negative: int = 0

    def values(self, metric: str) -> Array:
        """Return the metric by split, NaN where it could not be had."""
        return np.array([scores.get(metric, np.nan) for scores in self.scores])


@dataclass(frozen=True)
class Leaderboard:
    """Entrants on the same splits, the best first by `metric`; `reference` is the config's own model.

    `share` is the mean number of judged rows to fitted ones.
    """

    name: str
    metric: str
    reference: str
    share: float
    rows: tuple[int, int]
    entrants: tuple[Entrant, ...]

    def difference(self, entrant: Entrant) -> tuple[float, float, float]:
        """Return the mean difference of an entrant to the reference, and its 95 % interval (NaN from one split).

        The corrected resampled t-interval: splits share rows, so the variance of the mean is
        (1 / k + judged / fitted) times the differences' variance, not 1 / k (Nadeau and Bengio 2003).
        """
        from scipy.special import stdtrit

        base = next(one for one in self.entrants if one.name == self.reference)
        gaps = entrant.values(self.metric) - base.values(self.metric)
        mean = float(gaps.mean())
        if len(gaps) < 2:
            return mean, np.nan, np.nan
        error = float(np.sqrt((1 / len(gaps) + self.share) * gaps.var(ddof=1)))
        reach = float(stdtrit(len(gaps) - 1, 0.975)) * error
        return mean, mean - reach, mean + reach

    def plain(self) -> dict[str, Any]:
        """Return everything as JSON-safe content."""
        found = []
        for entrant in self.entrants:
            mean, low, high = self.difference(entrant)
            interval = None if np.isnan(low) else [low, high]
            found.append(
                {
                    "name": entrant.name,
                    "mean": {metric: _mean(entrant.values(metric)) for metric in entrant.scores[0]},
                    "splits": list(entrant.scores),
                    "difference": {"metric": self.metric, "mean": mean, "interval_95": interval},
                    "negative_estimates": entrant.negative,
                    "fit_seconds": round(entrant.seconds, 2),
                }
            )
        fitted, judged = self.rows
        return {"splits": self.name, "fitted_rows": fitted, "judged_rows": judged, "entrants": found}


def ranked(
    name: str, config: DatasetConfig, entrants: Sequence[Entrant], rows: Sequence[tuple[int, int]]
) -> Leaderboard:
    """Sort entrants by the metric that the search uses; `rows` are the fitted and the judged ones of each split."""
    metric = config.tuning.metric
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    order = sorted(entrants, key=lambda one: sign * _mean(one.values(metric)))
    share = float(np.mean([judged / fitted for fitted, judged in rows]))
    fitted, judged = (round(float(np.mean(counts))) for counts in zip(*rows, strict=True))
    reference = config.model.variant or config.model.family
    return Leaderboard(name, metric, reference, share, (fitted, judged), tuple(order))


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def table(board: Leaderboard, config: DatasetConfig) -> Table:
    """Lay a leaderboard out for a terminal: means over the splits, and the difference to the config's model."""
    labels, unit = LABELS_OF[config.task], config.target.unit
    shown = [m for m in labels if not m.startswith("within") and any(m in one.scores[0] for one in board.entrants)]
    fitted, judged = board.rows
    made = Table(
        title=f"{config.name}: {board.name}, {fitted:,} rows fitted, {judged:,} judged",
        caption=f"means over the splits; difference in {labels[board.metric]} to {board.reference}, 95 % interval",
    )
    made.add_column("model", no_wrap=True)
    for metric in shown:
        made.add_column(labels[metric], justify="right", no_wrap=True)
    made.add_column("difference", justify="right", no_wrap=True)
    if config.task == "regression":
        made.add_column("below 0", justify="right")
    made.add_column("fit, s", justify="right")
    for one in board.entrants:
        style = "bold" if one.name == board.reference else None
        cells = [cell(metric, _known(_mean(one.values(metric))), unit) for metric in shown]
        below = [f"{one.negative:,}"] if config.task == "regression" else []
        made.add_row(one.name, *cells, _difference(board, one, unit), *below, f"{one.seconds:.1f}", style=style)
    return made


def _difference(board: Leaderboard, one: Entrant, unit: str) -> str:
    if one.name == board.reference:
        return "-"
    mean, low, high = board.difference(one)
    written = [cell(board.metric, value, unit).removesuffix(f" {unit}") for value in (mean, low, high)]
    return written[0] if np.isnan(low) else f"{written[0]} ({written[1]} to {written[2]})"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def draw(board: Leaderboard, config: DatasetConfig, path: Path) -> None:
    """Draw every split's score of every entrant, the mean as a bar, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 0.45 * len(board.entrants)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, one in enumerate(reversed(board.entrants)):
        values = one.values(board.metric)
        axes.plot(values, np.full(len(values), place), ".", color="#1f77b4", alpha=0.6)
        axes.plot([_mean(values)] * 2, [place - 0.3, place + 0.3], "-", color="#d62728", linewidth=2)
    axes.set_yticks(range(len(board.entrants)), [one.name for one in reversed(board.entrants)])
    in_unit = f" ({config.target.unit})" if board.metric in ("mae", "rmse") else ""
    axes.set(title=f"{config.title}\n{board.name}", xlabel=f"{LABELS_OF[config.task][board.metric]}{in_unit}")
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
