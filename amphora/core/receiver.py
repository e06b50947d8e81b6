"""One `receive_from_queue`: how many requests it has taken and finished, of how many.

======== ============================ =============================================================
State    Event                        Next
======== ============================ =============================================================
TAKING   `take`                       TAKING; FULL with the last of `max_calls`
FULL     `take`                       FULL, refused
FULL     `lose_one`                   TAKING: what it had taken went away before it was run
any      `finish_one`                 same; one more is handled
any      `close`                      ENDED: takes nothing any more, whatever is lost
======== ============================ =============================================================

It is idle while every request that it has taken is finished or lost. Always: handled <= taken <= max_calls.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

__all__ = ["Intake", "State"]


class State(Enum):
    """Whether more requests are taken."""

    TAKING = "taking"
    FULL = "full"
    ENDED = "ended"


class Intake:
    """Counts the requests that one `receive_from_queue` has taken and finished.

    Args:
        max_calls: How many requests it takes; None for any number.
        on_change: Called when `state` or `idle` has changed; must not raise.

    Attributes:
        state: See above.
        taken: Requests that it has, or has finished.
        handled: Requests finished: replied to and acknowledged, ignored, or dropped.
    """

    __slots__ = ("_on_change", "handled", "max_calls", "state", "taken")

    def __init__(self, max_calls: int | None, on_change: Callable[[], None]) -> None:
        self.max_calls = max_calls
        self.state = State.TAKING
        self.taken = 0
        self.handled = 0
        self._on_change = on_change

    @property
    def idle(self) -> bool:
        """Whether every request that it has taken is finished."""
        return self.handled == self.taken

    @property
    def reached(self) -> bool:
        """Whether as many requests are finished as were asked for."""
        return self.max_calls is not None and self.handled >= self.max_calls

    def take(self) -> bool:
        """Take one more request; return whether it may."""
        if self.state is not State.TAKING:
            return False
        self.taken += 1
        if self.taken == self.max_calls:
            self.state = State.FULL
        self._on_change()
        return True

    def finish_one(self) -> None:
        """Note that a request is finished."""
        self.handled += 1
        self._on_change()

    def lose_one(self) -> None:
        """Note that a request has left before it was finished: one more may be taken."""
        self.taken -= 1
        if self.state is State.FULL:
            self.state = State.TAKING
        self._on_change()

    def close(self) -> None:
        """Take no more."""
        self.state = State.ENDED
        self._on_change()

    def check(self) -> None:
        """Assert the invariants."""
        assert 0 <= self.handled <= self.taken
        assert self.max_calls is None or self.taken <= self.max_calls
        assert (self.state is State.FULL) <= (self.taken == self.max_calls)
