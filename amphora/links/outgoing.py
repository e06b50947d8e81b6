"""A message on its way to the broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amphora.exceptions import AmqpRpcException

__all__ = ["Outgoing"]


class Outgoing:
    """A message on its way to the broker.

    Args:
        exchange: Name of the exchange.
        routing_key: Routing key.
        properties: Properties by their AMQP names.
        body: The body.
        done: Called once, in the owner's greenlet, with the message and None when the broker has
            confirmed it, or the error when it never will.
        expires_at: Time (`time.monotonic`) after which it is not sent any more; whenever it is sent, its
            ``expiration`` says how long it has from then on.

    Attributes:
        sent_at: Time (`time.monotonic`) at which it was written to a connection, the last time; 0 if it never was.
        arrived: Whether it is known to have arrived without the broker's confirm, so that it need not
            be sent again.
        number: Its place among the messages of its publisher.
        refused_at: Time (`time.monotonic`) at which the broker refused it first; None if it did not.
    """

    __slots__ = (
        "arrived",
        "body",
        "done",
        "exchange",
        "expires_at",
        "number",
        "properties",
        "refused_at",
        "routing_key",
        "sent_at",
    )

    def __init__(
        self,
        exchange: str,
        routing_key: str,
        properties: dict[str, Any],
        body: bytes,
        done: Callable[[Outgoing, AmqpRpcException | None], None],
        expires_at: float | None = None,
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.properties = properties
        self.body = body
        self.done = done
        self.expires_at = expires_at
        self.sent_at = 0.0
        self.arrived = False
        self.number = 0
        self.refused_at: float | None = None

    @property
    def sent(self) -> bool:
        """Whether it was written to a connection at least once."""
        return self.sent_at > 0.0
