"""`AnswerWatch`: ends the wait for a synchronous answer, once nothing has moved on the connection for too long.

An answer stands in line behind everything that was written or delivered before it. On a slow line that can be many
seconds of data, during which the broker is not silent at all. Thus an answer is late when no byte but those of
heartbeats has moved for `limit` seconds, in either direction. A second limit ends the wait where other bytes keep
moving and the answer does not come: `SECOND` times as long, from when the question itself has left.

A byte has moved when the kernel has taken it, when it has arrived, and when the peer's kernel has acknowledged it: a
large send buffer takes megabytes long before they are on the line.
"""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Any, Protocol

import gevent
from gevent import get_hub

from amphora.interrupts import contained

__all__ = ["SECOND", "AnswerWatch", "Moving", "Silence", "Unanswered"]

#: How many times the first limit the second one is.
SECOND = 12

#: Seconds for the owner to read what has arrived, before its answer counts as late.
_TO_READ = 1.0


class Silence(TimeoutError):
    """The broker has been silent for too long.

    Attributes:
        seconds: How long.
    """

    def __init__(self, text: str, seconds: float | None = None) -> None:
        super().__init__(text)
        self.seconds = seconds


class Unanswered(Silence):
    """The broker answers, but not one question about a queue: the node of the queue is down, as a rule."""


class Moving(Protocol):
    """What the watch looks at: a socket with buffers."""

    #: Time (`time.monotonic`) at which the last byte moved, heartbeats excepted.
    last_moved: float

    #: Bytes handed to the kernel so far.
    sent: int

    def unsent(self) -> int:
        """Return how many bytes are queued and not handed to the kernel yet."""

    def unacknowledged(self) -> int:
        """Return how many bytes the kernel holds that the peer has not acknowledged."""

    def has_arrived(self) -> bool:
        """Return whether there are bytes to be read."""


class AnswerWatch:
    """Raises `Silence` in the greenlet that enters it, when the answer that it waits for is late.

    Args:
        sock: The connection's socket.
        limit: Seconds without any movement; None for no limit.
        what: What is waited for, in words.
    """

    __slots__ = (
        "_asked",
        "_graced",
        "_greenlet",
        "_left",
        "_limit",
        "_mark",
        "_sock",
        "_timer",
        "_unacknowledged",
        "_what",
    )

    def __init__(self, sock: Moving, limit: float | None, what: str = "answer from the broker") -> None:
        self._sock = sock
        self._limit = limit
        self._what = what
        self._timer: Any = None
        self._graced = False

    def __enter__(self) -> None:
        if self._limit is None:
            return
        sock = self._sock
        self._asked = self._left = monotonic()
        self._mark = sock.sent + sock.unsent()
        self._unacknowledged = sock.unacknowledged()
        self._greenlet = gevent.getcurrent()
        self._timer = get_hub().loop.timer(self._limit)
        self._timer.start(contained, self._look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _look(self) -> None:
        """Look whether the answer is late; runs in the hub."""
        limit, now = self._limit, monotonic()
        if self._timer is None or limit is None:
            return
        late_at = self._late_at(limit, now)
        if late_at > now:
            self._graced = False
            self._look_in(late_at - now)
        elif not self._graced and self._sock.has_arrived():
            # The owner, or the whole program, was busy.
            self._graced = True
            self._look_in(min(limit, _TO_READ))
        else:
            seconds = now - max(self._asked, self._sock.last_moved)
            self._greenlet.throw(Silence(f"no {self._what} for {seconds:.3g} s", seconds))

    def _look_in(self, seconds: float) -> None:
        self._timer.stop()
        self._timer.close()
        self._timer = get_hub().loop.timer(seconds)
        self._timer.start(contained, self._look)

    def _late_at(self, limit: float, now: float) -> float:
        sock = self._sock
        unacknowledged = sock.unacknowledged()
        if unacknowledged < self._unacknowledged:
            sock.last_moved = now
        self._unacknowledged = unacknowledged
        if sock.sent < self._mark:
            # The question is still here.
            self._left = now
        return min(max(self._asked, sock.last_moved) + limit, self._left + SECOND * limit)
