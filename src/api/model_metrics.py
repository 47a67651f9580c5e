"""Metrics of the versions that serve, and of following the store: set when somebody asks for them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

if TYPE_CHECKING:
    from src.api.served import Models


class ModelMetrics:
    """What serves each data set, how old it is, and how following the store goes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"housecast_{name}", text, labels, registry=registry)

        version = "dataset", "version"
        self._loaded = gauge("model_loaded_timestamp_seconds", "When the version that serves was loaded", *version)
        self._created = gauge("model_created_timestamp_seconds", "When the version that serves was made", *version)
        self._failing = gauge(
            "sync_failing", "1 while the newest version stays out or the store does not answer", "dataset"
        )
        self._age = gauge("sync_age_seconds", "Seconds since a look at the store was last in order", "dataset")
        self._failures = Counter(
            "housecast_sync_failures", "Looks at the store that failed", ("dataset",), registry=registry
        )
        self._failures_before: dict[str, int] = {}

    def describe(self, models: "Models") -> None:
        """Set what is known now; a version that serves no more is not told of any more."""
        for one in (self._loaded, self._created):
            one.clear()
        for name, served in models.served.items():
            self._loaded.labels(name, served.version).set(served.loaded_at.timestamp())
            self._created.labels(name, served.version).set(served.manifest.created.timestamp())
        now, store_fails = datetime.now(UTC), models.store_sync.outcome != "ok"
        for name in models.summary():
            sync, tally = models.sync_of(name), models.tally_of(name)
            self._failing.labels(name).set(store_fails or sync is None or sync.outcome != "ok")
            self._age.labels(name).set((now - tally.ok_at).total_seconds())
            self._failures.labels(name).inc(tally.failures - self._failures_before.get(name, 0))
            self._failures_before[name] = tally.failures
