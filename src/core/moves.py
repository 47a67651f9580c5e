"""Moving versions between the stages, for a store that can read a small object and swap it if nobody else has."""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from hashlib import sha256

from src.core.errors import BundleError, StoreError
from src.core.manifest import Manifest
from src.core.pointer import (
    MAX_POINTER_BYTES,
    POINTER,
    UNSET,
    Pointer,
    Unset,
    check_dataset,
    check_version,
    lost,
    parse_pointer,
    unknown,
)
from src.core.stages import STAGES, Event, Move, Moves, Stage, Story, dump_moves, entered, parse_moves


class MovesVersions(ABC):
    """Promotion, rollback and the other moves, over two primitives of the store."""

    @abstractmethod
    def versions(self, dataset: str) -> list[str]: ...

    @abstractmethod
    def manifest(self, dataset: str, version: str) -> Manifest: ...

    @abstractmethod
    def _get(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """Return an object's first `limit` + 1 bytes and a token that changes whenever it does; None if absent."""

    @abstractmethod
    def _swap(self, key: str, body: bytes, token: str) -> bool:
        """Write an object if the token (empty: absent) still holds; tell whether it did."""

    def read(self, dataset: str, version: str, name: str) -> bytes:
        """Return one file of a version, checked against the manifest.

        Raises:
            StoreError: no such version.
            BundleError: the file is missing or altered, or the manifest is another version's.
        """
        manifest = self.manifest(dataset, version)
        if (manifest.dataset, manifest.version) != (dataset, version):
            raise BundleError(f"{self}/{dataset}/{version} holds {manifest.dataset} {manifest.version}: publish again")
        entry = manifest.files[name]
        found = self._get(f"{dataset}/{version}/{name}", entry.size)
        if found is None or len(found[0]) != entry.size or sha256(found[0]).hexdigest() != entry.sha256:
            state = "missing" if found is None else "altered: it is not what the manifest says"
            raise BundleError(f"{self}/{dataset}/{version}/{name} is {state}")
        return found[0]

    def current(self, dataset: str) -> Pointer | None:
        """Return the promoted version, None before the first promotion."""
        return self._pointer(check_dataset(dataset))[0]

    def story(self, dataset: str) -> Story:
        """Return every promotion and move of a data set's versions (StoreError when the record is damaged)."""
        return Story(self.current(dataset), self._moves(dataset)[0])

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
            StoreError: no such version, `expected` is not current, somebody archived the version by hand, or somebody
                promoted meanwhile (both are named).
        """
        pointer, token = self._pointer(check_dataset(dataset))
        if expected is not UNSET and (pointer.version if pointer else None) != expected:
            raise lost(dataset, version, pointer, f"expected {expected or 'no version'}")
        if pointer and pointer.version == version:
            return pointer
        self._require(dataset, version)
        self._refuse_retired(dataset, version, pointer, "move it to staging first")
        return self._point(dataset, version, pointer, token, by=by, why=why)

    def rollback(self, dataset: str, *, to: str | None = None, by: str, why: str) -> Pointer:
        """Return to the version that served before, or to the version `to`.

        Raises:
            StoreError: there is none, it is no longer in the store, it is not named and somebody archived it by hand,
                or somebody promoted meanwhile.
        """
        pointer, token = self._pointer(check_dataset(dataset))
        if pointer is None:
            raise StoreError(f"{dataset} has no current version to roll back from: promote one")
        target = to or pointer.previous
        if target is None:
            raise StoreError(f"{dataset}: nothing served before {pointer.version}: name the version to go to")
        if target == pointer.version:
            raise StoreError(f"{dataset}: {target} is current already: name another version")
        self._require(dataset, target)
        if to is None:
            self._refuse_retired(dataset, target, pointer, "name the version to go to, this one or another")
        return self._point(dataset, target, pointer, token, by=by, why=why, rollback=True)

    def move(self, dataset: str, version: str, stage: Stage, *, by: str, why: str) -> Event:
        """Put a version into a stage; into production is `promote`.

        Raises:
            StoreError: no such version, it is there already or in production, or somebody moved one meanwhile.
        """
        pointer = self.current(dataset)
        moves, token = self._moves(dataset)
        self._require(dataset, version)
        story = Story(pointer, moves)
        # Archiving by hand what was only replaced is a move: it keeps the version from serving again.
        if story.stage(version) == stage and (stage != "archived" or story.retired(version)):
            raise StoreError(f"{dataset}: {version} is in {stage} already{''.join(map(_who, story.of(version)[:1]))}")
        if stage == "production":
            expected = pointer.version if pointer else None
            return entered(self.promote(dataset, version, by=by, why=why, expected=expected))
        _refuse_current(dataset, version, pointer, stage)
        new = Move(version=version, stage=stage, at=_now(pointer), by=by, why=why)
        if not self._swap(f"{dataset}/{STAGES}", dump_moves((new, *moves)), token):
            winners = self._moves(dataset)[0]
            # A write whose answer was lost is sent again, and then loses against itself.
            if new not in winners:
                moved = "".join(f": {one.version} is in {one.stage} now{_who(one)}" for one in winners[:1])
                raise StoreError(
                    f"{dataset}: {version} was not moved to {stage}, somebody was faster{moved}. Look, and move again"
                )
        _refuse_current(dataset, version, self.current(dataset), stage)
        return new

    def _pointer(self, dataset: str) -> tuple[Pointer | None, str]:
        key = f"{dataset}/{POINTER}"
        found = self._get(key, MAX_POINTER_BYTES)
        return (parse_pointer(found[0], f"{self}/{key}"), found[1]) if found else (None, "")

    def _moves(self, dataset: str) -> tuple[Moves, str]:
        key = f"{dataset}/{STAGES}"
        found = self._get(key, MAX_POINTER_BYTES)
        return (parse_moves(found[0], f"{self}/{key}"), found[1]) if found else ((), "")

    def _require(self, dataset: str, version: str) -> None:
        whole = self.versions(dataset)
        if check_version(version) not in whole:
            raise unknown(dataset, version, whole)

    def _refuse_retired(self, dataset: str, version: str, pointer: Pointer | None, remedy: str) -> None:
        retired = Story(pointer, self._moves(dataset)[0]).retired(version)
        if retired:
            raise StoreError(
                f"{dataset}: {version} was archived by {retired.by} ({retired.at:%Y-%m-%d}: {retired.why}): {remedy}"
            )

    def _point(
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
        new = Pointer(
            version=version,
            promoted_at=_now(pointer),
            by=by,
            why=why,
            rollback=rollback,
            history=(pointer.without_history(), *pointer.history) if pointer else (),
        )
        if not self._swap(f"{dataset}/{POINTER}", new.model_dump_json(indent=2).encode() + b"\n", token):
            winner = self.current(dataset)
            # A write whose answer was lost is sent again, and then loses against itself.
            if winner != new:
                raise lost(dataset, version, winner, "somebody was faster")
        return new


def _refuse_current(dataset: str, version: str, pointer: Pointer | None, stage: Stage) -> None:
    if pointer and pointer.version == version:
        raise StoreError(
            f"{dataset}: {version} is in production{_who(entered(pointer))} and was not moved to {stage}: promote"
            " another version or roll back, and this one is archived"
        )


def _now(pointer: Pointer | None) -> datetime:
    """Return the time; where this machine's clock is behind the last promoter's, the time of that promotion."""
    now = datetime.now(UTC)
    return max(now, pointer.promoted_at) if pointer else now


def _who(event: Event) -> str:
    return f" (by {event.by}, {event.at:%Y-%m-%d %H:%M:%S}Z)"
