"""A server's memory of the requests that it has finished, so that none runs twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import NamedTuple

__all__ = ["FinishedRequests", "Reply"]

#: What an entry costs beside its body, in bytes; a measured order of magnitude.
_ENTRY = 500


class Reply(NamedTuple):
    """An encoded reply."""

    content_type: str
    body: bytes


class FinishedRequests:
    """Remembers the replies to finished requests, bounded by count, bytes and age.

    Args:
        count: How many are remembered at the most.
        size: Bytes they may take together, roughly.
        age: Seconds after which one is forgotten.
        clock: Gives the time in seconds.
    """

    def __init__(self, *, count: int, size: int, age: float, clock: Callable[[], float] = monotonic) -> None:
        self._count = count
        self._size = size
        self._age = age
        self._clock = clock
        self._used = 0
        #: Those that have become too old are looked for now and then; `recall` looks at the age itself.
        self._sweep_at = clock()
        self._replies: OrderedDict[Hashable, tuple[float, Reply | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._replies)

    def remember(self, key: Hashable, reply: Reply | None) -> None:
        """Remember that a request is finished; ``None`` where nothing was to be replied."""
        self._forget(key)
        now = self._clock()
        self._replies[key] = (now, reply)
        self._used += _cost(reply)
        while len(self._replies) > self._count or self._used > self._size:
            self._forget_oldest()
        if now >= self._sweep_at:
            self._sweep_at = now + self._age / 10
            while self._replies and next(iter(self._replies.values()))[0] < now - self._age:
                self._forget_oldest()

    def recall(self, key: Hashable) -> tuple[bool, Reply | None]:
        """Tell whether the request is known to be finished, and its reply."""
        found = self._replies.get(key)
        if found is None:
            return False, None
        time, reply = found
        if time < self._clock() - self._age:
            self._forget(key)
            return False, None
        return True, reply

    def _forget_oldest(self) -> None:
        _, (_, reply) = self._replies.popitem(last=False)
        self._used -= _cost(reply)

    def _forget(self, key: Hashable) -> None:
        found = self._replies.pop(key, None)
        if found is not None:
            self._used -= _cost(found[1])


def _cost(reply: Reply | None) -> int:
    return _ENTRY + (len(reply.body) if reply is not None else 0)
