"""Stage: report on months that were predicted: drift, errors, coverage, data quality.

Writes `reports/<dataset>/<month>/report.html`, `report.json` and Evidently's own pages, and the measures to the
monitoring database. Without --month: every month whose predictions are others than its report is about.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import polars as pl
import sqlalchemy as sa

from src.core.cli import add_store, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, DataError, HousecastError, StoreError
from src.core.predictions_store import PredictionsFile, PredictionsStore, open_predictions
from src.core.reports_store import ReportsStore, open_reports
from src.core.store import Store, open_store
from src.core.workspace import Workspace
from src.inference_pipeline.batch_input import INPUT_HELP, check_months, input_of, months_of, typed_month
from src.inference_pipeline.inference import read_rows
from src.inference_pipeline.prediction_file import Layout, read_month
from src.monitoring import drift, measures, report_page, report_words
from src.monitoring.database import opened
from src.monitoring.month_report import MonthReport, measured
from src.monitoring.reference import Reference, read_reference

logger = logging.getLogger(__name__)

PAGE, CONTENT, EVIDENTLY = "report.html", "report.json", "evidently.json"
# What the charts of the months so far are of.
CHARTED = ("mdape", "accuracy", "drift_share", "unseen_share")


def run(
    config: DatasetConfig,
    settings: Settings,
    *,
    months: Sequence[str] = (),
    source: str | None = None,
    predictions: PredictionsStore | None = None,
    store: Store | None = None,
    now: datetime | None = None,
) -> list[MonthReport]:
    """Report on the given months (`YYYY-MM`), or on all whose predictions changed since their report.

    Args:
        config: names columns, expectations and limits.
        settings: the deployment: stores and monitoring database.
        months: only those, whether changed or not.
        source: the raw rows, as of the batch; BATCH_INPUT, else the raw holdout if not given.
        predictions: where the batch's output is; the deployment's if not given.
        store: the model store; the deployment's if not given.
        now: when the reports are made.

    Raises:
        ConfigError: a package is missing, a month has no predictions, or the input does not exist.
        StoreError: the store or the database does not answer; a month is reported whole, or again the next time.
        HousecastError: a month's files cannot be read; raised after the others, and names each.
    """
    drift.require()
    check_months(months, config)
    predictions = predictions or open_predictions(config.name, settings)
    store = store or open_store(None, settings, Workspace.of(config.name, settings).store)
    reports = open_reports(config.name, settings)
    files = {file.month: file for file in predictions.files()}
    asked = _asked(files, months, reports, predictions, config)
    if not asked:
        return []
    with input_of(source, config, settings) as path:
        raw = months_of(read_rows(path, config), config)
    done, failed = [], []
    # Months that follow each other are of one version mostly.
    reference_of = lru_cache(maxsize=2)(partial(read_reference, store, config.name))
    # Before anything is written: without a database there is no report.
    with opened(settings) as engine:
        for month in asked:
            try:
                made = report_month(
                    files[month],
                    raw.get(month),
                    config,
                    predictions,
                    reference_of,
                    at=now or datetime.now(UTC),
                    is_newest=month == max(files),
                )
            except StoreError:
                raise
            except HousecastError as error:
                logger.error("%s: %s", month, error)  # noqa: TRY400  (a message, not a traceback)
                failed.append(f"{month}: {error}")
                continue
            publish(made, reports, engine)
            logger.info("%s: %s -> %s/%s/%s", month, report_words.headline(made), reports, month, PAGE)
            done.append(made)
    if failed:
        raise HousecastError(f"{len(failed)} of {len(asked)} months have no report: {'; '.join(failed)}")
    return done


def _asked(
    files: Mapping[str, PredictionsFile],
    months: Sequence[str],
    reports: ReportsStore,
    predictions: PredictionsStore,
    config: DatasetConfig,
) -> list[str]:
    absent = [month for month in months if month not in files]
    if absent or not files:
        raise ConfigError(
            f"no predictions of {', '.join(absent) or config.name} in {predictions}: run `python -m"
            f" src.batch.run_monthly --dataset {config.argument}` first"
        )
    return [*months] if months else [month for month, file in files.items() if _tag_of(reports, month) != file.tag]


def _tag_of(reports: ReportsStore, month: str) -> str | None:
    content = reports.read(month, CONTENT)
    try:
        said: Any = json.loads(content)["predictions_tag"] if content else None
    except (ValueError, KeyError, TypeError):
        return None  # of another housecast, or torn: it is made anew
    return said if isinstance(said, str) else None


def report_month(
    file: PredictionsFile,
    raw: pl.DataFrame | None,
    config: DatasetConfig,
    predictions: PredictionsStore,
    reference_of: Callable[[str], Reference],
    *,
    at: datetime,
    is_newest: bool = True,
) -> MonthReport:
    """Read one month's predictions and measure them.

    Raises:
        DataError: the predictions' file is damaged, or not of one version.
        StoreError, BundleError: the version that made them cannot be read.
    """
    content, tag = predictions.read(file.name)
    try:
        rows = read_month(content, file.month, Layout(config), as_written=True)
    except DataError as error:
        raise DataError(f"{predictions}/{file.name}: {error}") from error
    versions = rows["model_version"].cast(pl.String).unique().drop_nulls().to_list()
    if len(versions) != 1:
        raise DataError(
            f"{predictions}/{file.name}: its rows are of {len(versions)} model versions, and a report is about one"
        )
    return measured(file.month, rows, raw, reference_of(versions[0]), config, at=at, tag=tag, is_newest=is_newest)


def publish(report: MonthReport, reports: ReportsStore, engine: sa.Engine) -> None:
    """Write a report's pages, then its measures in one transaction, then `report.json`.

    `report.json` holds the tag by which a report is known to be up to date. It comes last, so that a store or a
    database that went down in between leaves a month that is reported again, and never one that passes for done.
    """
    config, month = report.config, report.month
    names = [*CHARTED, *(f"coverage_{100 * level:g}" for level in config.levels)]
    past = measures.read(engine, config.name, names=names, segment="")
    past = past.filter(pl.col("month") < month)
    for name, content in report.pages.items():
        reports.put(month, name, content)
    if report.drift:
        reports.put(month, EVIDENTLY, json.dumps(report.drift.content, default=str).encode())
    reports.put(month, PAGE, report_page.page(report, past).encode())
    measures.replace(engine, config.name, month, report.version, report.measures, report.at)
    reports.put(month, CONTENT, as_json(report, past))


def as_json(report: MonthReport, past: pl.DataFrame) -> bytes:
    """Write what the page says for programs."""
    checks = report.checked.checks if report.checked else ()
    content = {
        "dataset": report.config.name,
        "month": report.month,
        "model_version": report.version,
        "at": report.at.isoformat(),
        "predictions_tag": report.tag,
        "headline": report_words.headline(report),
        "what_changed": report_words.changes(report),
        "how_much_it_matters": report_words.importance(report, report_words.before(report, past)),
        "look_at": {"what": report.look_why, "rows": report.look_at},
        "verdicts": [asdict(one) for one in report.verdicts],
        "measures": [asdict(one) for one in report.measures],
        "failed_expectations": [asdict(one) for one in checks if one.passed is False],
        "notes": report.notes,
        "pages": sorted((PAGE, *report.pages)),
    }
    return (json.dumps(content, indent=2, default=str) + "\n").encode()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args_parser = parser(str(__doc__).splitlines()[0])
    args_parser.add_argument("--input", help=INPUT_HELP)
    args_parser.add_argument(
        "--month", action="append", default=[], help="YYYY-MM, repeatable; those that changed if not given"
    )
    add_store(args_parser)
    args = args_parser.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    months = [typed_month(text) for text in args.month]
    store = open_store(args.store, settings, Workspace.of(config.name, settings).store)
    report_page.print_reports(run(config, settings, months=months, source=args.input, store=store))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
