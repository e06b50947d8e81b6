"""`Suspicion`: which message breaks connections, so that it can be set aside.

Theory. A message that breaks the connection it arrives on is delivered again on the next one, to this process or to
another, without end: one message can stop every server of a service. The driver therefore keeps the payload of the
header frame of the message that it is handling in ``connection.in_hand``, and None while it handles none. When a
connection breaks, what was in hand is the culprit. One that breaks `LIMIT` connections in a row, without being handled
well in between, becomes a suspect. The driver does not parse a suspect: it sets it aside.

The driver's part, for each delivery::

    if suspicion and suspicion.is_suspect(header):   # false while nothing has broken a connection
        ...                                          # set it aside, unread
        suspicion.clear(header)
    connection.in_hand = header
    ...                                              # parse and deliver it
    connection.in_hand = None
    if suspicion:
        suspicion.clear(header)

A message is recognized by a digest of its header's payload. RabbitMQ changes that payload when it delivers again from a
quorum queue: it counts the deliveries in the header table, and sorts the table. Thus the digest takes the bytes of the
table without their order and without these counts.

Memory: `KEPT` digests. They are forgotten `AGE` seconds after the last loss that had a culprit.
"""

from __future__ import annotations

import re
from hashlib import blake2b

__all__ = ["LIMIT", "Suspicion", "key_of"]

#: So many connections in a row does a message break before it becomes a suspect.
LIMIT = 3

#: How many messages are remembered.
KEPT = 64

#: Seconds after the last loss with a culprit after which all are forgotten.
AGE = 600.0

#: What RabbitMQ adds to the header table of what it delivers again: a short string and an integer.
_COUNTS = re.compile(rb"\x10x-delivery-count[bBsuIilL]|\x10x-acquired-count[bBsuIilL]", re.DOTALL)

#: Bytes of the integers of AMQP's field types (RabbitMQ's dialect).
_SIZES = {ord("b"): 1, ord("B"): 1, ord("s"): 2, ord("u"): 2, ord("I"): 4, ord("i"): 4, ord("l"): 8, ord("L"): 8}

#: Class, weight, body size and flags of a content header (AMQP 0-9-1, 4.2.6.1).
_FIXED = 14

_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 0x80, 0x40, 0x20


class Suspicion:
    """Counts how many connections in a row each message has broken.

    It is true while a message has broken a connection and was neither handled well since then nor forgotten.

    Attributes:
        counts: How many connections each has broken, by its key. Only the machine changes it.
    """

    __slots__ = ("_last", "counts")

    def __init__(self) -> None:
        # The least recent first.
        self.counts: dict[bytes, int] = {}
        self._last = 0.0

    def __bool__(self) -> bool:
        return bool(self.counts)

    def blame(self, header: bytes, now: float) -> bool:
        """Note that a connection broke while this message was in hand.

        Args:
            header: Payload of its header frame.
            now: Monotonic seconds.

        Returns:
            Whether it has become a suspect with this one.
        """
        self.tick(now)
        self._last = now
        key = key_of(header)
        count = self.counts.pop(key, 0) + 1
        self.counts[key] = count
        if len(self.counts) > KEPT:
            del self.counts[next(iter(self.counts))]
        return count == LIMIT

    def is_suspect(self, header: bytes) -> bool:
        """Return whether this message has broken `LIMIT` connections in a row: it must not be parsed again."""
        return self.counts.get(key_of(header), 0) >= LIMIT

    def clear(self, header: bytes) -> None:
        """Note that a connection has outlived this message, because it was handled or set aside."""
        self.counts.pop(key_of(header), None)

    def tick(self, now: float) -> None:
        """Forget all messages when the last loss was long ago; called at each new connection."""
        if self.counts and now - self._last > AGE:
            self.counts.clear()

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self.counts) <= KEPT, "more messages than are kept"
        assert all(count >= 1 for count in self.counts.values()), "a message that broke nothing"


def key_of(header: bytes) -> bytes:
    """Return what a message is recognized by when it is delivered again.

    Args:
        header: Payload of its header frame, which may be malformed.
    """
    start, end = _table(header)
    table = header[start:end]
    digest = blake2b(header[:start], digest_size=16)
    digest.update(bytes(sorted(_without_counts(table))))
    digest.update(header[end:])
    return digest.digest()


def _table(header: bytes) -> tuple[int, int]:
    """Return where the header table begins and ends, without its size; an empty range where there is none."""
    position = _FIXED
    if len(header) <= _FIXED:
        return len(header), len(header)
    flags = header[_FIXED - 2]
    for flag in (_CONTENT_TYPE, _CONTENT_ENCODING):
        if flags & flag and position < len(header):
            position += 1 + header[position]
    if not flags & _HEADERS or position + 4 > len(header):
        return len(header), len(header)
    return position, min(len(header), position + 4 + int.from_bytes(header[position : position + 4], "big"))


def _without_counts(table: bytes) -> bytes:
    """Return the fields of a table without the counts of deliveries."""
    pieces, position = [], 4
    for match in _COUNTS.finditer(table, 4):
        pieces.append(table[position : match.start()])
        position = match.end() + _SIZES[table[match.end() - 1]]
    pieces.append(table[position:])
    return b"".join(pieces)
