"""The tables of the monitoring database. Their migrations are in `migrations/`; a test holds both to be the same."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone, UTC in every database: SQLite has no zones, and gives back what is in it."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Write it in UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Read it as UTC."""
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


metadata = sa.MetaData()

# What SQLite counts rows with itself must be its own INTEGER.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# What the API was asked and answered, as it came and went: `recorded.py` makes a row of each prediction of it.
requests = sa.Table(
    "requests",
    metadata,
    # Given by whoever wrote the row, so that writing it again after a lost answer changes nothing.
    sa.Column(
        "id", _NUMBER, primary_key=True, autoincrement=False, comment="counted from where a process drew at random"
    ),
    sa.Column("at", UtcTime, nullable=False, comment="UTC, when the request came"),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("version", sa.String(128), nullable=False, comment="the model version that answered"),
    sa.Column("role", sa.String(16), nullable=False, comment="champion; challenger in shadow mode"),
    sa.Column("status", sa.Integer, nullable=False, comment="of HTTP: 200, or 5xx of a request that failed"),
    sa.Column("rows", sa.Integer, nullable=False, comment="predictions in the answer"),
    sa.Column("first_month", sa.String(7), comment="YYYY-MM, the least of the rows; none without dates"),
    sa.Column("last_month", sa.String(7), comment="YYYY-MM, the greatest of the rows"),
    sa.Column("milliseconds", sa.Double, nullable=False, comment="from the request's headers to its answer"),
    sa.Column("inputs", sa.Text, comment="JSON: the rows; none of a file that was scored, and of a failure"),
    sa.Column("answer", sa.Text, comment="JSON: the answer of POST /predict to these rows"),
    sa.Index("requests_by_month", "dataset", "last_month"),
    sa.Index("requests_by_time", "at"),
)

actuals = sa.Table(
    "actuals",
    metadata,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True, comment="as in predictions"),
    sa.Column("month", sa.String(7), primary_key=True, comment="YYYY-MM"),
    sa.Column("value", sa.Double, comment="in the target's unit; none of classes"),
    sa.Column("label", sa.Text, comment="the class; none of prices"),
    sa.Column("received_at", UtcTime, nullable=False, comment="UTC, when it was first told"),
    sa.Column("corrected_at", UtcTime, comment="UTC, when another value was told last"),
    sa.Column("corrections", sa.Integer, nullable=False, comment="how often another value was told"),
    sa.Column("source", sa.Text, nullable=False, comment="the file that told the value"),
)

# What the reports found: a row for each measure of a month, version and segment; running a report again replaces them.
measures = sa.Table(
    "measures",
    metadata,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True, comment="YYYY-MM"),
    sa.Column("version", sa.String(128), primary_key=True, comment="the model version that is measured"),
    sa.Column("name", sa.String(64), primary_key=True, comment="for example mdape, coverage_80, drift_share"),
    sa.Column(
        "segment", sa.String(200), primary_key=True, comment="name=value, for example metro=boston; empty: all rows"
    ),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False, comment="how many rows it rests on"),
    sa.Column("at", UtcTime, nullable=False, comment="UTC, when it was measured"),
)

# One row for each breach of a rule, from the first look that saw it to the first that no longer does.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("rule", sa.String(64), nullable=False, comment="a rule of the config's `monitoring`"),
    sa.Column("subject", sa.String(200), nullable=False, comment="what of it, for example coverage_80; may be empty"),
    sa.Column("month", sa.String(7), comment="YYYY-MM that it was first seen in; none of a rule about now"),
    sa.Column("value", sa.Double, nullable=False, comment="when it was first seen"),
    sa.Column("threshold", sa.Double, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Column("resolved_at", UtcTime, comment="none while the breach lasts"),
    sa.Index(
        "alerts_open",
        "dataset",
        "rule",
        "subject",
        unique=True,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    ),
)

# What is to be told of an alert, and was: written with the alert, so that a channel that is down gets it later.
notices = sa.Table(
    "notices",
    metadata,
    sa.Column("alert", sa.Integer, sa.ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("event", sa.String(16), primary_key=True, comment="breach or resolved"),
    sa.Column("channel", sa.String(16), primary_key=True, comment="log, webhook or sns"),
    sa.Column("made_at", UtcTime, nullable=False),
    sa.Column("claimed_at", UtcTime, comment="when somebody began to deliver it, so that nobody else does"),
    sa.Column("delivered_at", UtcTime, comment="none until the channel has taken it"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", sa.Text, comment="what the last attempt failed with"),
)

# Each decision about a better model, with its reason.
retrainings = sa.Table(
    "retrainings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("month", sa.String(7), comment="YYYY-MM, the newest of the data that were known"),
    sa.Column("due", sa.Text, nullable=False, comment="why it was due"),
    sa.Column("champion", sa.String(128), comment="the version that served"),
    sa.Column("challenger", sa.String(128), comment="the version that was trained; none where training failed"),
    sa.Column("outcome", sa.String(16), nullable=False, comment="promoted, refused or failed"),
    sa.Column("reason", sa.Text, nullable=False, comment="why it was promoted or not"),
    sa.Column("champion_error", sa.Double, comment="on the judged months, in the target's unit (MAE)"),
    sa.Column("challenger_error", sa.Double),
    sa.Column("difference", sa.Double, comment="challenger less champion; below 0 the challenger is better"),
    sa.Column("lower", sa.Double, comment="of the difference's confidence interval"),
    sa.Column("upper", sa.Double),
    sa.Index("retrainings_by_dataset", "dataset", "at"),
)
