"""What the service says of its work: a line of JSON for each request, and metrics for Prometheus."""

import logging
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pydantic_core import to_json

from src.api.lines import LINES

if TYPE_CHECKING:
    from src.api.front import Call
    from src.api.served import Models

logger = logging.getLogger("src.api.requests")

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Telemetry:
    """Counts requests and writes their lines; lives in the event loop."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "housecast_requests",
            "Requests by route, method and status",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "housecast_request_seconds",
            "Time from a request's headers to the end of its answer",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._rows = Counter("housecast_predictions", "Rows priced", ("dataset",), registry=self.registry)
        self._dropped = Counter(
            "housecast_log_lines_dropped", "Lines of the log that nobody took in time", registry=self.registry
        )
        self.in_flight = Gauge("housecast_requests_in_flight", "Requests at work", registry=self.registry)
        self.model_loaded = Gauge(
            "housecast_model_loaded_timestamp_seconds",
            "When the version that serves was loaded",
            ("dataset", "version"),
            registry=self.registry,
        )
        self.sync_failing = Gauge(
            "housecast_sync_failing",
            "1 while the newest version stays out or the store does not answer",
            ("dataset",),
            registry=self.registry,
        )
        # Finding a child by its labels costs more than counting.
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._rows_of: dict[str, Any] = {}
        self._dropped_before = LINES.dropped

    def record(self, call: "Call", seconds: float) -> None:
        """Count a request that has ended and write its line, which never holds anything of its rows."""
        key = (call.route, call.method, call.status)
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(*map(str, key)), self._seconds.labels(call.route)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)
        if call.rows:
            rows = self._rows_of.get(call.dataset)
            if rows is None:
                rows = self._rows_of[call.dataset] = self._rows.labels(call.dataset)
            rows.inc(call.rows)
        if logger.isEnabledFor(logging.INFO):
            self._line(call, seconds)

    def describe(self, models: "Models") -> None:
        """Set what the metrics say of the models that serve."""
        self.model_loaded.clear()
        self.sync_failing.clear()
        for name, served in models.served.items():
            self.model_loaded.labels(name, served.version).set(served.loaded_at.timestamp())
        dropped, self._dropped_before = LINES.dropped - self._dropped_before, LINES.dropped
        self._dropped.inc(dropped)
        store_fails = models.store_sync.outcome != "ok"
        for name in models.summary():
            sync = models.sync_of(name)
            self.sync_failing.labels(name).set(store_fails or sync is None or sync.outcome != "ok")

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
