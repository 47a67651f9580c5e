"""The stages of a model's life, and `stages.json`: every move that is not a promotion.

A version is in production if it is the current one; else where it was last moved to, or archived if it stopped being
current after that; in development if neither. What somebody archived by hand is not promoted before it is moved out of
archived, nor does a rollback return to it unless it is named; what was only replaced may serve again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from itertools import zip_longest
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from src.core.errors import StoreError
from src.core.manifest import VERSION, first_problem
from src.core.pointer import Pointer, Promotion

STAGES = "stages.json"
Stage = Literal["development", "staging", "production", "archived"]
STAGE_NAMES: tuple[Stage, ...] = get_args(Stage)


class Event(BaseModel):
    """A version entering a stage: when, by whom and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    stage: Stage
    at: AwareDatetime
    by: str
    why: str


class Move(Event):
    """One entry of `stages.json`; production is never in it, since the pointer says what is current."""

    version: Annotated[str, StringConstraints(pattern=f"^{VERSION.pattern}$")]
    stage: Literal["development", "staging", "archived"]


Moves = tuple[Move, ...]
_MOVES = TypeAdapter(Moves)


def parse_moves(text: bytes, where: str) -> Moves:
    """Read `stages.json` (StoreError when it is not one)."""
    try:
        return _MOVES.validate_json(text)
    except ValidationError as error:
        raise StoreError(
            f"{where} is damaged ({first_problem(error)}): restore it, or delete it and move versions again"
        ) from error


def dump_moves(moves: Moves) -> bytes:
    return _MOVES.dump_json(moves, indent=2) + b"\n"


@dataclass(frozen=True)
class Story:
    """What happened to a data set's versions, the latest event first; being replaced is an event as well."""

    pointer: Pointer | None
    moves: Moves

    @cached_property
    def events(self) -> tuple[Event, ...]:
        # Each list is in the order in which things happened, whatever the clocks said; a tie goes to the explicit move.
        return tuple(merge(self.moves, _served(self.pointer), key=lambda event: event.at, reverse=True))

    def of(self, version: str) -> tuple[Event, ...]:
        """Return one version's events, the one that put it where it is first."""
        found = [event for event in self.events if event.version == version]
        if self.pointer and version == self.pointer.version:
            # A move that raced with the promotion changes nothing: what serves is in production.
            found.insert(0, found.pop([event.stage for event in found].index("production")))
        return tuple(found)

    def stage(self, version: str) -> Stage:
        found = self.of(version)
        return found[0].stage if found else "development"

    def newest(self, stage: Stage, among: Sequence[str]) -> str | None:
        """Return the one of the versions that came to a stage last."""
        there = {version for version in among if self.stage(version) == stage}
        return next((event.version for event in self.events if event.version in there), None)

    def retired(self, version: str) -> Move | None:
        """Return the move by which somebody archived the version, None if it is elsewhere or was only replaced."""
        found = self.of(version)
        return found[0] if found and isinstance(found[0], Move) and found[0].stage == "archived" else None


def _served(pointer: Pointer | None) -> Iterator[Event]:
    if pointer is None:
        return
    chain = (pointer, *pointer.history)
    for move, before in zip_longest(chain, chain[1:]):
        yield entered(move)
        if before is not None and before.version != move.version:
            why = f"{move.version} took its place"
            yield Event(version=before.version, stage="archived", at=move.promoted_at, by=move.by, why=why)


def entered(move: Promotion) -> Event:
    """Return a promotion or rollback as the event that it is for its version."""
    why = f"rolled back: {move.why}" if move.rollback else move.why
    return Event(version=move.version, stage="production", at=move.promoted_at, by=move.by, why=why)
