"""The parked replies of a server: those that no queue takes for now, and what is known of their clients.

A reply that no queue takes has its client's queue bound again, once for all replies of that client, and is sent again.
Where there is no such queue, it is looked for once more a second later; then the client is gone, and the replies to it
are abandoned at once, for a minute. A reply that a full queue refuses is sent again after 1, 2, 4 ... 30 s. A parked
reply has its prefetch, so at most half as many are parked as there are slots: of more, the oldest is abandoned that
cannot be delivered: at once where there is no queue, and where the queue has been full for 30 s.

The states of the records, and what is done about them, are the affair of `amphora.core.requests`.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import Generic, TypeVar

from amphora.core.records import Record
from amphora.core.remembered import remember

__all__ = ["Parking"]

#: Seconds for which a client that has no queue is known to be gone.
_GONE = 60.0

#: Seconds for which a full queue may keep its replies parked beyond their number.
_FULL = 30.0

R = TypeVar("R", bound=Record)


class Parking(Generic[R]):
    """The parked replies; see the module.

    Args:
        most: How many may be parked.

    Attributes:
        records: The parked records, the oldest first.
        looking: Clients whose queues are being looked for.
        gone: Clients without a queue, and until when that is believed.
        full: Clients whose queues are full, and since when.
    """

    def __init__(self, most: int) -> None:
        self.records: dict[R, None] = {}
        self.looking: dict[str, None] = {}
        self.gone: OrderedDict[str, float] = OrderedDict()
        self.full: OrderedDict[str, float] = OrderedDict()
        self._most = most

    def heard_of(self, client: str | None) -> None:
        """A reply to this client was taken."""
        if client is not None:
            self.full.pop(client, None)
            self.gone.pop(client, None)

    def is_gone(self, client: str, now: float) -> bool:
        """Return whether this client is known to have no queue."""
        return self.gone.get(client, -inf) > now

    def is_waited_for(self, client: str) -> bool:
        """Return whether a reply waits for the queue of a client to be found."""
        return any(_waits_for(each, client) for each in self.records)

    def begin_to_look(self, client: str) -> bool:
        """Note that the queue of a client is looked for; return whether it was not already."""
        if client in self.looking:
            return False
        self.looking[client] = None
        return True

    def looked(self, client: str, found: bool, now: float) -> list[R]:
        """Take what the look has found: the client is `gone` if that was the second one in vain.

        Returns:
            The replies that wait for it.
        """
        self.looking.pop(client, None)
        waiting = [each for each in self.records if _waits_for(each, client)]
        if not found and any(each.looked for each in waiting):
            remember(self.gone, client, now + _GONE)
        return waiting

    def refused(self, client: str, now: float) -> None:
        """The queue of a client is full."""
        if client not in self.full:
            remember(self.full, client, now)

    def surplus(self, now: float) -> R | None:
        """Return the reply that is to be abandoned for the others, if there are too many."""
        if len(self.records) <= self._most:
            return None
        return next((each for each in self.records if self._may_abandon(each, now)), None)

    def _may_abandon(self, record: R, now: float) -> bool:
        return not record.full or self.full.get(record.client or "", now) <= now - _FULL


def _waits_for(record: Record, client: str) -> bool:
    return record.client == client and not record.full and record.due == inf
