"""`current.json`, the one mutable object of a store: which version serves, and how it came to."""

from collections.abc import Sequence
from enum import Enum
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from src.core.errors import ConfigError, StoreError
from src.core.manifest import DATASET, VERSION, first_problem

POINTER = "current.json"
MAX_POINTER_BYTES = 2**22


class Unset(Enum):
    """The mark of `no expectation`, since None means `no version yet`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class Promotion(BaseModel):
    """One move of the pointer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    promoted_at: AwareDatetime
    by: str
    why: str
    rollback: bool = False


class Pointer(Promotion):
    """The current version and every earlier move, the latest first."""

    history: tuple[Promotion, ...] = ()

    @property
    def previous(self) -> str | None:
        """The version that a rollback returns to: the one that served before this one was promoted."""
        served: list[str] = []
        for move in reversed((self, *self.history)):
            if move.rollback and move.version in served:
                # What a rollback left behind is not returned to by the next one.
                del served[served.index(move.version) + 1 :]
            else:
                served.append(move.version)
        return served[-2] if len(served) > 1 else None

    def without_history(self) -> Promotion:
        return Promotion.model_validate(self.model_dump(exclude={"history"}))


def parse_pointer(text: bytes, where: str) -> Pointer:
    """Read `current.json` (StoreError when it is not one)."""
    try:
        return Pointer.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(
            f"{where} is damaged ({first_problem(error)}): restore it, or delete it and promote a version",
            brief="the record of which version is current is damaged",
        ) from error


def check_dataset(name: str) -> str:
    """Return the name if it is one that a dataset can have (ConfigError): it becomes a path."""
    if not DATASET.fullmatch(name):
        raise ConfigError(f"{name!r} is not a dataset's name: small letters, digits and _, a letter first")
    return name


def check_version(version: str) -> str:
    """Return the version if it looks like one (ConfigError): it becomes a path."""
    if not VERSION.fullmatch(version):
        raise ConfigError(f"{version!r} is not a version: they look like 20261120T231500Z-1a2b3c4d")
    return version


def unknown(dataset: str, version: str, whole: Sequence[str]) -> StoreError:
    """Make the error for a version that the store does not have whole."""
    return StoreError(
        f"{dataset} has no version {version} in the store. The latest: {', '.join(whole[-3:]) or 'none'}",
        brief="the version is not in the store, or not whole",
    )


def lost(dataset: str, version: str, winner: Pointer | None, why: str) -> StoreError:
    """Make the error for a promotion that another one overtook; it names both."""
    now = f"{winner.version} (by {winner.by}, {winner.promoted_at:%Y-%m-%d %H:%M:%S}Z)" if winner else "no version"
    return StoreError(
        f"{dataset}: {version} was not promoted: {why}, and {now} is current. It stays; compare the two and promote"
        " again if yours is better"
    )
