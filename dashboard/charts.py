"""The charts, from frames to Plotly figures. Colours are Okabe and Ito's, which the colour-blind can tell apart.

Values are given as lists: arrays go to the browser in a coded form, which Plotly takes for changed whenever it looks.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from plotly.graph_objs._figure import Figure

from dashboard import words

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8A8A"
BAND = "rgba(86,180,233,0.30)"
CHOSEN = "rgba(230,159,0,0.22)"
HEIGHT = 340
# More bars cannot be read.
MOST_BARS = 30


def trend(months: pd.DataFrame, unit: str, label: str, level: str | None, chosen: tuple[str, str] | None) -> Figure:
    """Draw actual and predicted means by month, the interval's band, and the chosen months highlighted."""
    figure = _figure(f"mean {label}", unit)
    x = [f"{month}-01" for month in months["month"]]
    n = [words.count(one) for one in months["n"]]
    if level and f"mean_lower_{level}" in months and months[f"mean_lower_{level}"].notna().any():
        lower = months[f"mean_lower_{level}"]
        low, high = lower.tolist(), (lower + months[f"mean_width_{level}"]).tolist()
        figure.add_scatter(x=x, y=high, mode="lines", line={"width": 0}, hoverinfo="skip", showlegend=False)
        band = f"{level} % interval"
        figure.add_scatter(
            x=x, y=low, mode="lines", line={"width": 0}, fill="tonexty", fillcolor=BAND, hoverinfo="skip", name=band
        )
    for name, column, line in (
        ("predicted", "mean_predicted", {"color": BLUE, "width": 2}),
        ("actual", "mean_actual", {"color": ORANGE, "width": 2, "dash": "dot"}),
    ):
        hover = f"%{{x|%B %Y}}<br>{name} %{{y:,.0f}} {unit}<br>n = %{{customdata}}<extra></extra>"
        figure.add_scatter(
            x=x,
            y=months[column].tolist(),
            mode="lines",
            name=name,
            line=line,
            customdata=n,
            hovertemplate=hover,
        )
    if chosen:
        end = pd.Period(chosen[1], "M").end_time
        figure.add_vrect(x0=f"{chosen[0]}-01", x1=end, fillcolor=CHOSEN, line_width=0, layer="below")
    figure.update_xaxes(hoverformat="%B %Y")
    return figure


def scatter(rows: pd.DataFrame, actual: str, predicted: str, unit: str, label: str, names: Sequence[str]) -> Figure:
    """Draw predictions against actual values, with the line on which they would be equal."""
    figure = _figure(f"predicted {label}", unit)
    known = rows.dropna(subset=[actual, predicted])
    figure.add_scatter(
        x=_short(known[actual]),
        y=_short(known[predicted]),
        mode="markers",
        marker={"size": 6, "color": BLUE, "opacity": 0.45},
        text=known[list(names)].astype(str).agg(", ".join, axis=1).tolist() if names else None,
        hovertemplate=f"%{{text}}<br>actual %{{x:,.0f}}<br>predicted %{{y:,.0f}} {unit}<extra></extra>",
        name="a row",
        showlegend=False,
    )
    if len(known):
        ends = [min(known[actual].min(), known[predicted].min()), max(known[actual].max(), known[predicted].max())]
        figure.add_scatter(
            x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dash"}, name="equal", hoverinfo="skip"
        )
    figure.update_xaxes(title=f"actual {label}, {unit}", tickformat="~s")
    figure.update_yaxes(tickformat="~s")
    return figure


def errors(bins: pd.DataFrame) -> Figure:
    """Draw the histogram of relative errors."""
    figure = _figure("rows", "")
    low, high = bins["low"], bins["high"]
    middle = ((low.fillna(high - 0.025) + high.fillna(low + 0.025)) / 2) * 100
    text = [
        f"below {words.percent(b)}"
        if pd.isna(a)
        else f"{words.percent(a)} and more"
        if pd.isna(b)
        else f"{words.percent(a)} to {words.percent(b)}"
        for a, b in zip(low, high, strict=True)
    ]
    colours = [GREEN if abs(value) <= 10 else BLUE if abs(value) <= 25 else RED for value in middle]
    figure.add_bar(
        x=middle.tolist(),
        y=bins["n"].tolist(),
        width=2.3,
        marker={"color": colours},
        customdata=text,
        showlegend=False,
        hovertemplate="error %{customdata}<br>n = %{y:,}<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": GREY, "dash": "dash"})
    figure.update_xaxes(title="predicted over actual, less 1, in %", ticksuffix=" %")
    return figure


def bars(groups: pd.DataFrame, key: str, column: str, title: str, *, in_order: bool = False) -> Figure:
    """Draw a share by group as lying bars, the largest first unless the groups have an order of their own."""
    known = groups.dropna(subset=[column])
    shown = (known if in_order else known.nlargest(MOST_BARS, column)).iloc[::-1]
    figure = _figure("", "", height=max(HEIGHT, 22 * len(shown) + 90))
    figure.add_bar(
        x=(100 * shown[column]).tolist(),
        y=[str(name) for name in shown[key]],
        orientation="h",
        marker={"color": BLUE},
        customdata=[words.count(n) for n in shown["n"]],
        hovertemplate="%{y}<br>" + title + " %{x:.1f} %<br>n = %{customdata}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title=f"{title}, %", ticksuffix=" %", rangemode="tozero")
    figure.update_yaxes(title="", type="category", automargin=True)
    return figure


def places(points: pd.DataFrame, column: str, title: str) -> Figure:
    """Draw points at longitude and latitude, larger with more rows, by a share; no map behind them is fetched."""
    figure = _figure("latitude", "", height=420)
    known = points.dropna(subset=[column])
    size = (8 + 22 * (known["n"] / max(known["n"].max(), 1)) ** 0.5).tolist() if len(known) else []
    figure.add_scatter(
        x=known["lng"].tolist(),
        y=known["lat"].tolist(),
        mode="markers",
        marker={
            "size": size, "color": (100 * known[column]).tolist(), "opacity": 0.85,
            "colorscale": "Cividis", "reversescale": True,
            "colorbar": {"title": f"{title}, %", "thickness": 12}, "line": {"width": 0.5, "color": GREY},
        },
        text=known["name"].tolist(),
        customdata=[words.count(n) for n in known["n"]],
        hovertemplate="%{text}<br>" + title + " %{marker.color:.1f} %<br>n = %{customdata}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    figure.update_xaxes(title="longitude", ticksuffix="°")
    figure.update_yaxes(ticksuffix="°", scaleanchor="x", scaleratio=1.25, constrain="domain")
    return figure


def coverage(months: pd.DataFrame, levels: Sequence[str]) -> Figure:
    """Draw which share of actual values lay inside the intervals, month by month, beside the nominal shares."""
    figure = _figure("share of actual values inside", "%")
    for level, colour in zip(levels, (BLUE, GREEN, ORANGE), strict=False):
        figure.add_scatter(
            x=[f"{month}-01" for month in months["month"]],
            y=(100 * months[f"coverage_{level}"]).tolist(),
            mode="lines",
            line={"color": colour},
            name=f"{level} % interval",
            customdata=[words.count(n) for n in months["n"]],
            hovertemplate="%{x|%B %Y}<br>%{y:.1f} %<br>n = %{customdata}<extra></extra>",
        )
        figure.add_hline(y=float(level), line={"color": colour, "dash": "dash", "width": 1})
    figure.update_yaxes(range=[0, 102], ticksuffix=" %")
    return figure


def shares(months: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Draw shares by month, a line each; `names`: measure -> what the line is called."""
    figure = _figure("share", "%")
    for (name, title), colour in zip(names.items(), (BLUE, ORANGE, GREEN), strict=False):
        one = months[months["name"] == name]
        figure.add_scatter(
            x=[f"{month}-01" for month in one["month"]],
            y=(100 * one["value"]).round(2).tolist(),
            mode="lines+markers",
            line={"color": colour},
            name=title,
            customdata=[words.count(n) for n in one["rows"]],
            hovertemplate=f"%{{x|%B %Y}}<br>{title}: %{{y:.1f}} %<br>of %{{customdata}}<extra></extra>",
        )
    figure.update_yaxes(rangemode="tozero", ticksuffix=" %")
    return figure


def waterfall(base: float, parts: Sequence[tuple[str, float]], total: float, unit: str) -> Figure:
    """Draw how a price comes about: from the average answer, reason by reason, to the estimate."""
    figure = _figure("", unit, height=60 + 34 * (len(parts) + 2))
    names = ["average answer", *(name for name, _ in parts), "estimate"]
    values = [base, *(amount for _, amount in parts), total]
    figure.add_waterfall(
        orientation="h",
        y=names,
        x=values,
        measure=["absolute", *["relative"] * len(parts), "total"],
        text=[words.money(value, unit, signed=0 < i < len(values) - 1) for i, value in enumerate(values)],
        textposition="auto",
        cliponaxis=False,
        increasing={"marker": {"color": GREEN}},
        decreasing={"marker": {"color": RED}},
        totals={"marker": {"color": BLUE}},
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure.update_xaxes(title=unit, tickformat="~s")
    figure.update_yaxes(autorange="reversed", automargin=True, title="")
    return figure


def _short(values: "pd.Series[float]") -> list[float]:
    """Return values with no more digits than a chart can show."""
    return values.round(3 if values.abs().max() < 100 else 0).tolist()


def _figure(title: str, unit: str, height: int = HEIGHT) -> Figure:
    made: dict[str, Any] = {"margin": {"l": 64, "r": 8, "t": 24, "b": 44}, "height": height, "hovermode": "closest"}
    figure = Figure(layout={**made, "legend": {"orientation": "h", "y": 1.12, "x": 0}})
    figure.update_yaxes(
        title=f"{title}, {unit}" if unit else title,
        tickformat="~s" if unit not in ("%", "") else None,
    )
    return figure
