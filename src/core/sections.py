"""The sections of a dataset's YAML, each with what it allows."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from src.core.address import refuse_credentials
from src.core.errors import ConfigError

SQLITE_SUFFIXES = (".sqlite", ".sqlite3", ".db")
# Comments and brackets may stand before the first word of a query.
_READS = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with)\b", re.IGNORECASE | re.DOTALL)


class Section(BaseModel):
    """What every section is: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Section):
    """One column of the raw file. Written short in YAML as its type alone: `price: number`."""

    type: Literal["number", "text", "date"]
    pad: int | None = Field(None, ge=1, description="restore leading zeros up to this length (text only)")
    tidy: bool = Field(False, description="normalise case, dashes and spaces (text only)")
    drop: str | None = Field(None, description="regular expression removed after tidying (text only)")
    renames: dict[str, str] = Field(default_factory=dict, description="known other spellings, after tidying")
    min: float | None = Field(None, description="smallest believable value; of the target, no estimate is below it")
    max: float | None = None
    unit: str | None = None
    required: bool = Field(False, description="a row without a value cannot be priced")
    nullable: bool = Field(False, description="the raw data leave it empty in places, so a request may say null")


def short_column(value: Any) -> Any:
    """Read a column that is written as its type alone."""
    return {"type": value} if isinstance(value, str) else value


class Source(Section):
    """Where rows come from: SQL_URL for a table or query, the files, the default; docs/sources.md has each kind."""

    files: tuple[str, ...] = Field((), description="looked for under DATA_ROOT, first match wins")
    table: str | None = Field(
        None, pattern=r"^[^./\\]+(\.[^./\\]+)?$", description="of a database: name or schema.name"
    )
    query: str | None = Field(None, description="of a database, in place of a table: one SELECT")
    default: str | None = Field(None, description="source used when no file is there, for example simulate:zips=300")
    origin: str | None = Field(None, description="where a person gets the file")
    rename: dict[str, str] = Field(default_factory=dict, description="column name in the file -> name here")

    @model_validator(mode="after")
    def _database_is_read_one_way(self) -> "Source":
        if self.table and self.query:
            raise ValueError("table and query are both given: one of them says what is read")
        if self.query is not None and not _READS.match(self.query):
            raise ValueError(f"query must start with SELECT or WITH, it only reads (got {self.query[:40]!r})")
        for name in (*self.files, self.default or ""):
            if name.lower().endswith(SQLITE_SUFFIXES) and not (self.table or self.query):
                raise ValueError(f"{name} is a database: add `table` or `query`, which says what of it is read")
        return self

    @model_validator(mode="after")
    def _default_is_not_secret(self) -> "Source":
        try:
            refuse_credentials(self.default or "")
        except ConfigError as error:
            raise ValueError(f"default: {error}") from error
        return self


class Missing(Section):
    """A number that the file writes where it means `missing`."""

    code: float
    columns: tuple[str, ...] = Field(min_length=1)


class TimeSplit(Section):
    """train < eval_from <= eval < holdout_from <= holdout."""

    by: Literal["time"]
    column: str
    eval_from: date
    holdout_from: date

    @model_validator(mode="after")
    def _ordered(self) -> "TimeSplit":
        if self.eval_from >= self.holdout_from:
            raise ValueError(f"eval_from {self.eval_from} must be before holdout_from {self.holdout_from}")
        return self


class RandomSplit(Section):
    """Rows drawn by a seed, in units that never straddle two splits: equal rows, or the rows of a group.

    `eval` and `holdout` are shares of all rows, and within each class where the split is stratified. The holdout is
    the test set of scikit-learn's `train_test_split(test_size=holdout, random_state=seed)` where every row is a unit.
    """

    by: Literal["random"]
    seed: int = Field(42, ge=0, lt=2**32)
    eval: float = Field(0.1, gt=0, lt=1)
    holdout: float = Field(0.2, gt=0, lt=1)
    stratify: str | None = Field(None, description="column of classes, each with the same shares in every split")
    group: tuple[str, ...] = Field((), description="columns; rows that agree in them stay together")
    duplicates: Literal["together", "drop", "scatter"] = Field(
        "together", description="equal rows: in one split, only the first copy, or left where chance puts them"
    )
    column: str | None = Field(None, description="date column, for reports and batches by month")

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "RandomSplit":
        if self.eval + self.holdout >= 1:
            raise ValueError(f"eval {self.eval} and holdout {self.holdout} leave nothing to train on")
        if self.stratify and self.group:
            raise ValueError("stratify and group together are not possible: a group may hold rows of several classes")
        return self

    @property
    def drawn_by(self) -> tuple[str, ...]:
        """Columns that decide, beside chance, where a row goes."""
        return (*self.group, self.stratify) if self.stratify else self.group


Split = Annotated[TimeSplit | RandomSplit, Field(discriminator="by")]


class Lookup(Section):
    """Columns joined from a small table beside the YAML, by the tidied text of one column."""

    table: str
    by: str
    add: tuple[str, ...] = Field(min_length=1)
    max_unmatched: float = Field(0.0, ge=0, le=1, description="share of rows that may stay unmatched")


class RowRules(Section):
    """What training does to its rows; eval, holdout and serving keep every row."""

    unique: bool = False
    max: dict[str, float] = Field(default_factory=dict, description="drop training rows above this value")
    min: dict[str, float] = Field(default_factory=dict, description="drop training rows below this value")


class Target(Section):
    """What is predicted: a number, in its unit and on the scale on which the model learns it, or a class."""

    column: str
    unit: str = "USD"
    label: str = "price"
    transform: Literal["none", "log"] = "none"
    classes: tuple[str, ...] = Field((), description="classification: every class, in the order of probabilities")


class EarlyStopping(Section):
    """Stop adding trees when the last months of train, or a random share where the split is random, stop improving."""

    rounds: int = Field(50, ge=1)
    months: int = Field(12, ge=1)
    share: float = Field(0.15, gt=0, lt=1, description="of train's rows, where the split is random")


class Trend(Section):
    """A ridge regression of the target on the logs of a few features, under the trees (inference_pipeline/trend.py)."""

    columns: tuple[str, ...] = Field(min_length=1)
    ridge: float = Field(1.0, gt=0)
    share: float = Field(0.5, ge=0, le=1, description="of the regression that is used; `trend_share` in tuning.space")


REGRESSORS = (
    "xgboost",
    "linear",
    "ridge",
    "decision_tree",
    "random_forest",
    "extra_trees",
    "hist_gradient_boosting",
    "k_neighbors",
)
CLASSIFIERS = ("xgboost", "logistic_regression", *REGRESSORS[3:])
FAMILIES = {"regression": REGRESSORS, "classification": CLASSIFIERS}


class Family(Section):
    """An alternative to the model, for `train --family` and `compare`."""

    family: str | None = Field(None, description="the entry's own name if not given")
    params: dict[str, Any] = Field(default_factory=dict)
    transform: Literal["none", "log"] | None = Field(None, description="of the target; the model's if not given")
    features: tuple[str, ...] = Field((), description="those that it sees; all if not given")
    space: dict[str, "IntRange | FloatRange | Choice"] = Field(default_factory=dict, description="as tuning.space")


class Model(Section):
    """The family and its parameters; tuned parameters override them."""

    family: str = "xgboost"
    variant: str | None = Field(None, description="entry of `families` that it was made from")
    params: dict[str, Any] = Field(default_factory=dict)
    max_rounds: int = Field(2000, ge=1)
    early_stopping: EarlyStopping = EarlyStopping()
    trend: Trend | None = None
    seed: int = 42


class IntRange(Section):
    """Whole numbers from low to high, both included."""

    int: tuple[int, int]
    log: bool = False


class FloatRange(Section):
    """Real numbers from low to high."""

    float: tuple[float, float]
    log: bool = False


class Choice(Section):
    """One of the listed values."""

    choice: tuple[float | int | str, ...] = Field(min_length=1)


class Tuning(Section):
    """The search, inside train only."""

    trials: int = Field(20, ge=1)
    folds: int = Field(3, ge=1, description="rolling origins, or random folds where the split is random")
    fold_months: int = Field(12, ge=1, description="how many months after its origin a rolling origin is tested on")
    metric: Literal["mape", "mae", "rmse", "mdape", "log_loss"] = "mape"
    space: dict[str, IntRange | FloatRange | Choice] = Field(default_factory=dict)


class Compare(Section):
    """On which splits `compare` judges the model, the families and the baselines beside each other."""

    seeds: tuple[int, ...] = Field((), description="a random split again with each of these seeds; its own if none")
    folds: int | None = Field(None, ge=2, description="cross-validation in so many parts, in place of seeds")
    splits: dict[str, Split] = Field(default_factory=dict, description="further splits, each by a name of your own")


# The splits that judge a model, and what it is judged beside.
JUDGED = ("eval", "holdout")
BASELINES = {
    "regression": ("median", "linear", "last_known", "place_median"),
    "classification": ("majority", "linear"),
}


class Gate(Section):
    """Thresholds a model must reach to be promoted, by split and metric."""

    max: dict[str, dict[str, float]] = Field(default_factory=dict, description="split -> metric -> largest allowed")
    min: dict[str, dict[str, float]] = Field(default_factory=dict, description="split -> metric -> smallest allowed")
    beats: tuple[str, ...] = Field((), description="baselines whose eval MAE the model must undercut")
    tolerance: float = Field(0.01, ge=0, description="how much worse than the current model it may be, relative MAE")


class Segment(Section):
    """A report by group: of a column's values, of months, or of price deciles."""

    name: str
    by: Literal["column", "month", "price_decile"] = "column"
    column: str | None = None
    min_rows: int = Field(10, ge=1, description="smaller groups say `not enough data`")


class Expectation(Section):
    """One Great Expectations rule: its class in snake case, its arguments and how bad a breach is."""

    rule: str
    severity: Literal["critical", "warning"] = "critical"
    args: dict[str, Any] = Field(default_factory=dict)
