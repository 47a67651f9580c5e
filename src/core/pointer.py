"""`current.json`, the one mutable object of a store: which version serves, and how it came to."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
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


class MovesPointer(ABC):
    """Promotion and rollback, for a store that can read the pointer and swap it if nobody else has."""

    @abstractmethod
    def versions(self, dataset: str) -> list[str]: ...

    @abstractmethod
    def _read(self, dataset: str) -> tuple[Pointer | None, str]:
        """Return the pointer and a token that changes whenever it does."""

    @abstractmethod
    def _swap(self, dataset: str, new: Pointer, token: str) -> bool:
        """Write the pointer if the token still holds; tell whether it did."""

    def current(self, dataset: str) -> Pointer | None:
        """Return the promoted version, None before the first promotion."""
        return self._read(check_dataset(dataset))[0]

    def promote(
        self, dataset: str, version: str, *, by: str, why: str, expected: str | Unset | None = UNSET
    ) -> Pointer:
        """Make a published version the current one.

        Args:
            dataset: name of the dataset.
            version: a whole version of it.
            by: who promotes.
            why: the reason, for the history.
            expected: the version that must be current now (None: no version); anything if not given.

        Raises:
            StoreError: no such version, `expected` is not current, or somebody promoted meanwhile (both are named).
        """
        pointer, token = self._read(check_dataset(dataset))
        if expected is not UNSET and (pointer.version if pointer else None) != expected:
            raise _lost(dataset, version, pointer, f"expected {expected or 'no version'}")
        if pointer and pointer.version == version:
            return pointer
        return self._move(dataset, version, pointer, token, by=by, why=why)

    def rollback(self, dataset: str, *, to: str | None = None, by: str, why: str) -> Pointer:
        """Return to the version that served before, or to the version `to`.

        Raises:
            StoreError: there is none, it is no longer in the store, or somebody promoted meanwhile.
        """
        pointer, token = self._read(check_dataset(dataset))
        if pointer is None:
            raise StoreError(f"{dataset} has no current version to roll back from: promote one")
        target = to or pointer.previous
        if target is None:
            raise StoreError(f"{dataset}: nothing served before {pointer.version}: name the version to go to")
        if target == pointer.version:
            raise StoreError(f"{dataset}: {target} is current already: name another version")
        return self._move(dataset, target, pointer, token, by=by, why=why, rollback=True)

    def _move(
        self,
        dataset: str,
        version: str,
        pointer: Pointer | None,
        token: str,
        *,
        by: str,
        why: str,
        rollback: bool = False,
    ) -> Pointer:
        whole = self.versions(dataset)
        if check_version(version) not in whole:
            raise unknown(dataset, version, whole)
        new = Pointer(
            version=version,
            promoted_at=datetime.now(UTC),
            by=by,
            why=why,
            rollback=rollback,
            history=(pointer.without_history(), *pointer.history) if pointer else (),
        )
        if not self._swap(dataset, new, token):
            winner = self.current(dataset)
            # A write whose answer was lost is sent again, and then loses against itself.
            if winner != new:
                raise _lost(dataset, version, winner, "somebody was faster")
        return new


def parse_pointer(text: bytes, where: str) -> Pointer:
    """Read `current.json` (StoreError when it is not one)."""
    try:
        return Pointer.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(
            f"{where} is damaged ({first_problem(error)}): restore it, or delete it and promote a version"
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
    return StoreError(f"{dataset} has no version {version} in the store. The latest: {', '.join(whole[-3:]) or 'none'}")


def _lost(dataset: str, version: str, winner: Pointer | None, why: str) -> StoreError:
    now = f"{winner.version} (by {winner.by}, {winner.promoted_at:%Y-%m-%d %H:%M:%S}Z)" if winner else "no version"
    return StoreError(
        f"{dataset}: {version} was not promoted: {why}, and {now} is current. It stays; compare the two and promote"
        " again if yours is better"
    )
