"""A request that a server has: its record, and the delivery that it came with."""

from __future__ import annotations

from typing import Any

from amphora.core.receiver import Intake
from amphora.core.requests import Record
from amphora.driver.incoming_message import IncomingMessage
from amphora.exceptions import WrongRequest
from amphora.protocol.identities import request_key

__all__ = ["ServedRequest"]


class ServedRequest(Record):
    """What a server knows of a request while it has it; see `Record`.

    Attributes:
        delivery: Its first delivery. The body is dropped when the function begins.
        message_id: Its id; None if a foreign client sent none.
        content_type: The request's content type, in which the reply is encoded.
        function: Name of its function, once it was read.
        greenlet: Where its function runs.
        shortened: Whether its reply was replaced, as it was too large.
        untrusted: Whether anybody may have sent it.
        version: Version of its signature, with which the reply is signed.
        problem: Why it cannot be read, if it cannot.
    """

    __slots__ = (
        "content_type",
        "delivery",
        "function",
        "greenlet",
        "message_id",
        "problem",
        "shortened",
        "untrusted",
        "version",
    )

    def __init__(self, delivery: IncomingMessage, receiver: Intake | None) -> None:
        properties = delivery.properties
        key, message_id = request_key(properties, delivery.body)
        Record.__init__(
            self,
            delivery,
            key,
            properties.get("reply_to") or None,
            message_id is not None,
            delivery.redelivered,
            receiver,
        )
        self.delivery = delivery
        self.message_id = message_id
        self.content_type: str | None = properties.get("content_type")
        self.function: str | None = None
        self.greenlet: Any = None
        self.shortened = False
        self.untrusted = False
        self.version = 1
        self.problem: WrongRequest | None = None
