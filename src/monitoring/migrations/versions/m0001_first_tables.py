"""The first tables: what was asked and answered, what came true, what was measured, told and decided."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "actuals",
        sa.Column("dataset", sa.String(64), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True, comment="as in predictions"),
        sa.Column("month", sa.String(7), primary_key=True, comment="YYYY-MM"),
        sa.Column("value", sa.Double, comment="in the target's unit; none of classes"),
        sa.Column("label", sa.Text, comment="the class; none of prices"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="UTC, when it was first told"),
        sa.Column("corrected_at", sa.DateTime(timezone=True), comment="UTC, when another value was told last"),
        sa.Column("corrections", sa.Integer, nullable=False, comment="how often another value was told"),
        sa.Column("source", sa.Text, nullable=False, comment="the file that told the value"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False, comment="a rule of the config's `monitoring`"),
        sa.Column(
            "subject", sa.String(200), nullable=False, comment="what of it, for example coverage_80; may be empty"
        ),
        sa.Column("month", sa.String(7), comment="YYYY-MM that it was first seen in; none of a rule about now"),
        sa.Column("value", sa.Double, nullable=False, comment="when it was first seen"),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), comment="none while the breach lasts"),
    )
    op.create_index(
        "alerts_open",
        "alerts",
        ["dataset", "rule", "subject"],
        unique=True,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "measures",
        sa.Column("dataset", sa.String(64), primary_key=True),
        sa.Column("month", sa.String(7), primary_key=True, comment="YYYY-MM"),
        sa.Column("version", sa.String(128), primary_key=True, comment="the model version that is measured"),
        sa.Column("name", sa.String(64), primary_key=True, comment="for example mdape, coverage_80, drift_share"),
        sa.Column(
            "segment", sa.String(200), primary_key=True, comment="name=value, for example metro=boston; empty: all rows"
        ),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False, comment="how many rows it rests on"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC, when it was measured"),
    )
    op.create_table(
        "requests",
        sa.Column(
            "id", number, primary_key=True, autoincrement=False, comment="counted from where a process drew at random"
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC, when the request came"),
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
    )
    op.create_index("requests_by_time", "requests", ["at"])
    op.create_index("requests_by_month", "requests", ["dataset", "last_month"])
    op.create_table(
        "retrainings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
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
    )
    op.create_index("retrainings_by_dataset", "retrainings", ["dataset", "at"])
    op.create_table(
        "notices",
        sa.Column("alert", sa.Integer, sa.ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("event", sa.String(16), primary_key=True, comment="breach or resolved"),
        sa.Column("channel", sa.String(16), primary_key=True, comment="log, webhook or sns"),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "claimed_at",
            sa.DateTime(timezone=True),
            comment="when somebody began to deliver it, so that nobody else does",
        ),
        sa.Column("delivered_at", sa.DateTime(timezone=True), comment="none until the channel has taken it"),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, comment="what the last attempt failed with"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("notices")
    op.drop_table("retrainings")
    op.drop_table("requests")
    op.drop_table("measures")
    op.drop_table("alerts")
    op.drop_table("actuals")
