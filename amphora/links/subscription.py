"""A wish to consume from one queue, for as long as it is not cancelled."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from gevent.event import Event
from kombu import Queue

from amphora.links.delivery import Delivery

__all__ = ["Subscription"]

#: Seconds between looks for a queue that does not exist yet: the first, and the most.
_SOON, _LATE = 0.05, 1.0


class Subscription:
    """A wish to consume from one queue, for as long as it is not cancelled.

    Args:
        queue: Name of the queue.
        prefetch: How many messages may be unacknowledged; 0 for any number.
        deliver: Takes each delivery, in the owner's greenlet; must neither block nor raise.
        own: Whether the queue is part of the topology: declared again when it is gone. Any other
            queue is waited for.
        optional: The queue as an entity, if it is one that may be done without: it is declared when it is consumed
            from, and where the broker refuses that, it is left alone until the next connection.

    Attributes:
        settled: Set once the queue was found or found missing.
        missing: Whether the queue did not exist when last looked for.
        cancelled: Set when no more deliveries can come.
        tag: Tag of its consumer; None while it has none.
        refused: Whether the broker has refused the queue on this connection, which may be done without.
        look_at: Time (`time.monotonic`) before which a missing queue is not looked for again.
    """

    def __init__(
        self,
        queue: str,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        *,
        own: bool,
        optional: Queue | None = None,
    ) -> None:
        self.queue = queue
        self.prefetch = prefetch
        self.deliver = deliver
        self.own = own
        self.optional = optional
        self.settled = Event()
        self.missing = False
        self.cancelled = Event()
        self.tag: str | None = None
        self.refused = False
        self.look_at = 0.0
        self._delay = _SOON

    def look_later(self) -> None:
        """The queue does not exist: it is looked for after a while, which grows."""
        self.missing = True
        self.look_at = monotonic() + self._delay
        self._delay = min(2 * self._delay, _LATE)

    def found(self) -> None:
        """The queue exists, and is consumed from."""
        self.missing = False
        self._delay = _SOON
