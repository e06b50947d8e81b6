"""A wish to consume from one queue, for as long as it is not cancelled."""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event
from kombu import Queue

from amphora.core.subscriptions import Kind, Wish
from amphora.driver.incoming_message import IncomingMessage

__all__ = ["Subscription"]


class Subscription(Wish):
    """A wish to consume from one queue, for as long as it is not cancelled.

    Args:
        queue: Name of the queue.
        prefetch: How many messages may be unacknowledged; 0 for any number.
        deliver: Takes each delivery, in the owner's greenlet; must neither block nor raise.
        own: Whether the queue is part of the topology: declared again when it is gone. Any other
            queue is waited for.
        optional: The queue as an entity, if it is one that may be done without: it is declared when it is consumed
            from, and where the broker refuses that or does not answer, it is tried again minutes later.
        private: Whether only this endpoint uses the queue: one of the topology that cannot be consumed from, as the
            broker does not answer, is deleted and declared again.

    Attributes:
        settled: Set once the queue was found or found missing.
        missing: Whether the queue did not exist when last looked for.
        cancelled: Set when no more deliveries can come.
    """

    __slots__ = ("cancelled", "deliver", "missing", "optional", "prefetch", "queue", "settled")

    def __init__(
        self,
        queue: str,
        prefetch: int,
        deliver: Callable[[IncomingMessage], None],
        *,
        own: bool,
        optional: Queue | None = None,
        private: bool = False,
    ) -> None:
        super().__init__(Kind.OPTIONAL if optional is not None else Kind.OWN if own else Kind.LABEL, private=private)
        self.queue = queue
        self.prefetch = prefetch
        self.deliver = deliver
        self.optional = optional
        self.settled = Event()
        self.missing = False
        self.cancelled = Event()

    def __repr__(self) -> str:
        return f"<Subscription {self.queue!r} {self.state.value}>"
