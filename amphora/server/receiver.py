"""One `receive_from_queue`, with events to wait for."""

from __future__ import annotations

from gevent.event import Event

from amphora.core.receiver import Intake, State

__all__ = ["Receiver"]


class Receiver(Intake):
    """Counts the requests that one `receive_from_queue` has taken and finished; see `Intake`.

    Args:
        queue: Label of the queue.
        max_calls: How many requests it takes; None for any number.

    Attributes:
        closed: Whether `close` was called.
        timed_out: Whether its time was over before it had taken enough.
        ended: Set while it takes no more: it has taken enough, or was closed.
        quiet: Set while every request that it has taken is finished.
    """

    __slots__ = ("ended", "queue", "quiet", "timed_out")

    def __init__(self, queue: str, max_calls: int | None) -> None:
        self.queue = queue
        self.timed_out = False
        self.ended = Event()
        self.quiet = Event()
        super().__init__(max_calls, self._tell)
        self._tell()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.state is State.ENDED

    def _tell(self) -> None:
        _put(self.ended, self.state is not State.TAKING)
        _put(self.quiet, self.idle)


def _put(event: Event, value: bool) -> None:
    if value:
        event.set()
    else:
        event.clear()
