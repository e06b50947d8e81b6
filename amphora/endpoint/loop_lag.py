"""`LoopLag`: how late the event loop was, lately."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any

from gevent import get_hub

from amphora.interrupts import contained

__all__ = ["WINDOW", "LoopLag"]

#: Seconds that are looked back on: as long as Kubernetes waits from probe to probe, unless it is told otherwise.
WINDOW = 10.0

#: Seconds from tick to tick: what holds the loop up for so much longer than this is never missed.
_TICK = 0.2


class LoopLag:
    """Watches the event loop of the thread that starts it, by a timer which fires late when the loop turns late.

    Asking alone would tell nothing: where something has just held up the loop, it answers when that is over.
    """

    def __init__(self) -> None:
        self._timer: Any = None
        self._due = 0.0
        #: When the timer fired, and by how many seconds too late; the newest last.
        self._ticks: deque[tuple[float, float]] = deque()

    def start(self) -> None:
        """Begin to watch; does nothing where it watches already."""
        if self._timer is None:
            # Without a reference: it keeps no program from ending that has nothing else to wait for.
            self._timer = get_hub().loop.timer(_TICK, _TICK, ref=False)
            self._wait_for_tick(monotonic())

    def stop(self) -> None:
        """Watch no more, and forget."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()
            self._ticks.clear()

    def worst(self) -> float:
        """Return by how many seconds the loop was late at the worst, in the last `WINDOW` or right now."""
        if self._timer is None:
            return 0.0
        now = monotonic()
        self._forget_before(now - WINDOW)
        return max(0.0, now - self._due, *(late for _, late in self._ticks))

    def _tick(self) -> None:
        """Called by the loop itself."""
        now = monotonic()
        self._ticks.append((now, max(0.0, now - self._due)))
        self._forget_before(now - WINDOW)
        self._wait_for_tick(now)

    def _wait_for_tick(self, now: float) -> None:
        self._due = now + _TICK
        # From now on, and not from when it was due. (A timer that does not repeat fires at once when it is started
        # anew: libev leaves in it what was left of its time.) The loop's own idea of the time is that of the beginning
        # of its turn.
        self._timer.again(contained, self._tick, update=True)

    def _forget_before(self, moment: float) -> None:
        while self._ticks and self._ticks[0][0] < moment:
            self._ticks.popleft()
