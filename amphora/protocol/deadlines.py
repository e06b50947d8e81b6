"""The time after which no caller waits for a request any more, as it travels with it.

It travels twice. The ``expiration`` property lets the broker drop the request from its queue; it is a
duration, so no two clocks are compared. The header `DEADLINE` is a point in time, for the server that has
taken the request off the queue; the clocks of client and server are compared there. Amphora 0.1.3 reads
neither. Source: RabbitMQ's per-message TTL, https://www.rabbitmq.com/docs/ttl.

A deadline may be any number. Both forms are clipped to what AMQP and RabbitMQ accept: a duration that RabbitMQ
refuses closes the channel of everything else that is sent, and an integer of more than 64 bits cannot be encoded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import time
from typing import Any

__all__ = ["DEADLINE", "LATEST", "clipped", "deadline_header", "deadline_of", "expiration", "is_expired"]

#: Header of a request: milliseconds since 1970 (UTC), an integer.
DEADLINE = "x-amphora-deadline"

#: The latest deadline (`time.time`), the first day of the year 9999: `datetime` represents it in every time zone.
LATEST = 253_370_764_800.0

#: The longest ``expiration`` in milliseconds, 24.8 days: a signed integer of 32 bits. RabbitMQ 3.10 refuses one of
#: more than ten years.
_LONGEST = 2**31 - 1


def clipped(deadline: float) -> float:
    """Return a deadline (`time.time`), or the nearest one that can travel, from 1970 to `LATEST`."""
    return min(max(deadline, 0.0), LATEST)


def deadline_header(deadline: float) -> dict[str, Any]:
    """Return the header for a deadline (`time.time`), which is clipped."""
    return {DEADLINE: math.ceil(clipped(deadline) * 1000)}


def deadline_of(properties: Mapping[str, Any]) -> float | None:
    """Return a request's deadline (`time.time`), clipped; None if it has none, or none that can be read."""
    headers = properties.get("headers")
    if not headers:
        return None
    milliseconds = headers.get(DEADLINE)
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        return None
    # As an integer first: one of more than 1,024 bits is no float.
    return min(max(milliseconds, 0), int(LATEST * 1000)) / 1000


def is_expired(properties: Mapping[str, Any]) -> bool:
    """Return whether a request's deadline has passed, by this machine's clock."""
    deadline = deadline_of(properties)
    return deadline is not None and deadline <= time()


def expiration(seconds: float) -> str | None:
    """Return the ``expiration`` property of a message that may wait so long.

    Returns:
        Milliseconds, at least one; None for more than 24.8 days, as the broker need not drop such a message.
    """
    if seconds * 1000 > _LONGEST:
        return None
    return str(max(1, math.ceil(seconds * 1000)))
