"""The room in the outbox: how much there is, and who waits for some."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from gevent.event import Event

from amphora.exceptions import AmqpRpcException, Backlogged
from amphora.settings import OutboxLimits

__all__ = ["Room"]


class _Turn(Event):
    """Somebody's place in the queue."""

    def __init__(self, *, endless: bool) -> None:
        super().__init__()
        self.endless = endless
        self.refusal: AmqpRpcException | None = None


class Room:
    """Counts the messages in the outbox, and lets greenlets wait in turn until there is room for one more.

    Args:
        limits: How much room there is.
        state: Gives a phrase about the connection, for errors.

    Attributes:
        count: Messages inside.
        size: Bytes of their bodies.
    """

    def __init__(self, limits: OutboxLimits, state: Callable[[], str]) -> None:
        self.count = 0
        self.size = 0
        self._limits = limits
        self._state = state
        self._turns: deque[_Turn] = deque()
        self._empty = Event()

    def take(self, size: int) -> None:
        """Note one more message, whether or not there is room for it."""
        self.count += 1
        self.size += size

    def give_back(self, size: int) -> None:
        """Note that a message has left."""
        self.count -= 1
        self.size -= size
        if self._turns:
            self._call_next()
        if not self.count:
            self._empty.set()

    def wait(self, size: int, deadline: float | None) -> None:
        """Wait until there is room for a message, after those who came before.

        Args:
            size: Bytes of its body.
            deadline: Time (`time.monotonic`) until which to wait; None for ever.

        Raises:
            Backlogged: No room came in time.
            AmqpRpcException: What `turn_away` was called with meanwhile.
        """
        if self._turns or not self._has_room(size):
            self._wait_in_turn(size, deadline)

    def wait_empty(self, timeout: float) -> bool:
        """Wait until nothing is inside; tell whether nothing is."""
        if not self.count:
            return True
        self._empty.clear()
        return bool(self._empty.wait(timeout))

    def turn_away(self, error: AmqpRpcException, *, only_endless: bool = False) -> None:
        """Raise an error to those who wait, or to those of them who would wait for ever."""
        for turn in self._turns:
            if turn.endless or not only_endless:
                turn.refusal = error
                turn.set()

    def _has_room(self, size: int) -> bool:
        if self.count >= self._limits.count:
            return False
        # One message that is larger than the whole outbox may go when it is alone.
        return not self.count or self.size + size <= self._limits.size

    def _wait_in_turn(self, size: int, deadline: float | None) -> None:
        turn = _Turn(endless=deadline is None)
        self._turns.append(turn)
        try:
            while self._turns[0] is not turn or not self._has_room(size):
                turn.clear()
                remaining = None if deadline is None else deadline - monotonic()
                if remaining is not None and (remaining <= 0 or not turn.wait(remaining)):
                    raise Backlogged(
                        f"{self.count} messages ({self.size} bytes) await the broker's "
                        f"confirmation, no room for one more ({self._state()})"
                    )
                if remaining is None:
                    turn.wait()
                if turn.refusal is not None:
                    raise turn.refusal
        finally:
            self._turns.remove(turn)
            self._call_next()

    def _call_next(self) -> None:
        if self._turns:
            self._turns[0].set()
