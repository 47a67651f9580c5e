"""The writer's bounds; that it writes is in tests/integration/test_prediction_log.py."""

from datetime import UTC, datetime

from src.core.config import Settings
from src.monitoring.writer import Record, Writer, packed

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_a_queue_that_is_full_drops_whole_requests_and_counts_their_predictions(settings: Settings) -> None:
    record = Record(AT, "r", "housets", "v1", "champion", 200, 2, None, None, 1.0, b"[{},{}]", b"{}")
    writer = Writer(settings, most_waiting=2 * len(packed([record], [2**61])) + 50)
    writer._thread = object()  # type: ignore[assignment]  # nobody takes them out
    for _ in range(4):
        writer.put(record)
    assert (writer.waiting, writer.counts.dropped) == (4, 4)
