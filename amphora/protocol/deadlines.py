"""The time after which nobody waits for a request any more, as it travels with it.

It travels twice. The ``expiration`` property lets the broker drop the request from its queue; it is a
duration, so no two clocks are compared. The header `DEADLINE` is a point in time, for the server that has
taken the request off the queue; the clocks of client and server are compared there. Amphora 0.1.3 reads
neither. Source: RabbitMQ's per-message TTL, https://www.rabbitmq.com/docs/ttl.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import time
from typing import Any

__all__ = ["DEADLINE", "deadline_header", "deadline_of", "expiration", "is_expired"]

#: Header of a request: milliseconds since 1970 (UTC), an integer.
DEADLINE = "x-amphora-deadline"


def deadline_header(deadline: float) -> dict[str, Any]:
    """Give the header for a deadline (`time.time`)."""
    return {DEADLINE: math.ceil(deadline * 1000)}


def deadline_of(properties: Mapping[str, Any]) -> float | None:
    """Return a request's deadline (`time.time`); None if it has none, or none that can be read."""
    headers = properties.get("headers")
    if not headers:
        return None
    milliseconds = headers.get(DEADLINE)
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        return None
    return milliseconds / 1000


def is_expired(properties: Mapping[str, Any]) -> bool:
    """Tell whether a request's deadline has passed, by this machine's clock."""
    deadline = deadline_of(properties)
    return deadline is not None and deadline <= time()


def expiration(seconds: float) -> str:
    """Give the ``expiration`` property for a message that may wait so long; at least a millisecond."""
    return str(max(1, math.ceil(seconds * 1000)))
