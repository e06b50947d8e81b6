"""Dead letters: requests that were given up, as they are in the dead-letter queue.

A letter keeps the properties, headers and body of its request, and gets headers that say where it came from and why it
was given up. A server with signing keys adds a mark (`Signatures.sign_letter`): without one, anybody who may publish a
request could have made the letter, because the broker dead-letters expired requests too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from amphora.protocol.deadlines import DEADLINE
from amphora.protocol.headers import RESERVED
from amphora.protocol.messages import PERSISTENT
from amphora.protocol.names import Names

__all__ = [
    "HELD_DEADLINE",
    "QUEUE",
    "REASON",
    "ROUTING_KEY",
    "TOO_MANY_TRIES",
    "TRIES",
    "UNREADABLE",
    "Target",
    "dead_letter_properties",
    "fitted",
    "given_back_properties",
    "identity",
    "origin_of",
    "request_of",
    "target_of",
]

#: Headers of a dead letter: the queue that it came from, why it was given up, and after how many tries.
QUEUE, REASON, TRIES = "x-amphora-queue", "x-amphora-reason", "x-amphora-tries"

#: Headers of a dead letter: the routing key with which the request was published to the exchange of its service, and
#: the deadline that it had. The first is missing where no such routing key leads back to its queue alone.
ROUTING_KEY, HELD_DEADLINE = "x-amphora-routing-key", "x-amphora-held-deadline"

#: Reasons: it was tried too often; it could not be read, and does not say where to reply to.
TOO_MANY_TRIES, UNREADABLE = "delivery_limit", "unreadable"

#: What a dead letter does not keep: it must not expire once it is given back, and RabbitMQ refuses the user of
#: another connection (https://www.rabbitmq.com/docs/validated-user-id).
_LEFT_OUT = frozenset({"expiration", "user_id", "headers", "delivery_mode"})

#: Beginnings of the names of headers that tell how a message became a dead letter: Amphora's own, and RabbitMQ's
#: (https://www.rabbitmq.com/docs/dlx#effects).
_HISTORY = (RESERVED, "x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")

#: Integers that a header table can hold, from and to.
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1

#: Longest name of a header in bytes (AMQP 0-9-1, 4.2.5.3).
_LONGEST_NAME = 255


class Target(NamedTuple):
    """Where a dead letter is given back to.

    Attributes:
        exchange: Name of the exchange; empty for the default exchange.
        routing_key: Routing key.
        trusted: Whether it is harmless to publish there even if the headers of the letter lie.
    """

    exchange: str
    routing_key: str
    trusted: bool


def dead_letter_properties(
    properties: Mapping[str, Any], *, queue: str, reason: str, tries: int, routing_key: str | None
) -> dict[str, Any]:
    """Return the properties of a dead letter.

    Args:
        properties: Those of the request.
        queue: Name of the queue that it came from.
        reason: `TOO_MANY_TRIES` or `UNREADABLE`.
        tries: How often it was tried.
        routing_key: Routing key that leads back to that queue by the request exchange of the service; None where there
            is none, as for fan-out services.
    """
    kept = {name: value for name, value in properties.items() if name not in _LEFT_OUT}
    headers = _plain(properties)
    for name in (ROUTING_KEY, HELD_DEADLINE):
        headers.pop(name, None)
    deadline = headers.pop(DEADLINE, None)
    headers |= {QUEUE: queue, REASON: reason, TRIES: tries}
    if deadline is not None:
        headers[HELD_DEADLINE] = deadline
    if routing_key is not None:
        headers[ROUTING_KEY] = routing_key
    return {**kept, "delivery_mode": PERSISTENT, "headers": headers}


def fitted(properties: Mapping[str, Any], *, room: int, size: Callable[[Mapping[str, Any]], int]) -> dict[str, Any]:
    """Return the properties of a dead letter with as many headers as fit into one frame.

    Headers of users and of tracing are left out first, the largest of them first; then all that do not say where the
    letter came from.

    Args:
        properties: Those of the dead letter.
        room: Bytes that its header frame may take.
        size: Returns how many bytes properties take, encoded.
    """
    headers = dict(properties.get("headers") or {})
    fitting = {**properties, "headers": headers}
    if size(fitting) <= room:
        return fitting
    ours = {QUEUE, REASON, TRIES, ROUTING_KEY, HELD_DEADLINE}
    by_size = sorted(headers, key=lambda name: size({"headers": {name: headers[name]}}), reverse=True)
    for kept in (lambda name: name.startswith(RESERVED), ours.__contains__, lambda _: False):
        for name in by_size:
            if name in headers and not kept(name):
                del headers[name]
                if size(fitting) <= room:
                    return fitting
    return fitting


def given_back_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a dead letter that becomes a request again: what made it a dead letter is taken off.

    So is its signature, because its timestamp may be too old.
    """
    kept = {name: value for name, value in properties.items() if name not in _LEFT_OUT}
    headers = {name: value for name, value in _plain(properties).items() if not name.lower().startswith(_HISTORY)}
    return {**kept, "delivery_mode": PERSISTENT, **({"headers": headers} if headers else {})}


def request_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that the request in a dead letter had, as far as its signature covers them."""
    headers = dict(properties.get("headers") or {})
    deadline = headers.pop(HELD_DEADLINE, None)
    if deadline is not None:
        headers[DEADLINE] = deadline
    return {**properties, "headers": headers}


def origin_of(properties: Mapping[str, Any]) -> tuple[str | None, str, int | None]:
    """Return the queue that a dead letter comes from, why it was given up, and after how many tries.

    As its headers say: those of the server that gave it up, or else RabbitMQ's (which do not tell the tries). Anybody
    may have written them, unless the letter has the mark of a server. The queue is None where they do not say it.
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


def target_of(properties: Mapping[str, Any], names: Names, *, marked: bool) -> Target:
    """Return where a dead letter is given back to.

    By the request exchange of its own service wherever that is possible: who could write the letter could publish there
    too, so headers that lie gain nothing.

    Args:
        properties: Those of the dead letter.
        names: Names of its service.
        marked: Whether it has the mark of a server of that service.

    Raises:
        ValueError: It says that it comes from a queue that cannot be one of the service.
    """
    queue, _, _ = origin_of(properties)
    routing_key = (properties.get("headers") or {}).get(ROUTING_KEY)
    if isinstance(routing_key, str):
        return Target(names.request_exchange, routing_key, trusted=True)
    if queue is None or queue == names.request_queue:
        return Target(names.request_exchange, "", trusted=queue is not None)
    if marked:
        return Target("", queue, trusted=True)
    if queue.startswith(f"rpc_{names.namespace}_") and queue.endswith("_request"):
        # The queue of a fan-out server, for all that can be known; or that of another service.
        return Target("", queue, trusted=False)
    if queue.startswith(before := f"rpc_{names.namespace}_queue_"):
        return Target(names.request_exchange, queue.removeprefix(before), trusted=True)
    # The names of 1.0.0a1.
    label = queue.removeprefix("rpc_").removesuffix("_request")
    if queue != f"rpc_{label}_request":
        raise ValueError(f"only its headers say that it comes from queue {queue!r}, and that may be anybody's")
    return Target(names.request_exchange, label, trusted=True)


def identity(properties: Mapping[str, Any], body: bytes) -> str:
    """Return 32 hexadecimal digits that are the same for a request wherever it is delivered."""
    digest = blake2b(body, digest_size=16)
    for name in ("reply_to", "message_id", "correlation_id"):
        digest.update(b"\x00" + str(properties.get(name)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    headers = properties.get("headers") or {}
    return {name: value for name, value in headers.items() if _is_plain(name, value)}


def _is_plain(name: Any, value: Any) -> bool:
    """Return whether a header from anybody can certainly be sent again: what cannot would end the connection."""
    if not isinstance(name, str) or not (name.isascii() or name.isprintable()):
        return False
    if not 0 < len(name.encode()) <= _LONGEST_NAME:
        return False
    if isinstance(value, int):
        # Not `in range(...)`, which counts one by one to a subclass of int.
        return _SMALLEST <= value <= _LARGEST
    if isinstance(value, str):
        return value.isascii() or value.isprintable()
    return value is None or isinstance(value, bytes)
