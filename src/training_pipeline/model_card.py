"""The model card: what a version is, how good it is, and what it is not for."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from src.core.config import DatasetConfig
from src.core.metrics import IN_UNIT
from src.core.sections import TimeSplit
from src.training_pipeline import baselines
from src.training_pipeline.candidate import Candidate
from src.training_pipeline.scorecard import NOT_ENOUGH, Scorecard, calibration

# Metrics that are neither money nor a share.
PLAIN = ("r2", "r2_log", "f1", "log_loss")


def text(candidate: Candidate, cards: Mapping[str, Scorecard], version: str, created: datetime, git_commit: str) -> str:
    """Write the card of a version as Markdown."""
    config, training = candidate.config, candidate.training
    unit = config.target.unit
    train = candidate.matrices["train"]
    days = config.date and f", {train.meta[config.date].min()!s} to {train.meta[config.date].max()!s}"
    what, use, limits = _by_split(config)
    lines = [
        f"# {config.title}: model {version}",
        "",
        f"{_task(config)} {what}",
        f"{config.model.family} on {len(config.feature_names)} features{_rounds(training)}{_scale(config)}."
        f" Made {created:%Y-%m-%d %H:%M} UTC from commit {git_commit}.",
        "",
        "## Data",
        f"- source: {config.source.origin or 'see load.json'}; SHA-256 `{candidate.fingerprint}`",
        f"- train: {len(train.y):,} rows after cleaning{days or ''}",
        *(f"- {c.split}: {c.n:,} rows{c.dates and f', {c.dates}'}" for c in cards.values()),
        "",
    ]
    for card in cards.values():
        lines += [*_scores(card, unit)]
        if config.task == "classification":
            lines += [f"### {card.split}: rows by actual (down) and predicted class"]
            lines += _table(["", *config.target.classes], confusion(card, config.target.classes))
        else:
            lines += [*_ratios(card), *_coverage(card, config)]
        lines += _segments(card)
    lines += [
        "## Intended use",
        use,
        "",
        "## Limits",
        *limits,
        "",
    ]
    return "\n".join(lines)


def _task(config: DatasetConfig) -> str:
    label = config.target.label
    if config.task == "regression":
        return f"Estimates the {label} ({config.target.unit})"
    return f"Gives the probability of each {label} ({', '.join(config.target.classes)})"


def _rounds(training: Mapping[str, Any]) -> str:
    # XGBoost grows a tree a round, and of classes one for each; other families have no rounds.
    return f", {training['rounds']} rounds" if training.get("rounds") else ""


def _scale(config: DatasetConfig) -> str:
    return f", target transform `{config.target.transform}`" if config.task == "regression" else ""


def _by_split(config: DatasetConfig) -> tuple[str, str, list[str]]:
    """Say what is estimated, what for, and with which limits, as rows have dates, places and prices or not."""
    label, is_price = config.target.label, config.task == "regression"
    use = f"{'Market overview, screening' if is_price else 'Screening'}, and a second opinion on a {label}"
    limits = ["- Not an appraisal, and no basis for a single lending, tax or purchase decision."] if is_price else []
    errors = "errors are against it, not against individual sales" if is_price else "no other class is ever an answer"
    limits += [f"- The target is the data's own {label}; {errors}."]
    unseen = ["- Places and regions unseen in training are priced with the average and flagged."]
    if not is_price:
        unseen = ["- Categories unseen in training are answered like rare ones and flagged."]
    if isinstance(config.split, TimeSplit):
        calibrated = (
            "- Intervals were calibrated on the eval months; their coverage on the holdout says what is left of it"
        )
        last = "- The last known price of a place, where there is one, can be closer: this model does not use it."
        limits += [f"{calibrated} later.", *unseen, last] if is_price else unseen
        what = "of a place in a month from that month's own features, without price history."
        return (
            what if is_price else "of a row from the features of its own month.",
            f"{use} by place and month.",
            limits,
        )
    limits += ["- Every score is on random rows of the same source and time: none says how the model does later."]
    limits += unseen if config.fitted or config.lookup else []
    return (
        "of a row from its own features. Splits were drawn at random: scores hold for rows like these.",
        f"{use}.",
        limits,
    )


def cell(metric: str, value: float | None, unit: str) -> str:
    """Write one score for people: money with thousands separators, shares in per cent."""
    if value is None:
        return "-"
    if metric in IN_UNIT:
        return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"
    return f"{value:.3f}" if metric in PLAIN else f"{100 * value:.1f} %"


def comparison(card: Scorecard, unit: str) -> Iterator[list[str]]:
    """Yield the rows of a table: who, how many rows, every score; the model first, its baselines after it."""
    labels = card.labels
    yield ["model", f"{card.n:,}", *(cell(m, card.scores.get(m), unit) for m in labels)]
    for name, baseline in card.baselines.items():
        yield [baselines.LABELS[name], f"{baseline.n:,}", *(cell(m, baseline.scores.get(m), unit) for m in labels)]
        if baseline.n < card.n:
            yield ["model, same rows", f"{baseline.n:,}", *(cell(m, baseline.model.get(m), unit) for m in labels)]


def confusion(card: Scorecard, classes: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the rows of a confusion matrix: the actual class, then rows by predicted class."""
    for name, counts in zip(classes, card.confusion, strict=True):
        yield [name, *(f"{count:,}" for count in counts)]


def _scores(card: Scorecard, unit: str) -> Iterator[str]:
    yield f"## {card.split}: scores beside baselines"
    yield from _table(["", "rows", *card.labels.values()], comparison(card, unit))


def _ratios(card: Scorecard) -> Iterator[str]:
    yield f"### {card.split}: ratio study"
    if card.ratios is None:
        yield f"{NOT_ENOUGH}: {card.ratio_note}"
    else:
        rows = (
            [m.name, f"{m.value:.3f}", f"{m.low:g} to {m.high:g}", "in" if m.in_range else "OUT"]
            for m in card.ratios.values()
        )
        yield from _table(["", "value", "acceptable", ""], rows)
    yield ""


def _coverage(card: Scorecard, config: DatasetConfig) -> Iterator[str]:
    yield f"### {card.split}: intervals ({calibration(card.split, config)})"
    known = {c.level: c for c in card.coverage}
    rows = []
    for level in config.levels:
        held = known.get(level)
        figures = [f"{100 * held.observed:.1f} %", f"{100 * held.width:.1f} %"] if held else [NOT_ENOUGH, "-"]
        rows.append([f"{100 * level:g} %", *figures])
    yield from _table(["nominal", "observed", "mean width / estimate"], iter(rows))


def _segments(card: Scorecard) -> Iterator[str]:
    """Yield the best and the worst three groups of each segment; the report has them all."""
    for name, rows in card.segments.items():
        metric = "mdape" if card.task == "regression" else "accuracy"
        scored = sorted(((r.scores[metric], r) for r in rows if r.scores), key=lambda pair: pair[0])
        thin = sum(r.scores is None for r in rows)
        yield f"### {card.split}: by {name}"
        ends = scored if len(scored) <= 6 else [*scored[:3], *scored[-3:]]
        yield from _table(
            ["", "rows", card.labels[metric]], ([r.value, f"{r.n:,}", f"{100 * v:.1f} %"] for v, r in ends)
        )
        if thin:
            yield f"{thin} groups: {NOT_ENOUGH}."
            yield ""


def _table(head: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(text.replace("|", "/") for text in row) + " |"
    yield ""
