"""Stage: check every raw split with Great Expectations; a critical failure stops the run.

Writes `<split>.json` (every check, with example rows of the failed ones), all of it as `index.html`, and Data Docs,
`docs/index.html`.
"""

import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from src.core.cli import add_input, add_output_dir, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig
from src.core.errors import ConfigError
from src.core.files import write_json
from src.core.sections import RandomSplit
from src.core.workspace import SPLITS, Workspace
from src.feature_pipeline import load, quality_page, splits
from src.feature_pipeline.checks import Check, ValidationResult, kept_apart, report, stop_on_failure
from src.feature_pipeline.expectations import TABLE_RULES, Rule, monthly_rules, rules

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

EXAMPLES = 3


def validate(frame: pl.DataFrame, config: DatasetConfig, split: str, output_dir: Path | None) -> ValidationResult:
    """Check one typed split.

    Args:
        frame: rows as the load stage types them.
        config: its columns, target, split and `expectations` make the suite.
        split: train, eval or holdout.
        output_dir: folder of `<split>.json` and `docs/`; None writes nothing.

    Raises:
        ConfigError: an entry of `expectations` is wrong.
        DataError: a critical expectation failed; names column, rule, number of rows and three of them.
    """
    return _validate({split: frame}, config, output_dir)[split]


def run(config: DatasetConfig, raw_dir: Path, output_dir: Path) -> dict[str, ValidationResult]:
    """Check the load stage's splits in `raw_dir`, all of them before a failure is raised, as `validate` does."""
    frames = {split: load.scan_split(raw_dir, split) for split in SPLITS}
    return _validate(frames, config, output_dir)


def check_month(frame: pl.DataFrame, config: DatasetConfig, month: str) -> ValidationResult:
    """Check one month's typed raw rows, without an error for what fails; the target may be missing.

    Raises:
        ConfigError: an entry of `expectations` is wrong.
    """
    return _check(frame, config, month, monthly_rules(config), _context(None))


def _validate(
    frames: Mapping[str, pl.DataFrame | pl.LazyFrame], config: DatasetConfig, output_dir: Path | None
) -> dict[str, ValidationResult]:
    suites = {split: rules(config, split) for split in frames}
    # rich takes 0.1 s to import, which the stages that import this one need not pay.
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    results = {}
    with _site(output_dir) as site:
        context = _context(site)
        for split in track(frames, "validate", console=console, disable=not sys.stderr.isatty(), transient=True):
            results[split] = _check(frames[split].lazy().collect(), config, split, suites[split], context)
        if site:
            context.build_data_docs()
    if isinstance(config.split, RandomSplit):
        results = _with_straddling(results, frames, config, config.split)
    for split, result in results.items():
        if output_dir:
            write_json(output_dir / f"{split}.json", {"dataset": config.name, "passed": result.passed} | asdict(result))
        report(result)
    if output_dir:
        quality_page.write(output_dir, config.title, results.values())
    stop_on_failure(results.values(), output_dir)
    return results


def _with_straddling(
    results: dict[str, ValidationResult],
    frames: Mapping[str, pl.DataFrame | pl.LazyFrame],
    config: DatasetConfig,
    rule: RandomSplit,
) -> dict[str, ValidationResult]:
    """Add what no split shows alone: whether rows of one are in another. Splits of other columns cannot be compared."""
    whole = {split: frame.lazy().collect() for split, frame in frames.items()}
    kinds = [frame.schema for frame in whole.values()]
    if any(kind != kinds[0] for kind in kinds) or not set(rule.drawn_by) <= set(kinds[0]):
        return results
    shared = splits.straddling(whole, config)
    return {
        split: replace(result, checks=(*result.checks, kept_apart(rule, shared[split], result.rows)))
        for split, result in results.items()
    }


@contextmanager
def _site(output_dir: Path | None) -> Iterator[Path | None]:
    """Yield a temporary folder that becomes `docs/` when the block succeeds."""
    if output_dir is None:
        yield None
        return
    docs, temporary = output_dir / "docs", output_dir / f".docs.{os.getpid()}.tmp"
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(docs, ignore_errors=True)
        temporary.replace(docs)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _context(site: Path | None) -> "EphemeralDataContext":
    # Imported here: it takes seconds, and only this stage needs it.
    import great_expectations as gx
    from great_expectations.data_context.types import base

    docs = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site and site.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(),
        data_docs_sites={"docs": docs} if site else {},
        progress_bars=base.ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _check(
    frame: pl.DataFrame, config: DatasetConfig, split: str, suite: Sequence[Rule], context: "EphemeralDataContext"
) -> ValidationResult:
    ready = {position: rule for position, rule in enumerate(suite) if _can_run(rule, frame, config)}
    outcome = _run_suite(frame.select(c for c in config.columns if c in frame.columns), split, ready, context)
    checks = {
        position: Check(rule.name, rule.columns, rule.limits, rule.severity, None, None, "not checked")
        for position, rule in enumerate(suite)
    }
    for result in outcome.results:
        assert result.expectation_config
        position = result.expectation_config.meta["position"]
        checks[position] = _outcome(suite[position], result, frame, config)
    return ValidationResult(split, frame.height, tuple(checks.values()))


def _can_run(rule: Rule, frame: pl.DataFrame, config: DatasetConfig) -> bool:
    """Whether a rule's columns are there and of their type; where they are not, the rules on that say so already."""
    if rule.name == "expect_column_to_exist":
        return True
    if not set(rule.columns) <= set(frame.columns):
        return False
    if rule.name in TABLE_RULES:
        return True
    kinds = [(config.columns[column].type, frame.schema[column]) for column in rule.columns]
    return not frame.is_empty() and all(_is_kind(dtype, kind) for kind, dtype in kinds)


def _is_kind(dtype: pl.DataType, kind: str) -> bool:
    return dtype.is_numeric() if kind == "number" else dtype.is_temporal() if kind == "date" else dtype == pl.String


def _run_suite(
    frame: pl.DataFrame, split: str, ready: Mapping[int, Rule], context: "EphemeralDataContext"
) -> "ExpectationSuiteValidationResult":
    from great_expectations import ExpectationSuite, ValidationDefinition
    from great_expectations.core.run_identifier import RunIdentifier

    for position, rule in ready.items():
        rule.expectation.meta = {"position": position}
    asset = context.data_sources.add_pandas(split).add_dataframe_asset(split)
    rows = asset.add_batch_definition_whole_dataframe(split)
    suite = context.suites.add(ExpectationSuite(split, expectations=[rule.expectation for rule in ready.values()]))
    definition = context.validation_definitions.add(ValidationDefinition(name=split, data=rows, suite=suite))
    return definition.run(
        batch_parameters={"dataframe": _to_pandas(frame)},
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES},
        run_id=RunIdentifier(run_name=split),
    )


def _to_pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    # Great Expectations compares nanoseconds all at once and other dates one by one; nanoseconds end in 2262.
    dates = [column.name for column in frame.select(pl.col(pl.Date)) if column.dt.year().is_between(1700, 2200).all()]
    return frame.with_columns(pl.col(dates).cast(pl.Datetime("ns"))).to_pandas()


def _outcome(rule: Rule, result: "ExpectationValidationResult", frame: pl.DataFrame, config: DatasetConfig) -> Check:
    raised = [
        info["exception_message"] for info in _exceptions(result.exception_info or {}) if info["raised_exception"]
    ]
    if raised:
        reasons = "; ".join(sorted(set(raised)))
        raise ConfigError(f"{rule.where}: {rule.name} cannot be checked ({rule.limits}): {reasons}")
    found = result.result
    rows = found.get("unexpected_count")
    if rule.name == "expect_column_to_exist":
        text = "is missing"
    elif rule.name == "expect_column_values_to_be_of_type":
        text = f"is {frame.schema[rule.columns[0]]}, not {config.columns[rule.columns[0]].type}"
    elif rows is None:
        text = f"found {found.get('observed_value')}"
    else:
        text = f"{rows:,} of {frame.height:,} rows"
    examples = _examples(found.get("partial_unexpected_index_list") or [], rule, frame, config)
    return Check(rule.name, rule.columns, rule.limits, rule.severity, bool(result.success), rows, text, examples)


def _exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    return [info] if "raised_exception" in info else list(info.values())


def _examples(
    positions: Sequence[int], rule: Rule, frame: pl.DataFrame, config: DatasetConfig
) -> tuple[dict[str, Any], ...]:
    shown = [c for c in dict.fromkeys((*config.keys, *rule.columns)) if c in frame.columns]
    rows = frame[list(positions[:EXAMPLES])].select(shown).to_dicts() if positions else []
    return tuple({name: _plain(value) for name, value in row.items()} for row in rows)


def _plain(value: Any) -> Any:
    """Make a cell safe for JSON, which has no dates and no NaN."""
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    made = parser(str(__doc__).splitlines()[0])
    add_input(made, "folder of the raw splits; the workspace's data/raw if not given")
    add_output_dir(made, "folder of the results; the workspace's reports/quality if not given")
    args = made.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    workspace = Workspace.of(config.name, settings)
    if args.input is None:
        load.ensure(config, workspace, settings)
    run(config, args.input or workspace.raw, args.output_dir or workspace.reports / "quality")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
