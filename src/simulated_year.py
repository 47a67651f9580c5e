"""Run a year in which things go wrong, a month at a time, and show what was noticed when and what retraining saved.

The simulated market drifts: prices jump in month 5 without the listings following, the feed of month 8 writes list
prices in cents, and a metro that nobody has seen comes up in month 10. Each month runs as in production: what came true
in the month before is told, the batch prices the month, reports measure both, `check` looks at the rules, and `retrain`
decides. Only the clock is not real.
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from src.batch import run_monthly
from src.core import metrics
from src.core.cli import EXIT_CODES, run_command
from src.core.config import DatasetConfig, Settings, load_config
from src.core.errors import ConfigError
from src.core.files import replacing, write_json
from src.core.predictions_store import FolderPredictions, file_name
from src.core.sections import Tuning
from src.core.store import FolderStore
from src.core.workspace import Workspace
from src.feature_pipeline.simulate import simulate
from src.inference_pipeline.inference import current_predictor
from src.inference_pipeline.predictor import Predictor
from src.monitoring import actuals, check, report, retrain
from src.monitoring.database import opened
from src.monitoring.tables import alerts

logger = logging.getLogger(__name__)

YEAR, FIRST_MONTHS = 2023, 142  # the market begins in 2012-03 and ends with the year
SHOCK, BROKEN, NEW = 5, 8, 10
JUMP = 1.25  # of prices
CENTS = 100
METRO = "Pittsburgh"
# What tells of a planted fault: its rules, and the months in which they speak of it. Errors of a shock last until a
# model has learned it; a month whose inputs are broken has bad estimates as well.
ERRORS = ("max_mdape", "coverage_tolerance")
SIGNS: dict[int, tuple[tuple[str, ...], range]] = {
    SHOCK: (ERRORS, range(SHOCK, 13)),
    BROKEN: (("max_column_drift", "max_drift_share", "max_failed_expectations", *ERRORS), range(BROKEN, BROKEN + 1)),
    NEW: (("max_unseen_share", "max_column_drift", *ERRORS), range(NEW, 13)),
}
FAULTS = {SHOCK: f"prices rise by {JUMP - 1:.0%}", BROKEN: "list prices in cents", NEW: f"a new metro, {METRO}"}


@dataclass(frozen=True)
class Month:
    """How a month went: MdAPE, and MAE in USD, of what served and of the first model."""

    month: str
    version: str
    served_mdape: float
    first_mdape: float
    served_mae: float
    first_mae: float
    retraining: str  # outcome in this month; empty: none was due

    @property
    def number(self) -> int:
        return int(self.month[5:])


@dataclass(frozen=True)
class Alert:
    """An alert of the year: the month it is about, the month in which it was opened, and the fault that explains it."""

    rule: str
    subject: str
    about: int
    opened: int
    resolved: int | None
    fault: int | None
    message: str


@dataclass(frozen=True)
class Year:
    """All that happened."""

    months: tuple[Month, ...]
    alerts: tuple[Alert, ...]

    def detected(self, fault: int) -> Alert | None:
        """Return the first alert that a fault explains."""
        return min((one for one in self.alerts if one.fault == fault), key=lambda one: one.opened, default=None)

    @property
    def false_alarms(self) -> list[Alert]:
        return [one for one in self.alerts if one.fault is None]

    def saved(self, *, without: int | None = None) -> float:
        """Return which share of the first model's absolute error what served did not have, perhaps without a month."""
        counted = [one for one in self.months if one.number != without]
        return 1 - sum(one.served_mae for one in counted) / sum(one.first_mae for one in counted)


def market(zips: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Simulate the market with its faults; returns the rows as the feed brings them, and as they should be."""
    rows = simulate(zips, FIRST_MONTHS, seed)
    month = pl.col("date").str.slice(5, 2).cast(pl.Int64)
    in_year = pl.col("date").str.starts_with(str(YEAR))
    rows = rows.filter(~(pl.col("city_full") == METRO) | (in_year & (month >= NEW)))
    jump = pl.when(in_year & (month >= SHOCK)).then(JUMP).otherwise(1.0)
    true = rows.with_columns(pl.col("price", "median_sale_price") * jump)
    cents = pl.when(in_year & (month == BROKEN)).then(CENTS).otherwise(1)
    return true.with_columns(pl.col("median_list_price") * cents), true


def config_of_year() -> DatasetConfig:
    """Return HouseTS's config with short waits: the newest month judges, and the one before it calibrates."""
    made = load_config("housets")
    quick = {"judged_months": 1, "eval_months": 1, "wait_months": 1}
    # The search is left out: it is the same recipe all year.
    return made.model_copy(
        update={"retraining": made.retraining.model_copy(update=quick), "tuning": Tuning(metric=made.tuning.metric)}
    )


def run(folder: Path, zips: int = 300, seed: int = 7, months: int = 12, config: DatasetConfig | None = None) -> Year:
    """Run the year, or its first months, in a folder of its own, which keeps the models, reports and the database.

    `config`: HouseTS's recipe with the waits of the year; `config_of_year` if None.
    """
    settings = Settings(
        workspace=folder, model_store=str(folder / "models"), predictions_store=str(folder / "predictions"),
        s3_bucket=None, database_url=None, mlflow_tracking_uri=None, alert_webhook=None, alert_topic=None,
        default_dataset="housets",
    )  # fmt: skip
    config = config or config_of_year()
    feed, true = market(zips, seed)
    store = FolderStore(Workspace.of(config.name, settings).store)
    output = FolderPredictions(folder / "predictions" / config.name)
    with opened(settings) as engine, tempfile.TemporaryDirectory(prefix="housecast-") as name:
        scratch = Path(name)
        clock = _Clock(config, settings, engine, store, output, feed, true, scratch)
        clock.retrain(0)
        first = current_predictor(store, config.name, settings)
        done = tuple(clock.step(number, first) for number in range(1, months + 1))
        clock.close(months)
        return Year(done, tuple(_alerts(engine, config)))


@dataclass
class _Clock:
    """The year as it passes."""

    config: DatasetConfig
    settings: Settings
    engine: sa.Engine
    store: FolderStore
    output: FolderPredictions
    feed: pl.DataFrame
    true: pl.DataFrame
    scratch: Path

    def step(self, number: int, first: Predictor) -> Month:
        """Let a month pass: what came true before it, its prices, reports, rules and retraining."""
        name = f"{YEAR}-{number:02}"
        logger.info("%s: %s", name, FAULTS.get(number, "nothing new"))
        self.tell(number - 1)
        source = self.scratch / "rows.parquet"
        # What came true is not known yet.
        unknown = [pl.lit(None, pl.Float64).alias(one) for one in ("price", "median_sale_price")]
        self.feed.filter(pl.col("date").is_between(pl.lit(str(YEAR)), pl.lit(f"{name}-99"))).with_columns(
            unknown
        ).write_parquet(source)
        run_monthly.run(self.config, source, self.output, self.store, self.settings, [name])
        self.look(number, source)
        decision = self.retrain(number)
        return self.judged(name, first, "" if decision.outcome == "not due" else decision.outcome)

    def close(self, number: int) -> None:
        """Tell what came true in the last month, and look once more."""
        self.tell(number)
        self.look(number + 1, self.scratch / "rows.parquet")

    def tell(self, number: int) -> None:
        if number == 0:
            return
        path = self.scratch / "actuals.csv"
        of_month = self.true.filter(pl.col("date").str.starts_with(f"{YEAR}-{number:02}"))
        of_month.select("zipcode", "date", "price").unique(["zipcode", "date"]).write_csv(path)
        values, _ = actuals.read(path, self.config)
        actuals.tell(values, self.config, self.engine, path.name, _day(number + 1))
        actuals.fill(values, self.config, self.output)

    def look(self, number: int, source: Path) -> None:
        report.run(
            self.config, self.settings, source=str(source), predictions=self.output, store=self.store, now=_day(number)
        )
        check.run(self.config, self.settings, self.engine, _day(number))

    def retrain(self, number: int) -> retrain.Decision:
        """Decide with all that is known: the months before this one."""
        path = self.scratch / "known.parquet"
        self.feed.filter(pl.col("date") < f"{YEAR}-{max(number, 1):02}-01").with_columns(
            pl.col("date").str.to_date()
        ).write_parquet(path)
        return retrain.run(self.config, self.settings, self.store, self.engine, str(path), now=_day(number))

    def judged(self, name: str, first: Predictor, outcome: str) -> Month:
        rows = self.true.filter(pl.col("date").str.starts_with(name))
        priced = pl.read_parquet(self.output.folder / file_name(name))
        asked = self.feed.filter(pl.col("date").str.starts_with(name))
        truth = rows["price"].to_numpy()
        served = priced["predicted_price"].to_numpy()
        never = first.predict(asked).estimate
        return Month(
            month=name,
            version=priced["model_version"][0],
            served_mdape=metrics.mdape(truth, served),
            first_mdape=metrics.mdape(truth, never),
            served_mae=metrics.mae(truth, served),
            first_mae=metrics.mae(truth, never),
            retraining=outcome,
        )


def _day(number: int) -> datetime:
    """Return when a month's work is done, some days after its end; that of month 0 when the year begins."""
    start = datetime(YEAR, 1, 1, tzinfo=UTC)
    if number == 0:
        return start
    return start.replace(year=YEAR + (number - 1) // 12, month=(number - 1) % 12 + 1) + timedelta(days=33)


def _alerts(engine: sa.Engine, config: DatasetConfig) -> list[Alert]:
    asked = sa.select(alerts).where(alerts.c.dataset == config.name).order_by(alerts.c.opened_at, alerts.c.id)
    with engine.connect() as connection:
        rows = connection.execute(asked).mappings().all()
    made = []
    for row in rows:
        opened_in = _number(row["opened_at"])
        about = int(row["month"][5:]) if row["month"] else opened_in
        fault = next((one for one, (rules, when) in SIGNS.items() if row["rule"] in rules and about in when), None)
        resolved = _number(row["resolved_at"]) if row["resolved_at"] else None
        made.append(Alert(row["rule"], row["subject"], about, opened_in, resolved, fault, row["message"]))
    return made


def _number(at: datetime) -> int:
    return next(number for number in range(14) if _day(number).date() == at.date())


def tables(year: Year) -> list[Table]:
    """Lay the year out for a terminal: its months, and what was noticed."""
    months = Table(title="a simulated year", title_justify="left")
    for name in ("month", "what happens", "MdAPE", "never retrained", "MAE, USD", "never retrained, USD", "retraining"):
        months.add_column(name, justify="left" if name in ("month", "what happens", "retraining") else "right")
    for one in year.months:
        months.add_row(
            one.month, FAULTS.get(one.number, ""), f"{one.served_mdape:.1%}", f"{one.first_mdape:.1%}",
            f"{one.served_mae:,.0f}", f"{one.first_mae:,.0f}", one.retraining,
        )  # fmt: skip
    seen = Table(title="what was noticed", title_justify="left")
    for name in ("opened", "over", "about", "rule", "of", "because", "what"):
        seen.add_column(name, overflow="fold")
    for alert in year.alerts:
        because = FAULTS[alert.fault] if alert.fault else "false alarm"
        seen.add_row(
            f"{YEAR}-{alert.opened:02}" if alert.opened < 13 else f"{YEAR + 1}-01",
            f"{alert.resolved}" if alert.resolved else "open", f"{YEAR}-{alert.about:02}",
            alert.rule, alert.subject, because, alert.message.partition(": ")[2],
        )  # fmt: skip
    return [months, seen]


def sentences(year: Year) -> list[str]:
    """Sum the year up."""
    said = []
    for fault, what in FAULTS.items():
        alert = year.detected(fault)
        when = "was not noticed"
        if alert:
            late = alert.opened - fault
            when = f"was noticed {'in the same month' if late <= 0 else f'{late} month later'} ({alert.rule})"
        said.append(f"month {fault}, {what}: {when}")
    said.append(f"false alarms: {len(year.false_alarms)}")
    rest = year.saved(without=BROKEN)
    said.append(
        f"retraining saved {year.saved():.1%} of the year's absolute error against never retraining,"
        f" and {rest:.1%} of it without month {BROKEN}, whose inputs no model can read"
    )
    return said


def draw(year: Year, path: Path) -> None:
    """Draw the errors of the months, the faults, the alerts and the promotions (PNG)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    numbers = [one.number for one in year.months]
    axes.plot(numbers, [100 * one.first_mdape for one in year.months], "--", color="#888888", label="never retrained")
    axes.plot(numbers, [100 * one.served_mdape for one in year.months], color="#1f77b4", label="with retraining")
    high = axes.get_xaxis_transform()  # months to the right, parts of the picture up
    for number, what in FAULTS.items():
        if number in numbers:
            axes.axvline(number, color="#d62728", linewidth=0.8)
            axes.text(number + 0.08, 0.95, what, fontsize=8, color="#d62728", transform=high)
    promoted = [one.number for one in year.months if one.retraining == "promoted"]
    marks = (
        ([one.opened for one in year.alerts if one.fault], 0.87, "v", "#2ca02c", "alert"),
        ([one.opened for one in year.false_alarms], 0.83, "v", "#ff7f0e", "false alarm"),
        (promoted, 0.03, "^", "#9467bd", "a challenger is promoted"),
    )
    for at, height, marker, colour, label in marks:
        axes.scatter(at, [height] * len(at), marker=marker, color=colour, label=label, transform=high, zorder=3)
    axes.set(xlabel=f"month of {YEAR}", ylabel="median absolute percentage error", xticks=numbers, yscale="log")
    axes.set(ylim=(3, 400), yticks=[5, 10, 20, 50, 100], yticklabels=["5 %", "10 %", "20 %", "50 %", "100 %"])
    axes.minorticks_off()
    axes.legend(fontsize=8, loc="center left")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the year from the command line."""
    made = argparse.ArgumentParser(
        prog="python -m src.simulated_year",
        description=str(__doc__),
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--output", type=Path, default=Path("reports/simulated_year"), help="an empty folder, or none")
    made.add_argument("--zips", type=int, default=300, help="ZIP codes of the market")
    made.add_argument("--seed", type=int, default=7)
    args = made.parse_args(argv)
    if args.output.exists() and any(args.output.iterdir()):
        raise ConfigError(f"{args.output} is not empty: remove it, or name another folder with --output")
    args.output.mkdir(parents=True, exist_ok=True)
    year = run(args.output.resolve() / "work", args.zips, args.seed)
    write_json(args.output / "year.json", asdict(year))
    draw(year, args.output / "year.png")
    console = Console(width=max(Console().width, 120))
    for table in tables(year):
        console.print(table)
    for line in sentences(year):
        console.print(line)
    console.print(f"chart and figures: {args.output}/year.png, year.json")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
