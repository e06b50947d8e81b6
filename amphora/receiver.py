"""One `receive_from_queue`: what it has taken and finished, of how much."""

from __future__ import annotations

from gevent.event import Event

__all__ = ["Receiver"]


class Receiver:
    """Counts the requests that one `receive_from_queue` has taken and finished.

    Args:
        queue: Label of the queue.
        max_calls: How many requests it takes; None for any number.

    Attributes:
        handled: Requests finished: replied and acknowledged, ignored, or dropped.
        closed: Whether `close` was called.
        timed_out: Whether its time was over before it had taken enough.
        ended: Set while it takes no more: it has taken enough, or was closed.
        idle: Set while every request that it has taken is finished.
    """

    def __init__(self, queue: str, max_calls: int | None) -> None:
        self.queue = queue
        self.max_calls = max_calls
        self.handled = 0
        self.closed = False
        self.timed_out = False
        self.ended = Event()
        self.idle = Event()
        self.idle.set()
        self._taken = 0

    @property
    def reached(self) -> bool:
        """Whether as many requests are finished as were asked for."""
        return self.max_calls is not None and self.handled >= self.max_calls

    def take(self) -> bool:
        """Take one more request; tell whether it may."""
        if self.ended.is_set():
            return False
        self._taken += 1
        self.idle.clear()
        if self._taken == self.max_calls:
            self.ended.set()
        return True

    def finish_one(self) -> None:
        """Note that a request is finished."""
        self.handled += 1
        self._check_idle()

    def lose_one(self) -> None:
        """Note that a request has gone back to the queue before it was run: one more may be taken."""
        self._taken -= 1
        if not self.closed:
            self.ended.clear()
        self._check_idle()

    def close(self) -> None:
        """Take no more."""
        self.closed = True
        self.ended.set()

    def _check_idle(self) -> None:
        if self.handled >= self._taken:
            self.idle.set()
