"""A server's memory of the requests that it has finished, so that none runs twice.

Keys and replies are bounded apart. A key costs about 500 bytes and is kept until there are too many or it is too
old. The bodies of replies share a number of bytes; beyond it the oldest bodies are dropped and their keys stay, and a
body that would take more than an eighth of them is not kept at all. So no reply, however large, makes the server
forget that a request has run. A request whose body is gone is acknowledged when it comes again, without a second
reply: its first reply was confirmed by the broker before it got here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

__all__ = ["FinishedRequests", "Reply"]

#: A body larger than this share of the room for all of them is not kept.
_SHARE = 8

#: What a kept body costs beside its bytes; a measured order of magnitude.
_OVERHEAD = 100


class Reply(NamedTuple):
    """An encoded reply."""

    content_type: str
    body: bytes


class FinishedRequests:
    """Remembers finished requests, bounded by count and age, and their replies, bounded by bytes.

    Args:
        count: How many requests are remembered.
        size: Bytes that the bodies of their replies may take together.
        age: Seconds after which a request is forgotten.
    """

    __slots__ = ("_age", "_bodies", "_count", "_size", "_sweep_at", "_times", "_used")

    def __init__(self, *, count: int, size: int, age: float) -> None:
        self._count = count
        self._size = size
        self._age = age
        self._used = 0
        #: Entries that have become too old are looked for now and then; `recall` looks at the age itself.
        self._sweep_at = 0.0
        self._times: OrderedDict[Hashable, float] = OrderedDict()
        self._bodies: OrderedDict[Hashable, Reply] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    @property
    def size(self) -> int:
        """Bytes that the kept replies take."""
        return self._used

    def remember(self, key: Hashable, reply: Reply | None, now: float) -> None:
        """Remember that a request is finished; ``None`` where no reply was wanted."""
        times, bodies = self._times, self._bodies
        if key in times:
            self._forget(key)
        times[key] = now
        if reply is not None:
            cost = len(reply.body) + _OVERHEAD
            if cost * _SHARE <= self._size:
                bodies[key] = reply
                used = self._used + cost
                while used > self._size:
                    used -= _cost(bodies.popitem(last=False)[1])
                self._used = used
        if len(times) > self._count:
            oldest = times.popitem(last=False)[0]
            forgotten = bodies.pop(oldest, None)
            if forgotten is not None:
                self._used -= len(forgotten.body) + _OVERHEAD
        if now >= self._sweep_at:
            self._sweep_at = now + self._age / 10
            while times and next(iter(times.values())) < now - self._age:
                self._forget(next(iter(times)))

    def recall(self, key: Hashable, now: float) -> tuple[bool, Reply | None]:
        """Return whether the request is known to be finished, and its reply if that was kept."""
        time = self._times.get(key)
        if time is None:
            return False, None
        if time < now - self._age:
            self._forget(key)
            return False, None
        return True, self._bodies.get(key)

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._times) <= self._count
        assert self._used <= self._size
        assert self._used == sum(map(_cost, self._bodies.values()))
        assert self._bodies.keys() <= self._times.keys()
        assert all(_cost(reply) * _SHARE <= self._size for reply in self._bodies.values())

    def _forget(self, key: Hashable) -> None:
        del self._times[key]
        reply = self._bodies.pop(key, None)
        if reply is not None:
            self._used -= _cost(reply)


def _cost(reply: Reply) -> int:
    return _OVERHEAD + len(reply.body)
