"""The plots of an evaluation, described once and drawn twice: interactive HTML and PNG."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from src.core.config import DatasetConfig
from src.core.files import replacing
from src.training_pipeline.baselines import LABELS
from src.training_pipeline.scorecard import Estimates

Array = NDArray[np.float64]
# A page never carries more points than an eye can tell apart.
MAX_POINTS = 5_000
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")


@dataclass(frozen=True)
class Series:
    """Points or a line; `x` and `y` of one length."""

    name: str
    x: Array
    y: Array
    mode: Literal["points", "line", "dashed"] = "points"


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `money` axes get thousands separators, the others are shares and get a per cent sign."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    money: tuple[bool, bool]
    log: bool = False


@dataclass(frozen=True)
class Chart:
    """A row of panels; `name` becomes the file's."""

    name: str
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Curve:
    """Observed coverage by nominal level on one split."""

    split: str
    nominal: Array
    observed: Array
    note: str = field(default="")


def charts(said: Sequence[Estimates], curves: Sequence[Curve], config: DatasetConfig) -> tuple[Chart, ...]:
    """Describe the three charts of these splits; of classes one, how often they are right."""
    if config.task == "classification":
        return (Chart("calibration", "Calibration", tuple(_reliability(one) for one in said)),)
    shown = [(one, _sample(len(one.y), config.model.seed)) for one in said]
    money = f"{config.target.label} ({config.target.unit})"
    return (
        Chart("predicted_vs_actual", "Predicted versus actual", tuple(_against(s, k, money, config) for s, k in shown)),
        Chart("residuals", "Relative error by estimate", tuple(_residuals(s, k, money, config) for s, k in shown)),
        Chart("calibration", "Calibration", (_coverage(curves), *(_deciles(one, money, config) for one in said))),
    )


def _sample(n: int, seed: int) -> NDArray[np.intp]:
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MAX_POINTS, replace=False))


def _titled(said: Estimates, kept: NDArray[np.intp]) -> str:
    n = len(said.y)
    return f"{said.split}: {n:,} rows" + (f", {len(kept):,} shown" if len(kept) < n else "")


def _against(said: Estimates, kept: NDArray[np.intp], money: str, config: DatasetConfig) -> Panel:
    y, yhat = said.y[kept], said.yhat[kept]
    ends = np.array([min(y.min(), yhat.min()), max(y.max(), yhat.max())])
    series = [Series("model", y, yhat), Series("exact", ends, ends, "dashed")]
    if "median" in said.baselines:
        series.append(Series(LABELS["median"], ends, said.baselines["median"][:1].repeat(2), "line"))
    log = config.target.transform == "log"
    return Panel(_titled(said, kept), f"actual {money}", f"predicted {money}", tuple(series), (True, True), log)


def _residuals(said: Estimates, kept: NDArray[np.intp], money: str, config: DatasetConfig) -> Panel:
    yhat = said.yhat[kept]
    series = [Series("model", yhat, said.yhat[kept] / said.y[kept] - 1)]
    ends = np.array([yhat.min(), yhat.max()])
    series.append(Series("exact", ends, np.zeros(2), "dashed"))
    log = config.target.transform == "log"
    for level, (lower, upper) in said.bounds.items() if log else ():
        # The interval's ends as errors: an actual value at the lower end is an estimate that was too high.
        for name, bound in ((f"{100 * level:g} % interval", lower), ("", upper)):
            edge = float(np.median(said.yhat[kept] / bound[kept] - 1))
            series.append(Series(name, ends, np.full(2, edge), "line"))
    return Panel(
        _titled(said, kept), f"predicted {money}", "(predicted - actual) / actual", tuple(series), (True, False), log
    )


def _reliability(said: Estimates) -> Panel:
    """Show how often the predicted class was right beside its probability, by fifths of the probability."""
    certainty, right = said.yhat.max(axis=1), said.yhat.argmax(axis=1) == said.y
    groups = [g for g in np.array_split(np.argsort(certainty, kind="stable"), 5) if len(g)]
    mean = np.array([[certainty[g].mean(), right[g].mean()] for g in groups])
    ends = np.array([min(mean.min(), 1 / said.yhat.shape[1]), 1.0])
    series = (Series("model", mean[:, 0], mean[:, 1], "line"), Series("exact", ends, ends, "dashed"))
    title = f"{said.split}: fifths of the predicted class's probability"
    return Panel(title, "mean probability", "share that was right", series, (False, False))


def _coverage(curves: Sequence[Curve]) -> Panel:
    series = [Series("exact", np.array([0.0, 1.0]), np.array([0.0, 1.0]), "dashed")]
    series += [Series(f"{c.split} {c.note}".strip(), c.nominal, c.observed, "line") for c in curves]
    labels = ("nominal coverage", "observed coverage")
    return Panel("intervals: nominal and observed coverage", *labels, tuple(series), (False, False))


def _deciles(said: Estimates, money: str, config: DatasetConfig) -> Panel:
    groups = np.array_split(np.argsort(said.yhat, kind="stable"), min(10, len(said.y)))
    mean = np.array([[said.yhat[g].mean(), said.y[g].mean()] for g in groups])
    ends = np.array([mean.min(), mean.max()])
    series = [Series("model", mean[:, 0], mean[:, 1], "line"), Series("exact", ends, ends, "dashed")]
    if "linear" in said.baselines:
        linear = said.baselines["linear"]
        ranked = np.array_split(np.argsort(linear, kind="stable"), len(groups))
        means = np.array([[linear[g].mean(), said.y[g].mean()] for g in ranked])
        series.append(Series(LABELS["linear"], means[:, 0], means[:, 1], "line"))
    title = f"{said.split}: deciles of the estimate"
    log = config.target.transform == "log"
    return Panel(title, f"mean predicted {money}", f"mean actual {money}", tuple(series), (True, True), log)


def _coloured(panel: Panel) -> list[tuple[Series, str]]:
    numbers: dict[str, int] = {}
    found, last = [], ""
    for series in panel.series:
        last = series.name or last
        grey = series.mode == "dashed"
        found.append((series, "#777777" if grey else COLOURS[numbers.setdefault(last, len(numbers)) % len(COLOURS)]))
        if grey:
            numbers.pop(last, None)
    return found


def write_html(chart: Chart, path: Path) -> None:
    """Draw a chart as one page that needs no network."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=len(chart.panels), subplot_titles=[panel.title for panel in chart.panels])
    for column, panel in enumerate(chart.panels, 1):
        for series, colour in _coloured(panel):
            drawn: dict[str, Any] = {"x": series.x, "y": series.y, "name": series.name, "legendgroup": series.name}
            drawn["showlegend"] = (column == 1 and bool(series.name)) or panel.title.startswith("intervals")
            if series.mode == "points":
                drawn |= {"mode": "markers", "marker": {"size": 4, "opacity": 0.4, "color": colour}}
            else:
                dash = "dash" if series.mode == "dashed" else "solid"
                drawn |= {"mode": "lines", "line": {"color": colour, "dash": dash}}
            figure.add_scatter(**drawn, row=1, col=column)
        axes = (figure.update_xaxes, figure.update_yaxes)
        for update, label, money in zip(axes, (panel.x_label, panel.y_label), panel.money, strict=True):
            kind = "log" if panel.log and money else "linear"
            update(title_text=label, type=kind, tickformat="," if money else ".0%", row=1, col=column)
    figure.update_layout(title=chart.title, template="plotly_white", legend={"orientation": "h", "y": -0.2})
    with replacing(path) as temporary:
        figure.write_html(temporary, include_plotlyjs=True, full_html=True)


def write_png(chart: Chart, path: Path) -> None:
    """Draw a chart as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, PercentFormatter

    figure = Figure(figsize=(6.5 * len(chart.panels), 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    for position, panel in enumerate(chart.panels, 1):
        axes = figure.add_subplot(1, len(chart.panels), position)
        for series, colour in _coloured(panel):
            label = series.name or "_nolegend_"
            if series.mode == "points":
                axes.plot(series.x, series.y, ".", color=colour, alpha=0.35, markersize=4, label=label)
            else:
                axes.plot(series.x, series.y, "--" if series.mode == "dashed" else "-", color=colour, label=label)
        for axis, set_scale, money in (
            (axes.xaxis, axes.set_xscale, panel.money[0]),
            (axes.yaxis, axes.set_yscale, panel.money[1]),
        ):
            written = FuncFormatter(lambda value, _: f"{value:,.0f}") if money else PercentFormatter(1.0)
            if panel.log and money:
                set_scale("log")
                # Prices rarely span two decades: powers of ten alone would leave an axis with one label.
                axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
                axis.set_minor_formatter(written)
            axis.set_major_formatter(written)
        axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.suptitle(chart.title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90)
