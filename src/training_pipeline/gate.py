"""The gate: may this model replace the current one?"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from rich.table import Table

from src.core.config import DatasetConfig
from src.core.errors import ConfigError, GateError
from src.core.metrics import DECIDING
from src.training_pipeline.scorecard import Scorecard

Sense = Literal["<=", ">=", "<"]
COMPARE: dict[Sense, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}


@dataclass(frozen=True)
class Line:
    """One condition on a value, for example `eval mape`, 0.09, `<=`, 0.15."""

    name: str
    value: float
    sense: Sense
    limit: float

    @property
    def passed(self) -> bool:
        return COMPARE[self.sense](self.value, self.limit)

    @property
    def text(self) -> str:
        return f"{self.name} is {number(self.value)}, and must be {self.sense} {number(self.limit)}"


@dataclass(frozen=True)
class Current:
    """The store's current model on the rows that judge the new one: both errors, by the task's deciding metric."""

    version: str
    error: float
    new_error: float


@dataclass(frozen=True)
class Verdict:
    """Every line of the gate, and what could not be compared."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(line.passed for line in self.lines)

    @property
    def failed(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if not line.passed)

    def require(self, version: str) -> None:
        """Raise GateError naming every line that failed."""
        if not self.passed:
            lines = "\n".join(f"  {line.text}" for line in self.failed)
            raise GateError(
                f"{version} is not promoted, {len(self.failed)} of {len(self.lines)} lines failed:\n{lines}"
            )


def judge(config: DatasetConfig, cards: Mapping[str, Scorecard], current: Current | None, note: str = "") -> Verdict:
    """Hold a model against the config's thresholds, its baselines and the current model.

    Args:
        config: its `gate` section.
        cards: split -> scorecard.
        current: the current model on the same rows; None when there is none or it cannot score them.
        note: why there is nothing to compare with.

    Raises:
        ConfigError: the gate names a split, metric or baseline that does not exist.
    """
    lines = [_threshold(cards, s, m, "<=", v) for s, limits in config.gate.max.items() for m, v in limits.items()]
    lines += [_threshold(cards, s, m, ">=", v) for s, limits in config.gate.min.items() for m, v in limits.items()]
    notes = [note] if note else []
    for name in config.gate.beats:
        if name == "last_known" and name not in cards["eval"].baselines:
            notes.append("no row of eval has an earlier price of its place: last_known is not compared")
            continue
        lines.append(_beats(cards["eval"], name, DECIDING[config.task]))
    if current:
        limit = current.error * (1 + config.gate.tolerance)
        metric = DECIDING[config.task]
        lines.append(Line(f"eval {metric} beside the current {current.version}", current.new_error, "<=", limit))
    return Verdict(tuple(lines), tuple(notes))


def table(verdict: Verdict) -> Table:
    """Lay the gate out for a terminal."""
    made = Table(title="Gate: passed" if verdict.passed else "Gate: FAILED", caption="\n".join(verdict.notes) or None)
    for column in ("condition", "value", "allowed", ""):
        made.add_column(column, justify="left" if column in ("condition", "") else "right")
    for line in verdict.lines:
        made.add_row(
            line.name,
            number(line.value),
            f"{line.sense} {number(line.limit)}",
            "ok" if line.passed else "[bold red]failed[/]",
        )
    return made


def _threshold(cards: Mapping[str, Scorecard], split: str, metric: str, sense: Sense, limit: float) -> Line:
    if split not in cards:
        raise ConfigError(f"gate: {split!r} is not a split that is judged ({', '.join(cards)})")
    values = cards[split].values()
    if metric not in values:
        raise ConfigError(f"gate: {split} has no metric {metric!r} (there are {', '.join(values)})")
    return Line(f"{split} {metric}", values[metric], sense, limit)


def _beats(card: Scorecard, name: str, metric: str) -> Line:
    if name not in card.baselines:
        raise ConfigError(f"gate.beats: {name!r} is not a baseline (there are {', '.join(card.baselines)})")
    baseline = card.baselines[name]
    return Line(f"eval {metric} beside {name}", baseline.model[metric], "<", baseline.scores[metric])


def number(value: float) -> str:
    """Write a condition's value for people: whole from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
