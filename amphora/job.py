"""A request from its first delivery until it is acknowledged."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from gevent.event import Event

from amphora.links.delivery import Delivery
from amphora.protocol.finished import Reply
from amphora.protocol.messages import message_id_of
from amphora.receiver import Receiver

__all__ = ["Job"]

#: Bytes at each end by which large bodies are told apart.
_END = 2048


class Job:
    """What a server knows of a request while it has it.

    Attributes:
        deliveries: Every delivery of it; more than one where the broker delivered it again meanwhile.
        receiver: The `receive_from_queue` that took it; None for the server's own queue.
        message_id: Its id; None if a foreign client sent none.
        reply_to: Routing key of the reply; None if nobody waits for one.
        content_type: The request's content type, in which the reply is encoded.
        key: What tells it from other requests.
        function: Name of its function, once it was read.
        greenlet: Where its function runs.
        reply: The reply, once there is one.
        restores: How often the route of its reply was to be restored.
        missed: Whether the queue of its reply was not there one time.
        shortened: Whether its reply was replaced, as it was too large.
        settled: Set when it was finished, ignored or given back; None where nobody counts its tries.
        untrusted: Whether its signature did not fit: what is replied to it is not signed.
        apart: Whether it is none of those that are told apart by their keys: it was dead-lettered, or is not trusted.
    """

    __slots__ = (
        "apart",
        "content_type",
        "deliveries",
        "function",
        "greenlet",
        "key",
        "message_id",
        "missed",
        "receiver",
        "reply",
        "reply_to",
        "restores",
        "settled",
        "shortened",
        "untrusted",
    )

    def __init__(self, delivery: Delivery, receiver: Receiver | None) -> None:
        properties = delivery.properties
        self.deliveries = [delivery]
        self.receiver = receiver
        self.message_id = message_id_of(properties)
        self.reply_to: str | None = properties.get("reply_to") or None
        self.content_type: str | None = properties.get("content_type")
        # The body's part keeps requests of a foreign client apart that uses one id over and over.
        self.key: Hashable = (self.reply_to, self.message_id, _fingerprint(delivery.body))
        self.function: str | None = None
        self.greenlet: Any = None
        self.reply: Reply | None = None
        self.restores = 0
        self.missed = False
        self.shortened = False
        self.settled: Event | None = None
        self.apart = False
        self.untrusted = False


def _fingerprint(body: bytes) -> int:
    """Tell bodies apart; large ones by their ends and size, for hashing a megabyte costs more than all the rest."""
    if len(body) <= 2 * _END:
        return hash(body)
    return hash((len(body), body[:_END], body[-_END:]))
