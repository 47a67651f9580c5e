"""What validation found: one `Check` per expectation, in words for logs and errors."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.core.errors import DataError
from src.core.sections import RandomSplit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One expectation's outcome; `passed` is None where its columns or rows were not there to be checked."""

    rule: str
    columns: tuple[str, ...]
    limits: str
    severity: str
    passed: bool | None
    rows: int | None  # unexpected ones; None for a rule about the table or a whole column
    text: str
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ValidationResult:
    """All checks of one split."""

    split: str
    rows: int
    checks: tuple[Check, ...]

    def failed(self, severity: str) -> tuple[Check, ...]:
        """Return the failed checks of one severity, `critical` or `warning`."""
        return tuple(check for check in self.checks if check.passed is False and check.severity == severity)

    @property
    def passed(self) -> bool:
        """Whether no critical expectation failed."""
        return not self.failed("critical")


def kept_apart(rule: RandomSplit, shared: int, rows: int) -> Check:
    """Judge whether one split's rows are apart from the other splits', `shared` of them not being so."""
    scattered = rule.duplicates == "scatter" and not rule.group
    text = f"{shared:,} of {rows:,} rows are of a group that" if rule.group else f"{shared:,} of {rows:,} rows"
    text += " is in another split too" if rule.group else " equal a row of another split"
    severity = "warning" if scattered else "critical"
    return Check("rows_are_in_one_split_only", rule.group, "", severity, shared == 0, shared, text)


def describe(check: Check) -> str:
    """Say in a line what failed: column, rule, how many rows, examples."""
    where = ", ".join(check.columns) or "the table"
    rows = example_rows(check)
    rule = f"{check.rule} ({check.limits})" if check.limits else check.rule
    return f"{where}: {rule}: {check.text}" + (f", for example {rows}" if rows else "")


def example_rows(check: Check) -> str:
    """Write a check's example rows in one line."""
    return " | ".join(
        ", ".join(f"{name}={'missing' if value is None else value}" for name, value in row.items())
        for row in check.examples
    )


def report(result: ValidationResult) -> None:
    """Log each warning, and how a split did."""
    for check in result.failed("warning"):
        logger.warning("%s: %s", result.split, describe(check))
    done = sum(check.passed is not None for check in result.checks)
    logger.info(
        "%s: %s rows, %d expectations checked, %d critical failures, %d warnings",
        result.split,
        f"{result.rows:,}",
        done,
        len(result.failed("critical")),
        len(result.failed("warning")),
    )


def stop_on_failure(results: Iterable[ValidationResult], output_dir: Path | None) -> None:
    """Raise one DataError with every critical failure, if there is one."""
    lines = [f"  {result.split}: {describe(check)}" for result in results for check in result.failed("critical")]
    if lines:
        count = f"{len(lines)} critical expectations" if len(lines) > 1 else "a critical expectation"
        place = f" (all of it: {output_dir / 'index.html'})" if output_dir else ""
        advice = "Mend the source, or the dataset's YAML where it asks too much."
        raise DataError("\n".join([f"{count} failed{place}. {advice}", *lines]))
