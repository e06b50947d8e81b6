"""What a signature covers: the fields of a message, and their encoding.

Every field is one byte for its kind (``n`` absent, ``t`` text, ``i`` integer, ``o`` boolean, ``b`` bytes), the length
of its value in bytes (8 bytes, big-endian), and the value: text in UTF-8, an integer in decimal digits, a boolean in
one byte. The body is always the last field, so no two messages have the same encoding.

Version 2, which signs requests, replies and dead letters alike, has these fields in this order:

1. the text ``amphora 2``;
2. the kind of message: ``request``, ``control`` (a question to all servers), ``reply``, or ``letter`` (a dead letter);
3. the service name;
4. the routing key that the message was published with;
5. the properties `PROPERTIES`;
6. the number of signed headers; then, in byte order of their names, the name and value of each;
7. the body.

Signed headers are those whose names begin with ``x-amphora-``, except the signatures and, unless the kind is
``letter``, what a server adds to a dead letter (`ADDED_TO_LETTERS`). A header that Amphora may define later is covered
by the same rule.

Version 1, which Amphora 1.0.0a1 uses, covers less. Its fields are:

- of a request: the text ``amphora request 1``, the service name, ``message_id``, ``correlation_id``, ``reply_to``,
  ``content_type``, ``timestamp``, the header `DEADLINE`, the body;
- of a reply: the text ``amphora reply 1``, the service name, the client's uuid (the routing key), ``message_id``,
  ``correlation_id``, ``content_type``, the body.

Not covered in either version: ``expiration`` (computed anew whenever a request is sent), ``delivery_mode``,
``user_id`` (the broker checks it), the headers of users and of tracing, and the headers that brokers add.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from amphora.protocol.deadlines import DEADLINE
from amphora.protocol.headers import CONTROL, RESERVED
from amphora.protocol.names import CONTROL_KEY

__all__ = [
    "ADDED_TO_LETTERS",
    "CONTROL_KIND",
    "LETTER",
    "REPLY",
    "REQUEST",
    "SIGNATURE",
    "SIGNATURE_2",
    "SIGNATURE_OF_LETTER",
    "head_1",
    "head_2",
    "kind_of",
]

#: Headers with the signatures of versions 1 and 2, and with that of the server that made a dead letter.
SIGNATURE, SIGNATURE_2, SIGNATURE_OF_LETTER = (f"{RESERVED}signature{each}" for each in ("", "-2", "-letter"))

#: Kinds of messages.
REQUEST, CONTROL_KIND, REPLY, LETTER = "request", "control", "reply", "letter"

#: Headers that a server adds when it makes a dead letter of a request; see `amphora.protocol.dead_letters`.
ADDED_TO_LETTERS = frozenset(
    f"{RESERVED}{each}" for each in ("queue", "reason", "tries", "routing-key", "held-deadline")
)

#: Properties that version 2 covers, in this order.
PROPERTIES = (
    "message_id",
    "correlation_id",
    "reply_to",
    "content_type",
    "content_encoding",
    "timestamp",
    "priority",
)

_OF_A_REQUEST = ("message_id", "correlation_id", "reply_to", "content_type", "timestamp")
_OF_A_REPLY = ("message_id", "correlation_id", "content_type")


def kind_of(routing_key: str, headers: Mapping[str, Any]) -> str:
    """Return whether a request is `REQUEST` or `CONTROL_KIND`."""
    return CONTROL_KIND if routing_key == CONTROL_KEY or CONTROL in headers else REQUEST


def head_1(service: str, properties: Mapping[str, Any], *, client: str | None, size: int) -> bytes:
    """Return what version 1 signs before the body.

    Args:
        service: Name of the service.
        properties: The message's properties.
        client: Uuid of the client that a reply is for; None for a request.
        size: Bytes of the body.

    Raises:
        TypeError: A signed property is neither text nor an integer.
    """
    fields: list[Any]
    if client is None:
        deadline = (properties.get("headers") or {}).get(DEADLINE)
        fields = ["amphora request 1", service, *map(properties.get, _OF_A_REQUEST), deadline]
    else:
        fields = ["amphora reply 1", service, client, *map(properties.get, _OF_A_REPLY)]
    if any(isinstance(each, bool) for each in fields):
        raise TypeError("version 1 signs text and integers only, not a bool")
    return b"".join(map(_field, fields)) + _before(b"b", size)


def head_2(kind: str, service: str, routing_key: str, properties: Mapping[str, Any], *, size: int) -> bytes:
    """Return what version 2 signs before the body.

    Args:
        kind: One of the kinds above.
        service: Name of the service.
        routing_key: Routing key that the message is published with.
        properties: The message's properties.
        size: Bytes of the body.

    Raises:
        TypeError: A signed property or header is neither text, an integer nor a boolean.
    """
    fields = [_start(kind, service), _field(routing_key)]
    for name in PROPERTIES:
        value = properties.get(name)
        fields.append(_ABSENT if value is None else _field(value))
    headers = properties.get("headers")
    signed = sorted(name for name in headers if _is_signed(kind, name)) if headers else ()
    if headers and signed:
        fields.append(_field(len(signed)))
        for name in signed:
            fields += (_field(name), _field(headers[name]))
    else:
        fields.append(_NO_HEADERS)
    fields.append(_before(b"b", size))
    return b"".join(fields)


@lru_cache(maxsize=64)
def _start(kind: str, service: str) -> bytes:
    return b"".join(map(_field, ("amphora 2", kind, service)))


def _is_signed(kind: str, name: Any) -> bool:
    if not isinstance(name, str) or not name.startswith(RESERVED):
        return False
    if kind == LETTER:
        # The signatures of the request too: who has made the letter has checked them.
        return name != SIGNATURE_OF_LETTER
    return name not in ADDED_TO_LETTERS and not name.startswith(SIGNATURE)


def _field(value: Any) -> bytes:
    if value is None:
        return _ABSENT
    if isinstance(value, str):
        text = value.encode() if value.isascii() else value.encode("utf-8", "surrogatepass")
        return _before(b"t", len(text)) + text
    if isinstance(value, bool):
        return _before(b"o", 1) + (b"\x01" if value else b"\x00")
    if isinstance(value, int):
        digits = b"%d" % value
        return _before(b"i", len(digits)) + digits
    if isinstance(value, bytes):
        return _before(b"b", len(value)) + value
    raise TypeError(f"what is signed must be text or an integer, not a {type(value).__name__}")


def _before(kind: bytes, length: int) -> bytes:
    return kind + length.to_bytes(8, "big")


_ABSENT = _before(b"n", 0)
_NO_HEADERS = _field(0)
