"""How many messages may be in flight while the one is looked for that made the broker close the channel.

unlimited  suspect(n > 1)       limited to n / 2; what was in flight is suspected
limited    suspect(n > 1)       limited to n / 2
any        suspect(n == 1)      unchanged: the one that was in flight is guilty
limited    widen: all that the limit allowed are confirmed     twice the limit
limited    fits: the suspects are all confirmed, or settled    unlimited
limited    idle                 unlimited: no suspect is left
"""

from __future__ import annotations

from collections.abc import Sequence

from amphora.core.messages import OutgoingMessage

__all__ = ["Window"]


class Window:
    """Limits the messages in flight.

    Attributes:
        limit: How many may be in flight; None for any number.
    """

    __slots__ = ("_left", "_suspects_to", "limit")

    def __init__(self) -> None:
        self.limit: int | None = None
        self._left = 0
        self._suspects_to = 0

    def suspect(self, in_flight: Sequence[OutgoingMessage]) -> OutgoingMessage | None:
        """One of these made the broker close the channel; return it if it is known which."""
        if len(in_flight) == 1:
            return in_flight[0]
        if in_flight:
            self.limit = self._left = len(in_flight) // 2
            self._suspects_to = max(self._suspects_to, *(message.order for message in in_flight))
        return None

    def fits(self, message: OutgoingMessage, in_flight: int) -> bool:
        """Return whether a message may join so many in flight."""
        if self.limit is None:
            return True
        if message.order <= self._suspects_to:
            return in_flight < self.limit
        # All suspects have been sent. When they are confirmed too, none of them was guilty.
        if not in_flight:
            self.limit = None
        return not in_flight

    def widen(self, confirmed: int) -> None:
        """So many were confirmed."""
        if self.limit is not None:
            self._left -= confirmed
            if self._left <= 0:
                self.limit *= 2
                self._left = self.limit

    def idle(self) -> None:
        """Nothing is in flight, and nothing waits."""
        self.limit = None
