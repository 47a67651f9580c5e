"""What the service says of its work: a line of JSON for each request, and metrics for Prometheus."""

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from pydantic_core import to_json

from src.api.lines import LINES
from src.api.model_metrics import ModelMetrics
from src.api.stats import Stats
from src.monitoring.writer import Counts

if TYPE_CHECKING:
    from src.api.front import Call
    from src.api.served import Models
    from src.monitoring.writer import Writer

logger = logging.getLogger("src.api.requests")

# Seconds, and rows.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000)


class Telemetry:
    """Counts requests and writes their lines; lives in the event loop."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "housecast_requests",
            "Requests by route, method, status and data set, which is empty where none was asked",
            ("route", "method", "status", "dataset"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "housecast_request_seconds",
            "Time from a request's headers to the end of its answer",
            ("route", "dataset"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._sizes = Histogram(
            "housecast_request_rows",
            "Rows of a request that was priced",
            ("dataset",),
            buckets=ROWS_BUCKETS,
            registry=self.registry,
        )
        self._rows = Counter("housecast_predictions", "Rows priced", ("dataset",), registry=self.registry)
        self._dropped = Counter(
            "housecast_log_lines_dropped", "Lines of the log that nobody took in time", registry=self.registry
        )
        self.in_flight = Gauge("housecast_requests_in_flight", "Requests at work", registry=self.registry)
        self._models = ModelMetrics(self.registry)
        self._logged = Counter(
            "housecast_log_rows",
            "Rows of the prediction log: written, dropped because too many waited, or refused by the database",
            ("outcome",),
            registry=self.registry,
        )
        self._log_failures = Counter(
            "housecast_log_failures", "Attempts to write the prediction log that failed", registry=self.registry
        )
        self._log_waiting = Gauge(
            "housecast_log_rows_waiting", "Rows that wait for the prediction log", registry=self.registry
        )
        self.started_at = datetime.now(UTC)
        self.stats: dict[str, Stats] = {}
        # Finding a child by its labels costs more than counting.
        self._children: dict[tuple[str, str, int, str], tuple[Any, Any]] = {}
        self._rows_of: dict[str, tuple[Any, Any]] = {}
        self._dropped_before = LINES.dropped
        self._log_before = Counts()

    def record(self, call: "Call", seconds: float) -> None:
        """Count a request that has ended and write its line, which never holds anything of its rows."""
        key = (call.route, call.method, call.status, call.dataset)
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(*map(str, key)), self._seconds.labels(call.route, call.dataset)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)
        if call.dataset:
            stats = self.stats.get(call.dataset)
            if stats is None:
                stats = self.stats[call.dataset] = Stats()
            stats.add(call, seconds)
        if call.rows:
            rows = self._rows_of.get(call.dataset)
            if rows is None:
                rows = self._rows.labels(call.dataset), self._sizes.labels(call.dataset)
                self._rows_of[call.dataset] = rows
            rows[0].inc(call.rows)
            rows[1].observe(call.rows)
        if logger.isEnabledFor(logging.INFO):
            self._line(call, seconds)

    def describe(self, models: "Models") -> None:
        """Set what the metrics say of the models that serve, and of the log's lines."""
        self._models.describe(models)
        dropped, self._dropped_before = LINES.dropped - self._dropped_before, LINES.dropped
        self._dropped.inc(dropped)

    def describe_log(self, log: "Writer") -> None:
        """Set what the metrics say of the prediction log."""
        self._log_waiting.set(log.waiting)
        now, before = log.counts, self._log_before
        for outcome in ("written", "dropped", "refused"):
            self._logged.labels(outcome).inc(getattr(now, outcome) - getattr(before, outcome))
        self._log_failures.inc(now.failures - before.failures)
        self._log_before = replace(now)

    def _line(self, call: "Call", seconds: float) -> None:
        line = {
            "time": call.at,
            "level": "INFO",
            "request_id": call.id,
            "method": call.method,
            "route": call.route,
            "status": call.status,
            "ms": round(seconds * 1000, 3),
            "caller": call.caller,
        }
        if call.dataset:
            line |= {"dataset": call.dataset, "version": call.version, "rows": call.rows}
        LINES.put(to_json(line, inf_nan_mode="null"))
