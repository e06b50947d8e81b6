"""A delivered message."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["IncomingMessage", "SettlingChannel"]


class SettlingChannel(Protocol):
    """The part of a `ChannelPort` that settles deliveries."""

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Acknowledge a delivery, or all up to it."""

    def reject(self, delivery_tag: int, *, requeue: bool) -> None:
        """Give a delivery back, or reject it."""


class IncomingMessage:
    """A message as a consumer got it.

    Attributes:
        channel: The channel it came on; its tag means something on no other.
        delivery_tag: What to acknowledge it with.
        redelivered: Whether it was delivered before, here or elsewhere.
        properties: Properties by their AMQP names; any of them may be missing.
        body: The body.
        exchange: The exchange that it was published to, as the broker reports it; empty for the default exchange.
        routing_key: The routing key that it was published with, as the broker reports it.
    """

    __slots__ = ("body", "channel", "delivery_tag", "exchange", "properties", "redelivered", "routing_key")

    def __init__(
        self,
        channel: SettlingChannel,
        delivery_tag: Any,
        redelivered: bool,
        properties: dict[str, Any],
        body: bytes,
        exchange: str = "",
        routing_key: str = "",
    ) -> None:
        self.channel = channel
        self.delivery_tag = delivery_tag
        self.redelivered = redelivered
        self.properties = properties
        self.body = body
        self.exchange = exchange
        self.routing_key = routing_key
