"""A month's report in a few sentences: what changed, how much it matters."""

import polars as pl

from src.feature_pipeline.checks import describe
from src.monitoring.month_report import PREDICTED, MonthReport

MOST = 4


def headline(report: MonthReport) -> str:
    """Say in one line how the month is."""
    rows, limits = int(report.value("rows") or 0), report.config.monitoring
    if rows < limits.min_rows:
        return f"not enough data: {rows:,} rows, and fewer than {limits.min_rows:,} say too little"
    beyond = len(report.beyond)
    if not beyond:
        return "nothing is beyond its limit"
    return f"{beyond} of {len(report.verdicts)} rules {'is' if beyond == 1 else 'are'} beyond the limit"


def changes(report: MonthReport) -> list[str]:
    """Say which columns are farthest from the reference, and which checks failed."""
    lines = []
    found, threshold = report.drift, report.config.monitoring.drift_distance
    if found is not None:
        count = sum(one.drifted for one in found.columns)
        lines.append(
            f"{count:,} of {len(found.columns):,} columns drifted ({threshold:g} or more from the reference)."
            if count
            else f"No column of {len(found.columns):,} drifted: {found.columns[0].name} is the farthest."
        )
        for one in [one for one in found.columns if one.drifted][:MOST]:
            how = "has no value this month" if one.distance is None else f"distance {one.distance:.2f}"
            before_after = report.middles.get(one.name)
            went = f"; median {number(before_after[0])} → {number(before_after[1])}" if before_after else ""
            lines.append(f"{_named(one.name, report)}: {how}{went}.")
    if report.checked:
        failed = [*report.checked.failed("critical"), *report.checked.failed("warning")]
        lines += [f"Failed ({check.severity}): {describe(check)[:300]}." for check in failed[:MOST]]
        if len(failed) > MOST:
            lines.append(f"And {len(failed) - MOST:,} other expectations failed.")
    return lines


def importance(report: MonthReport, past: float | None) -> list[str]:
    """Say what it does to the estimates; `past` is MdAPE or accuracy of the month before."""
    lines, config = [], report.config
    unseen, rows = report.value("unseen_share") or 0.0, int(report.value("rows") or 0)
    share = report.value("actuals_share") or 0.0
    than = "" if past is None else f" ({past:.1%} the month before)"
    if share == 0:
        lines.append("What came true is known of no row yet: there is no error to tell.")
    elif (accuracy := report.value("accuracy")) is not None:
        lines.append(f"Right in {accuracy:.1%}{than} of the {share:.0%} of rows that are known.")
    elif (mdape := report.value("mdape")) is not None:
        bias = report.value("bias") or 0.0
        side = "too high" if bias > 0 else "too low"
        lines.append(f"MdAPE {mdape:.1%}{than}; estimates are {abs(bias):.1%} {side} in the median.")
        mae = report.value("mae")
        lines.append(f"MAE {mae:,.0f} {config.target.unit}; actuals are known of {share:.0%} of the rows.")
    held = [one for one in report.measures if one.name.startswith("coverage_") and not one.segment]
    if held:
        said = ", ".join(f"{one.value:.0%} of the {one.name.removeprefix('coverage_')}% intervals" for one in held)
        lines.append(f"The actual value was in {said}.")
    if unseen:
        lines.append(f"{unseen:.1%} of {rows:,} rows have a place or category that the model never saw.")
    return lines


def number(value: float) -> str:
    """Write a number for people."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _named(name: str, report: MonthReport) -> str:
    return f"the prediction ({report.config.target.label})" if name == PREDICTED else name


def before(report: MonthReport, past: pl.DataFrame) -> float | None:
    """Return the MdAPE, or the accuracy, of the newest month before this one that has one."""
    name = "accuracy" if report.config.task == "classification" else "mdape"
    values = past.filter(pl.col("name") == name).sort("month")["value"]
    return float(values[-1]) if len(values) else None
