"""What the record of promotions and moves says about a version."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.pointer import Pointer, Promotion
from src.core.stages import Move, Story
from tests.bundles import V1, V2, V3

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def promoted(*versions: str, minutes: list[int] | None = None, rollback: bool = False) -> Pointer:
    """Promote versions one after another, at minutes 1, 2, ... if not given."""
    times = [at(minute) for minute in minutes or range(1, len(versions) + 1)]
    chain = [
        Promotion(version=version, promoted_at=when, by="ann", why="better")
        for version, when in zip(versions, times, strict=True)
    ][::-1]
    return Pointer(**{**chain[0].model_dump(), "rollback": rollback}, history=tuple(chain[1:]))


def moved(version: str, stage: str, minute: int, by: str = "bob") -> Move:
    return Move.model_validate({"version": version, "stage": stage, "at": at(minute), "by": by, "why": "because"})


def test_a_version_that_nobody_moved_is_in_development() -> None:
    story = Story(None, ())
    assert story.stage(V1) == "development"
    assert story.of(V1) == ()
    assert story.retired(V1) is None


def test_what_is_replaced_is_archived_by_who_replaced_it() -> None:
    story = Story(promoted(V1, V2), ())
    assert (story.stage(V1), story.stage(V2)) == ("archived", "production")
    archived = story.of(V1)[0]
    assert (archived.at, archived.by, archived.why) == (at(2), "ann", f"{V2} took its place")
    assert story.retired(V1) is None, "it was only replaced"


@pytest.mark.parametrize(("minute", "stage"), [(1, "archived"), (2, "staging"), (3, "staging")])
def test_the_later_of_the_move_and_the_end_of_service_counts(minute: int, stage: str) -> None:
    story = Story(promoted(V1, V2), (moved(V1, "staging", minute),))
    assert story.stage(V1) == stage, "at the same moment the explicit move counts"


def test_what_serves_is_in_production_whatever_a_move_that_raced_says() -> None:
    story = Story(promoted(V1), (moved(V1, "archived", 9),))
    assert story.stage(V1) == "production"
    assert story.of(V1)[0].stage == "production"
    assert story.retired(V1) is None
    assert [event.stage for event in story.events] == ["archived", "production"]


def test_archived_by_hand_is_told_from_replaced() -> None:
    story = Story(promoted(V1, V2), (moved(V1, "archived", 5, by="cleo"),))
    retired = story.retired(V1)
    assert retired is not None
    assert retired.by == "cleo"
    again = Story(promoted(V1, V2, V1, V2, minutes=[1, 2, 6, 7]), story.moves)
    assert again.retired(V1) is None, "it has served since, and was replaced"


def test_a_clock_that_was_behind_does_not_reorder_promotions() -> None:
    story = Story(promoted(V1, V2, minutes=[9, 2]), ())
    assert [(event.version, event.stage) for event in story.events] == [
        (V2, "production"),
        (V1, "archived"),
        (V1, "production"),
    ]
    assert story.stage(V1) == "archived"


def test_the_newest_of_a_stage_is_the_one_that_came_last() -> None:
    story = Story(None, (moved(V1, "staging", 3), moved(V3, "development", 2), moved(V2, "staging", 1)))
    assert story.newest("staging", [V1, V2, V3]) == V1
    assert story.newest("staging", [V2, V3]) == V2, "what is no longer in the store does not count"
    assert story.newest("archived", [V1, V2, V3]) is None


@given(
    st.lists(st.sampled_from([V1, V2, V3]), max_size=6),
    st.lists(st.tuples(st.sampled_from([V1, V2, V3]), st.sampled_from(["development", "staging", "archived"]))),
)
def test_at_most_one_version_is_in_production(served: list[str], moves: list[tuple[str, str]]) -> None:
    pointer = promoted(*served) if served else None
    story = Story(pointer, tuple(moved(version, stage, n) for n, (version, stage) in enumerate(moves))[::-1])
    in_production = [version for version in (V1, V2, V3) if story.stage(version) == "production"]
    assert in_production == ([served[-1]] if served else [])
