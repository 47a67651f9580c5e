"""Stage: price every month of a file, one predictions file a month: preds_YYYY_MM.parquet.

The files go to the predictions store. Each holds the keys, the region, the estimate with its intervals and flags, the
actual where it is known, and the model's version. Running a month again replaces its file whole. A month that fails
does not stop the others. Rows of a data set without dates are one batch, preds_all.parquet; without keys, a file holds
what they were priced from.
"""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from src.core import sealed_parquet
from src.core.batch_report import Month, Reporting
from src.core.cli import add_output_dir, add_store, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import ConfigError, HousecastError
from src.core.predictions_store import (
    SUFFIX,
    FolderPredictions,
    PredictionsStore,
    file_name,
    open_predictions,
)
from src.core.store import Store, open_store
from src.core.workspace import Workspace
from src.inference_pipeline.batch_input import INPUT_HELP, check_months, input_of, months_of, typed_month
from src.inference_pipeline.inference import bulk_threads, current_predictor, price, read_rows
from src.inference_pipeline.predictor import Predictor

logger = logging.getLogger(__name__)


def predict_month(rows: pl.DataFrame, predictor: Predictor, threads: int) -> pl.DataFrame:
    """Price one month's rows and keep what a reader of predictions needs."""
    config = predictor.config
    target = config.target.column
    priced = price(rows, predictor, threads)
    told_apart = config.keys or config.raw_inputs
    context = [name for name in dict.fromkeys((*told_apart, config.date, config.region)) if name in priced.columns]
    added = priced.columns[priced.columns.index(f"predicted_{target}") :]
    kind = pl.Float64 if config.task == "regression" else pl.String
    actual = pl.col(target).cast(kind, strict=False) if target in rows.columns else pl.lit(None, kind)
    return priced.select(
        *context, *added, actual.alias(f"actual_{target}"), pl.lit(predictor.version).alias("model_version")
    )


def _run_month(
    month: str, rows: pl.DataFrame | None, predictor: Predictor, output: PredictionsStore, suffix: str, threads: int
) -> Month:
    if rows is None:
        return Month(month=month, rows=0, error="no data for this month")
    if month == "undated":
        return Month(month=month, rows=rows.height, error=f"no readable {predictor.config.date}")
    name = file_name(month, suffix)
    try:
        output.put(name, _content(predict_month(rows, predictor, threads), suffix))
    except (HousecastError, OSError) as error:
        return Month(month=month, rows=rows.height, error=str(error))
    return Month(month=month, rows=rows.height, where=f"{output}/{name}")


def _content(frame: pl.DataFrame, suffix: str) -> bytes:
    return frame.write_csv().encode() if suffix == ".csv" else sealed_parquet.to_bytes(frame)


def run(
    config: DatasetConfig,
    input_path: Path,
    output: PredictionsStore,
    store: Store,
    settings: Settings,
    months: Sequence[str] = (),
    suffix: str = SUFFIX,
    reporting: Reporting | None = None,
) -> list[Month]:
    """Price the given months (`YYYY-MM`), or all that the input has.

    Raises:
        ConfigError: months are asked for, and rows have no date.
        HousecastError: a month failed or has no data; raised after the others have run, and names each.
    """
    reporting = reporting or Reporting(config.name)
    check_months(months, config)
    predictor = current_predictor(store, config.name, settings)
    parts = months_of(read_rows(input_path, config), config)
    done: list[Month] = []
    reporting.say(model_version=predictor.version, months=len(months or parts))
    for month in months or parts:
        result = _run_month(month, parts.get(month), predictor, output, suffix, bulk_threads(settings))
        if result.error:
            logger.error("%s: %s", month, result.error)
        else:
            logger.info("%s: %s rows -> %s", month, f"{result.rows:,}", result.where)
        done.append(result)
        reporting.say(done=tuple(done))
    failed = [result for result in done if result.error]
    if failed or not done:
        reasons = "; ".join(f"{result.month}: {result.error}" for result in failed) or f"{input_path} has no rows"
        raise HousecastError(f"{len(failed)} of {len(done)} months failed: {reasons}")
    return done


def check_monitor(*, csv: bool) -> None:
    """Refuse before anything is priced what could not be reported on afterwards (ConfigError)."""
    if csv:
        raise ConfigError("--monitor reads Parquet: leave out --csv")
    from src.monitoring import drift

    drift.require()


def monitor(
    config: DatasetConfig,
    input_path: Path,
    output: PredictionsStore,
    store: Store,
    settings: Settings,
    reporting: Reporting,
) -> None:
    """Report on the months that were priced, whatever became of the others; raises as `monitoring.report.run`."""
    months = [result.month for result in reporting.report.done if not result.error]
    if not months:
        return
    # It imports what the batch alone need not wait for.
    from src.monitoring import report, report_page

    asked = months if config.date else ()
    made = report.run(config, settings, months=asked, source=str(input_path), predictions=output, store=store)
    report_page.print_reports(made)


@contextmanager
def reported(reporting: Reporting) -> Iterator[None]:
    """Report how the block ended; what is no error of housecast's or the system's leaves the report unfinished."""
    reporting.say()
    try:
        yield
    except (HousecastError, OSError) as error:
        reporting.say(finished=True, error=str(error))
        raise
    reporting.say(finished=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args_parser = parser(__doc__.splitlines()[0])
    args_parser.add_argument("--input", help=INPUT_HELP)
    add_output_dir(args_parser, "folder of the predictions; the predictions store if not given")
    args_parser.add_argument(
        "--month", action="append", default=[], help="YYYY-MM, repeatable; every month if not given"
    )
    args_parser.add_argument("--csv", action="store_true", help="write CSV instead of Parquet, which the API reads")
    args_parser.add_argument("--report", type=Path, default=None, help="JSON file, kept up to date with what is done")
    args_parser.add_argument(
        "--monitor", action="store_true", help="report on the months afterwards, as `python -m src.monitoring.report`"
    )
    add_store(args_parser)
    args = args_parser.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    if args.monitor:
        check_monitor(csv=args.csv)
    reporting = Reporting(config.name, args.report)
    with reported(reporting):
        months = [typed_month(text) for text in args.month]
        output = FolderPredictions(args.output_dir) if args.output_dir else open_predictions(config.name, settings)
        store = open_store(args.store, settings, Workspace.of(config.name, settings).store)
        with input_of(args.input, config, settings) as path:
            failure = None
            try:
                run(config, path, output, store, settings, months, ".csv" if args.csv else SUFFIX, reporting)
            except HousecastError as error:
                failure = error
            if args.monitor:
                monitor(config, path, output, store, settings, reporting)
            if failure:
                raise failure


if __name__ == "__main__":
    # As Ctrl-C does: no half-written file stays, and what is finished does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(run_command(main))
