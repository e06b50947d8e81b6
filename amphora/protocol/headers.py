"""Headers that a program adds to its requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["CAST", "CONTROL", "RESERVED", "check_headers"]

#: Headers of Amphora's own begin with it.
RESERVED = "x-amphora-"

#: Header of a question to all servers, by which fan-out servers tell it from the other requests in their queue.
CONTROL = "x-amphora-control"

#: Header of a request that wants no reply though it has a ``reply_to``, which servers of 0.1 run nothing without.
CAST = "x-amphora-cast"

#: Longest name of a header in bytes: an AMQP short string (AMQP 0-9-1, 4.2.5.3).
_LONGEST_NAME = 255

#: Bytes of all of them together, at most: a message's properties travel in one frame (AMQP 0-9-1, 4.2.6.1), and
#: a broker's ``frame_max`` may be as low as 4096 bytes.
_ROOM = 3072


def check_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the headers of a request, once it is certain that they can be sent.

    Raises:
        TypeError: A name is not text, or a value is none of str, int, float, bool and None.
        ValueError: A name is empty, too long or reserved, an integer has more than 64 bits, or they take more than
            3072 bytes together.
    """
    size = 0
    for name, value in headers.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a header must be a str, not {name!r}")
        if name.lower().startswith(RESERVED):
            raise ValueError(f"header {name!r}: names that begin with {RESERVED!r} are Amphora's own")
        length = len(name.encode())
        if not 0 < length <= _LONGEST_NAME:
            raise ValueError(f"the name of a header must have 1 to {_LONGEST_NAME} bytes, not {length}")
        size += length + _size(name, value)
    if size > _ROOM:
        raise ValueError(f"the headers of a request may take {_ROOM} bytes together, not {size}")
    return dict(headers)


def _size(name: str, value: Any) -> int:
    if value is None or isinstance(value, (bool, float)):
        return 8
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"header {name!r}: {value} does not fit into 64 bits")
        return 8
    if isinstance(value, str):
        return len(value.encode())
    raise TypeError(f"header {name!r} must be a str, int, float, bool or None, not a {type(value).__name__}")
