"""How following the store goes, in words that hold no path, and when what failed is tried again."""

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Optional

from src.api.looks import Look
from src.core.errors import BundleError, ConfigError, HousecastError, StoreError, why
from src.core.pointer import Pointer

logger = logging.getLogger(__name__)

# A version that failed is tried again after this long, then twice as long, up to the longest. A network or a disk may
# be well again at any moment, a damaged version only when somebody mends it.
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_STORE_PAUSE = 10.0, 300.0, 60.0
# Of a look that takes longer than this, `/health` says what it is at.
LATE_SECONDS = 5.0


@dataclass(frozen=True)
class Sync:
    """The last look at the store, or at one data set in it; `detail` says what is wrong to anybody."""

    at: datetime
    outcome: str = "ok"
    detail: str = ""
    version: str | None = None

    @classmethod
    def now(cls, outcome: str = "ok", detail: str = "", version: str | None = None) -> "Sync":
        return cls(datetime.now(UTC), outcome, detail, version)


@dataclass(frozen=True)
class Tally:
    """Of all looks at a data set: when one was last in order (before the first: the start), and how many failed."""

    ok_at: datetime
    failures: int = 0

    def after(self, sync: Sync) -> "Tally":
        """Count one more look."""
        return Tally(sync.at, self.failures) if sync.outcome == "ok" else replace(self, failures=self.failures + 1)


@dataclass(frozen=True)
class Failure:
    """A promotion that could not be followed, and when (by the monotonic clock) it is tried again."""

    version: str
    promoted_at: datetime
    detail: str
    count: int
    next_try: float

    @classmethod
    def of(cls, error: Exception, pointer: Pointer, last: Optional["Failure"]) -> "Failure":
        """Count a failure after the last one."""
        count = last.count + 1 if last and last._is_of(pointer) else 1
        longest = LONGEST_STORE_PAUSE if isinstance(error, StoreError | OSError) else LONGEST_PAUSE
        pause = min(FIRST_PAUSE * 2 ** min(count - 1, 10), longest)
        return cls(pointer.version, pointer.promoted_at, in_words(error), count, time.monotonic() + pause)

    def _is_of(self, pointer: Pointer) -> bool:
        return (self.version, self.promoted_at) == (pointer.version, pointer.promoted_at)

    def waits(self, pointer: Pointer) -> bool:
        """Tell whether it is too early to try again; a version that was promoted anew is tried at once."""
        return self._is_of(pointer) and time.monotonic() < self.next_try


def with_look(sync: Sync, look: Look | None) -> Sync:
    """Say what a look that takes long is at."""
    if look is None or look.seconds < LATE_SECONDS:
        return sync
    return replace(sync, outcome="late", detail=f"{look.doing}, for {look.seconds:.0f} s now")


def log_error(error: Exception, what: str) -> None:
    """Log what went wrong, with a trace where nobody thought of it."""
    if isinstance(error, HousecastError | OSError):
        logger.warning("%s: %s", what, error)
    else:
        logger.error("%s", what, exc_info=error)


def in_words(error: Exception) -> str:
    """Say what kind of thing went wrong without the error's own text, which may hold paths."""
    if isinstance(error, HousecastError) and error.brief:
        return error.brief
    if isinstance(error, OSError):
        return f"the machine refuses: {why(error)}"
    if isinstance(error, BundleError):
        return "the version is damaged"
    if isinstance(error, StoreError):
        return "the store does not answer or is damaged"
    if isinstance(error, ConfigError):
        return "its configuration is wrong"
    return "it could not be loaded"
