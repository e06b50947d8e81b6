"""What the links use of a connection and of a channel: the ports that each transport fills.

`amphora.driver.transport` (and `amphora.driver.stock` on top of it) talks AMQP, `amphora.driver.memory` to queues of
this process. Their classes name these as bases, so that mypy compares each method that they define. What they inherit
from py-amqp and Kombu, which have no types, is only declared here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from amqp.exceptions import ChannelError

from amphora.core.suspicion import Suspicion
from amphora.driver.incoming_message import IncomingMessage, SettlingChannel
from amphora.driver.tls_session import TlsSession

__all__ = ["ChannelPort", "ConnectionPort"]


class ChannelPort(SettlingChannel, Protocol):
    """A channel: what is published and consumed on it, and its synchronous methods (AMQP 0-9-1, 1.3 to 1.8).

    The synchronous methods wait for the broker's answer. They raise a `ChannelError` where the broker refuses, which
    closes the channel, and `amphora.driver.progress.Silence` where no answer comes.

    Attributes:
        connection: None as soon as the channel is closed.
        consumers: Callbacks by consumer tag, registered before consuming.
        on_confirm: Called with (delivery tag, multiple, acked) for the broker's confirms.
        on_return: Called with (reply text, exchange, routing key, message id) for a returned message.
        on_closed: Called with the error when the broker closes the channel.
        on_suspect: Called with a message that has broken several connections.
    """

    connection: Any
    consumers: dict[str, Callable[[IncomingMessage], None]]
    on_confirm: Callable[[int, bool, bool], None] | None
    on_return: Callable[[str, str, str, str | None], None] | None
    on_closed: Callable[[ChannelError], None] | None
    on_suspect: Callable[[IncomingMessage], None] | None

    # -- that never wait --------------------------------------------------------------------

    def encode(
        self, exchange: str, routing_key: str, properties: dict[str, Any], body: bytes, *, mandatory: bool
    ) -> Any:
        """Encode one message for `write` of the same channel."""

    def write(self, frames: Any, /, *, at_once: bool) -> None:
        """Queue what `encode` returned for sending."""

    def abandon(self) -> None:
        """Close the channel without waiting for the broker."""

    # -- synchronous ------------------------------------------------------------------------

    def confirm_select(self) -> Any:
        """Have the broker confirm what is published."""

    def basic_qos(self, prefetch_size: int, prefetch_count: int, a_global: bool, /) -> Any:
        """Set the prefetch count of the consumers that are started after it."""

    def basic_consume(
        self, queue: str, consumer_tag: str, *, arguments: Mapping[str, Any] | None, on_cancel: Callable[[str], None]
    ) -> Any:
        """Start a consumer; its deliveries go to ``consumers[consumer_tag]``."""

    def basic_cancel(self, consumer_tag: str) -> Any:
        """End a consumer."""

    def basic_publish(self, msg: Any, exchange: str, routing_key: str) -> Any:
        """Publish a message of py-amqp's."""

    def exchange_declare(self, exchange: str, type: str, *, passive: bool) -> Any:  # noqa: A002  (py-amqp's name)
        """Declare an exchange, or look for it."""

    def queue_declare(self, queue: str, *, passive: bool = False, **options: Any) -> Any:
        """Declare a queue, or look for it; return its name, messages and consumers."""

    def queue_bind(self, queue: str, exchange: str, routing_key: str) -> Any:
        """Bind a queue."""

    def queue_delete(self, queue: str) -> Any:
        """Delete a queue."""

    def queue_purge(self, queue: str) -> Any:
        """Delete what waits in a queue; return how many messages that were."""

    def close(self) -> Any:
        """Close the channel."""


class ConnectionPort(Protocol):
    """A connection, which one greenlet owns: it alone calls `pump`, `close` and the synchronous methods of channels.

    Attributes:
        connected: Whether the connection is up.
        heartbeat: Seconds between heartbeats that were agreed upon; 0 for none.
        in_hand: Payload of the content header of the message at which the connection broke; None if it was none.
        server_properties: What the broker tells of itself.
        suspicion: Which messages broke connections.
    """

    connected: bool
    heartbeat: float
    in_hand: bytes | None
    server_properties: Mapping[str, Any]
    suspicion: Suspicion

    @property
    def tls_session(self) -> TlsSession | None:
        """The TLS session; None where there is none."""

    def channel(self) -> ChannelPort:
        """Open a channel."""

    def pump(self) -> None:
        """Dispatch what has arrived; where nothing has, wait for some, or for `wake`."""

    def wake(self) -> None:
        """End the owner's wait; from any greenlet."""

    def close(self) -> None:
        """Close the connection in good order."""

    def abandon(self) -> None:
        """Close the connection without the closing handshake; never waits."""

    def answer_within(self, seconds: float) -> AbstractContextManager[None]:
        """Raise `amphora.driver.progress.Silence` where an answer is late by so many seconds within the context."""
