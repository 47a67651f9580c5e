"""Charts of the months so far as SVG in the page: no script, nothing from a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 190, 44, 12, 28, 24
COLOURS = ("#1f77b4", "#d1700f", "#2a7d2a", "#a03030")


@dataclass(frozen=True)
class Line:
    """One measure: `values` month -> share; `limit` is drawn dashed in the line's colour."""

    name: str
    values: dict[str, float]
    limit: float | None = None


def chart(title: str, lines: Sequence[Line], months: Sequence[str], floor: float = 0.0) -> str:
    """Draw shares by month; empty where fewer than two months have a value."""
    lines = [line for line in lines if line.values]
    if len(months) < 2 or not any(len(line.values) > 1 for line in lines):
        return ""
    every = [value for line in lines for value in (*line.values.values(), line.limit) if value is not None]
    low, high = min(floor, *every), max(every)
    high += (high - low or 0.1) * 0.08
    step = (WIDTH - LEFT - RIGHT) / (len(months) - 1)

    def x(month: str) -> float:
        return LEFT + step * months.index(month)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    drawn = [_text(LEFT, 14, title, "title"), *_grid(low, high, y), *_labels(months, x)]
    for line, colour in zip(lines, COLOURS, strict=False):
        points = [(x(month), y(value)) for month, value in line.values.items()]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        if line.limit is not None:
            height = y(line.limit)
            drawn.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="{colour}" '
                'stroke-dasharray="5 4" opacity=".7"/>'
            )
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"><title>{month}: {line.name} {value:.1%}'
            "</title></circle>"
            for (left, top), (month, value) in zip(points, line.values.items(), strict=True)
        ]
    legend = "".join(
        f'<tspan fill="{colour}">{escape(line.name)}</tspan><tspan dx="8"> </tspan>'
        for line, colour in zip(lines, COLOURS, strict=False)
    )
    drawn.append(f'<text x="{WIDTH - RIGHT}" y="14" text-anchor="end">{legend if len(lines) > 1 else ""}</text>')
    label = escape(f"{title}, {months[0]} to {months[-1]}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(drawn)}</svg>'


def _grid(low: float, high: float, y: Callable[[float], float]) -> list[str]:
    ticks = [low + (high - low) * part / 3 for part in range(4)]
    digits = 1 if high - low < 0.1 else 0
    return [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#e4e4e4"/>'
        + _text(LEFT - 5, y(tick) + 4, f"{tick:.{digits}%}", "tick", "end")
        for tick in ticks
    ]


def _labels(months: Sequence[str], x: Callable[[str], float]) -> list[str]:
    shown = sorted({months[0], months[len(months) // 2], months[-1]})
    ends = {shown[0]: "start", shown[-1]: "end"}
    return [_text(x(month), HEIGHT - 6, month, "tick", ends.get(month, "middle")) for month in shown]


def _text(left: float, top: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{left:.1f}" y="{top:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
