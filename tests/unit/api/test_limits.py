from src.api import limits
from src.api.limits import RateLimit


def test_a_burst_then_the_rate() -> None:
    now = [0.0]
    limit = RateLimit(2, 3, lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 1]
    now[0] = 0.5
    assert [limit.take("a") for _ in range(2)] == [0, 1]
    now[0] = 1_000
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 1]


def test_callers_have_buckets_of_their_own_and_waiting_is_told() -> None:
    limit = RateLimit(0.1, 1, lambda: 0.0)
    assert [limit.take("a"), limit.take("b"), limit.take("a")] == [0, 0, 10]


def test_a_rate_of_zero_limits_nothing() -> None:
    assert {RateLimit(0, 1).take("a") for _ in range(100)} == {0}


def test_many_addresses_do_not_fill_the_memory(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(limits, "MOST_CALLERS", 10)
    limit = RateLimit(1, 1, lambda: 0.0)
    for number in range(100):
        limit.take(str(number))
    assert len(limit._buckets) == 10
