"""What is due when, and the one alarm that a machine asks its driver for.

A machine has many things that are due at some time, and its driver has one timer. `set` notes when a thing is due, and
`take` gives the things that are due by now. The driver is asked for an alarm only when something is due earlier than
the alarm that it was asked for before; an alarm that comes too early, or twice, does no harm.

A thing has one due time, its attribute ``due``. An entry of the heap whose time is another one is stale: it is skipped
when its time has come, and all stale entries are dropped whenever the heap has doubled. So the heap is never larger
than twice the number of things that are due, plus a small number.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from math import inf
from typing import Generic, Protocol, TypeVar

__all__ = ["Alarms", "Due"]

#: The heap is not looked through for stale entries while it is smaller.
_SMALL = 64


class Due(Protocol):
    """Something that is due at a time; infinity for never."""

    due: float


D = TypeVar("D", bound=Due)


class Alarms(Generic[D]):
    """When things are due; see the module.

    Args:
        alarm: Called with a time when something is due then, and nothing before.

    Attributes:
        alarm_at: The alarm that was asked for and has not come; infinity for none.
    """

    __slots__ = ("_alarm", "_heap", "_serial", "_sweep_at", "alarm_at")

    def __init__(self, alarm: Callable[[float], None]) -> None:
        self._alarm = alarm
        self.alarm_at = inf
        # The serial number keeps things apart that are due at the same time, in the order in which they were set.
        self._heap: list[tuple[float, int, D]] = []
        self._serial = 0
        self._sweep_at = _SMALL

    def __len__(self) -> int:
        """Return how many entries there are, stale ones included."""
        return len(self._heap)

    @property
    def next(self) -> float:
        """When the first thing is due; infinity for never."""
        heap = self._heap
        while heap and heap[0][2].due != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else inf

    def set(self, thing: D, at: float) -> None:
        """Have a thing due at a time, and not at any other; infinity for never."""
        thing.due = at
        if at < inf:
            self._serial += 1
            heapq.heappush(self._heap, (at, self._serial, thing))
            if len(self._heap) > self._sweep_at:
                self._sweep()
            self.announce(at)

    def announce(self, at: float) -> None:
        """Ask for an alarm at a time, unless there is one before it: also for what has no entry here."""
        if at < self.alarm_at:
            self.alarm_at = at
            self._alarm(at)

    def fired(self) -> None:
        """Note that the alarm has come: the next one is to be announced."""
        self.alarm_at = inf

    def take(self, now: float) -> Iterator[D]:
        """Give what is due, the earliest first; what becomes due while these are handled, too."""
        while self._heap and self._heap[0][0] <= now:
            at, _, thing = heapq.heappop(self._heap)
            if thing.due == at:
                thing.due = inf
                yield thing

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
        heapq.heapify(self._heap)
        self._sweep_at = max(_SMALL, 2 * len(self._heap))
