"""Looks at the store, in threads of their own: any of them may hang for as long as a network or a disk can."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

# A look that has not ended by then is given up, so that following goes on once the store is back. A download of a
# large version over a slow line must fit in.
LONGEST_LOOK = 900.0


@dataclass(eq=False)
class Look:
    """One look under way: `again` asks for what failed as well, `doing` says what it is at, in words for anybody."""

    done: "Future[None]"
    again: bool
    began: float = field(default_factory=time.monotonic)
    doing: str = "asking the store"
    given_up: bool = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class Looks:
    """One question to the store, asked again and again, never twice at once.

    What a look that was given up finds does not count any more; whoever does the work asks `given_up` before it acts.
    """

    def __init__(self, name: str, work: Callable[[Look], None]) -> None:
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._now: Look | None = None
        self._next: Future[None] | None = None
        self._again = False

    @property
    def now(self) -> Look | None:
        """The look under way."""
        return self._now

    def ask(self, *, again: bool = False) -> "Future[None]":
        """Look as soon as the look under way has ended; the future is done when the new one has."""
        with self._lock:
            self._again = self._again or again
            if self._next is None:
                self._next = Future()
                self._next.set_running_or_notify_cancel()  # nobody who waits for it may cancel it for the others
            asked = self._next
            if self._now is None or self._now.seconds > LONGEST_LOOK:
                self._begin()
        return asked

    def _begin(self) -> None:
        before, look = self._now, self._taken()
        threading.Thread(target=self._run, args=(look,), name=f"look at {self._name}", daemon=True).start()
        self._now = look
        if before:
            before.given_up = True
            logger.error("%s: given up after %.0f s: %s", self._name, before.seconds, before.doing)

    def _taken(self) -> Look:
        assert self._next is not None
        look = Look(self._next, self._again)
        self._next, self._again = None, False
        return look

    def _run(self, look: Look) -> None:
        while True:
            try:
                self._work(look)
            except Exception:  # the next look must come whatever a store can do
                logger.exception("%s: looking at the store failed", self._name)
            with self._lock:
                following = None
                if not look.given_up:
                    following = self._now = self._taken() if self._next else None
            look.done.set_result(None)
            if following is None:
                return
            look = following
