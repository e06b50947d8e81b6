"""Dead letters: requests that were given up, as they lie in the dead-letter queue."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from amphora.protocol.deadlines import DEADLINE
from amphora.protocol.headers import RESERVED
from amphora.protocol.messages import PERSISTENT

__all__ = [
    "QUEUE",
    "REASON",
    "TOO_MANY_TRIES",
    "TRIES",
    "UNREADABLE",
    "dead_letter_properties",
    "given_back_properties",
    "identity",
    "origin_of",
]

#: Headers of a dead letter: the queue that it came from, why it was given up, and after how many tries.
QUEUE, REASON, TRIES = "x-amphora-queue", "x-amphora-reason", "x-amphora-tries"

#: Reasons: it was tried too often; it could not be read, and says nobody to tell.
TOO_MANY_TRIES, UNREADABLE = "delivery_limit", "unreadable"

#: What a dead letter does not keep: it shall not expire once it is given back, and RabbitMQ refuses the user of
#: another connection (https://www.rabbitmq.com/docs/validated-user-id).
_LEFT_OUT = frozenset({"expiration", "user_id", "headers", "delivery_mode"})

#: Beginnings of the names of headers that tell how a message became a dead letter: Amphora's own, and RabbitMQ's
#: (https://www.rabbitmq.com/docs/dlx#effects).
_HISTORY = (RESERVED, "x-death", "x-first-death-", "x-last-death-", "x-delivery-count")

#: Integers that a header table can hold.
_INTEGERS = range(-(2**63), 2**63)


def dead_letter_properties(properties: Mapping[str, Any], *, queue: str, reason: str, tries: int) -> dict[str, Any]:
    """Give the properties of a dead letter.

    Args:
        properties: Those of the request.
        queue: Name of the queue that it came from.
        reason: `TOO_MANY_TRIES` or `UNREADABLE`.
        tries: How often it was tried.
    """
    kept = {name: value for name, value in properties.items() if name not in _LEFT_OUT}
    headers = {name: value for name, value in (properties.get("headers") or {}).items() if _is_plain(value)}
    headers.pop(DEADLINE, None)
    headers |= {QUEUE: queue, REASON: reason, TRIES: tries}
    return {**kept, "delivery_mode": PERSISTENT, "headers": headers}


def given_back_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Give the properties of a dead letter that becomes a request again: what made it a dead letter is taken off.

    So is its signature, as its timestamp may be too old.
    """
    kept = {name: value for name, value in properties.items() if name not in _LEFT_OUT}
    headers = {
        name: value
        for name, value in (properties.get("headers") or {}).items()
        if _is_plain(value) and not name.lower().startswith(_HISTORY)
    }
    return {**kept, "delivery_mode": PERSISTENT, **({"headers": headers} if headers else {})}


def origin_of(properties: Mapping[str, Any]) -> tuple[str | None, str, int | None]:
    """Return the queue that a dead letter comes from, why it was given up, and after how many tries.

    As the server that gave it up says, or else RabbitMQ (which does not tell the tries). The queue is None where
    nobody says.
    """
    headers = properties.get("headers") or {}
    queue = headers.get(QUEUE) or headers.get("x-first-death-queue")
    reason = headers.get(REASON) or headers.get("x-first-death-reason") or "unknown"
    tries = headers.get(TRIES)
    return (
        queue if isinstance(queue, str) else None,
        str(reason),
        tries if isinstance(tries, int) and not isinstance(tries, bool) else None,
    )


def identity(properties: Mapping[str, Any], body: bytes) -> str:
    """Return 32 hexadecimal digits that are the same for a request wherever it is delivered."""
    digest = blake2b(body, digest_size=16)
    for name in ("reply_to", "message_id", "correlation_id"):
        digest.update(b"\x00" + str(properties.get(name)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    """Tell whether a header from anybody can surely be sent again: what cannot would end the connection."""
    if isinstance(value, int):
        return value in _INTEGERS
    if isinstance(value, str):
        return value.isascii() or value.isprintable()
    return value is None or isinstance(value, bytes)
