"""The inbox of a call: takes its replies, and says after each whether the call is over.

One type for every kind of call. The simple case, `ONE_REPLY`, keeps nothing: the first reply ends the call. `Answers`
gathers those of several servers until enough have come. What comes next (progress, streams) is another class with
`put`: a message for which it returns False leaves the call pending, with its deadline.

========== ============================ =======================================
Inbox      Event                        The call
========== ============================ =======================================
ONE_REPLY  `put`                        is over
Answers    `put`, more are wanted       goes on
Answers    `put`, enough that count     is over
========== ============================ =======================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ONE_REPLY", "Answers", "Inbox"]


class Inbox:
    """Where the replies of one call go. This one is for a single reply, which ends the call.

    Attributes:
        partial: Whether a call that ends at its deadline has got what it was made for.
    """

    partial = False

    def put(self, reply: Any, now: float) -> bool:  # noqa: ARG002  (for those that keep replies)
        """Take a reply; return whether the call is over."""
        return True


#: The inbox of every call with one reply; it has no state.
ONE_REPLY = Inbox()


class Answers(Inbox):
    """Gathers answers until so many have come that count, or until the call ends otherwise.

    Args:
        limit: How many are enough; None for any number.
        counts: Returns whether an answer is one of those; must not raise.

    Attributes:
        answers: Each with the time at which it came.
    """

    partial = True

    def __init__(self, limit: int | None, counts: Callable[[Any], bool]) -> None:
        self._limit = limit
        self._counts = counts
        self._counted = 0
        self.answers: list[tuple[Any, float]] = []

    def put(self, reply: Any, now: float) -> bool:
        """Take an answer; return whether there are enough."""
        self.answers.append((reply, now))
        self._counted += self._counts(reply)
        return self._limit is not None and self._counted >= self._limit
