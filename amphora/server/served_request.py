"""A request that a server has: its record, and the delivery that it came with."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from hashlib import blake2b
from math import inf
from typing import Any

from amphora.core.receiver import Intake
from amphora.core.records import AGAIN, Record, State
from amphora.driver.incoming_message import IncomingMessage
from amphora.exceptions import WrongRequest
from amphora.protocol.headers import CAST

__all__ = ["ServedRequest", "request_key"]

#: Ids as Amphora's clients make them: never used twice.
_OWN = re.compile(r"[0-9a-f]{32}-[0-9a-f]+\Z").match

#: Bytes at each end by which large bodies of own requests are told apart.
_END = 2048

_NEW = State.NEW


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
        # What the constructor of `Record` does, without a further call for every request; a test compares them.
        self.tokens = [delivery]
        self.key = key
        headers = properties.get("headers")
        # A cast has no reply, though servers of 0.1 may send one.
        self.client = None if headers and headers.get(CAST) is True else properties.get("reply_to") or None
        self.named = message_id is not None
        self.redelivered = delivery.redelivered
        self.receiver = receiver
        self.state = _NEW
        self.apart = self.begun = self.looked = self.full = False
        self.perishable = headers is not None
        self.reply = None
        self.due = inf
        self.again = AGAIN
        self.restores = 0
        self.counter = ""
        self.delivery = delivery
        self.message_id = message_id
        self.content_type: str | None = properties.get("content_type")
        self.function: str | None = None
        self.greenlet: Any = None
        self.shortened = False
        self.untrusted = False
        self.version = 1
        self.problem: WrongRequest | None = None


def request_key(properties: Mapping[str, Any], body: bytes) -> tuple[Hashable, str | None]:
    """Return what a request is known by, and its id (None if it has none).

    A foreign client may use one id for many requests, so the whole body is a part of the key. Amphora's own clients
    do not, so of a large body only its size and its ends are: that keeps apart what another client sends under an id of
    theirs, and costs nothing. Without an id, the key is the same for equal requests, which are different ones all the
    same.
    """
    message_id: str | None = properties.get("message_id") or properties.get("correlation_id")
    reply_to = properties.get("reply_to") or None
    if len(body) <= 2 * _END:
        return (reply_to, message_id, hash(body)), message_id
    if message_id is not None and _OWN(message_id):
        return (reply_to, message_id, hash((len(body), body[:_END], body[-_END:]))), message_id
    return (reply_to, message_id, blake2b(body, digest_size=16).digest()), message_id
