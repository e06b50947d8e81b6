"""What an outbox holds: messages on their way to the broker, and commands that keep their place among them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any

from amphora.exceptions import AmqpRpcException

__all__ = ["ChannelCommand", "Outcome", "OutgoingMessage", "State"]

Lane = tuple[str, str]
"""Exchange and routing key: messages that have both in common are kept in order."""


class State(Enum):
    """Where a message or a command is."""

    NEW = "new"
    QUEUED = "queued"
    SENT = "sent"
    RETURNED = "returned"
    HELD = "held"
    RUNNING = "running"
    SETTLED = "settled"


_NEW = State.NEW


class Outcome(Enum):
    """How a message ends."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    NACKED = "nacked"
    EXPIRED = "expired"
    TOO_LARGE = "too large"
    UNENCODABLE = "unencodable"
    REJECTED = "rejected"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class OutgoingMessage:
    """A message on its way to the broker.

    Args:
        exchange: Name of the exchange.
        routing_key: Routing key.
        properties: Properties by their AMQP names.
        body: The body.
        done: Called once with the message and None when the broker has confirmed it, or the error when it never
            will. It runs in the owner's greenlet, or in that of the caller who publishes, withdraws or refuses.
        expires_at: Time (`time.monotonic`) after which it is not sent any more; whenever it is sent, its
            ``expiration`` says how long it has from then on.

    Attributes:
        arrived: Whether it is known to have arrived without the broker's confirm, so that it need not
            be sent again.
        order: Its place among everything that its outbox was given. It is assigned once and never changes, so a
            message that its ``done`` publishes again keeps its place too.
        refused_since: Time (`time.monotonic`) at which the broker first nacked it; None if it did not.
        restore: Asked when the broker has returned the message: gives the action that may bring its route back, to
            be run on a channel for declarations before the message and those behind it are sent again, or None.
        restores: How many times `restore` was used.
        returned: The broker's reason for returning it, from the return until the message is sent again.
        sent_at: Time (`time.monotonic`) at which it was written to a connection, the last time; 0 if it never was.
        size: Bytes of the body.
        state: Where it is. Only its outbox changes it.
    """

    __slots__ = (
        "arrived",
        "body",
        "done",
        "exchange",
        "expires_at",
        "order",
        "properties",
        "refused_since",
        "restore",
        "restores",
        "returned",
        "routing_key",
        "sent_at",
        "size",
        "state",
    )

    def __init__(
        self,
        exchange: str,
        routing_key: str,
        properties: dict[str, Any],
        body: bytes,
        done: Callable[[OutgoingMessage, AmqpRpcException | None], None],
        expires_at: float | None = None,
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.properties = properties
        self.body = body
        self.done = done
        self.expires_at = expires_at
        self.size = len(body)
        self.sent_at = 0.0
        self.arrived = False
        self.order = 0
        self.state = _NEW
        self.refused_since: float | None = None
        self.returned: str | None = None
        self.restore: Callable[[OutgoingMessage], Callable[[Any], Any] | None] | None = None
        self.restores = 0

    @property
    def sent(self) -> bool:
        """Whether it was written to a connection at least once."""
        return self.sent_at > 0.0

    @property
    def lane(self) -> Lane:
        """The messages with which it is kept in order."""
        return self.exchange, self.routing_key


class ChannelCommand:
    """Something to do on a channel for declarations, between the messages before it and those after it.

    Args:
        action: Takes the channel. Runs again if the connection breaks in the middle.
        result: Where the driver puts what came of it; means nothing to the outbox.
        key: A command that waits under the same key makes this one superfluous.
        expendable: Whether it may be dropped where too many wait.
        lane: For commands that restore a route: which one.
        holds: The lane whose messages wait for it where it takes long; others do not.
        limit: Seconds to wait for an answer that does not come; None for those of every command. A command with a limit
            is not begun while many others wait for an answer.

    Attributes:
        order: Its place, as that of a message.
        state: QUEUED, RUNNING or SETTLED.
        strikes: How many times the broker ended the connection with a protocol error while the command ran.
    """

    __slots__ = ("action", "expendable", "holds", "key", "lane", "limit", "order", "result", "state", "strikes")

    def __init__(
        self,
        action: Callable[[Any], Any],
        result: Any = None,
        *,
        key: Hashable = None,
        expendable: bool = False,
        lane: Lane | None = None,
        holds: Lane | None = None,
        limit: float | None = None,
    ) -> None:
        self.action = action
        self.result = result
        self.key = key
        self.expendable = expendable
        self.lane = lane
        self.holds = lane if holds is None else holds
        self.limit = limit
        self.order = 0
        self.state = State.NEW
        self.strikes = 0
