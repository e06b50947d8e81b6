"""What a single value must be: a count, a duration, a time to live. The error names the value as its user does."""

from __future__ import annotations

import math
import sys
from typing import Any

__all__ = [
    "at_least_one",
    "boolean",
    "concurrency_of",
    "expiry_of",
    "heartbeat_of",
    "milliseconds",
    "seconds",
    "seconds_or_zero",
    "timeout_of",
]

#: The largest prefetch count (`basic.qos`) and heartbeat interval (`connection.tune`): 16 bits (AMQP 0-9-1, 1.7.2).
_MOST_SHORT = 65_535

#: The longest time in milliseconds for ``x-expires`` and ``x-message-ttl``: 32 bits, some 49 days. RabbitMQ refuses to
#: declare a queue with more (https://www.rabbitmq.com/docs/ttl).
_MOST_MILLISECONDS = 2**32 - 1


def boolean(name: str, value: Any) -> bool:
    """Return a bool.

    Raises:
        TypeError: It is not one.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}")
    return value


def at_least_one(name: str, value: Any) -> int:
    """Return a count.

    Raises:
        TypeError: It is not an int.
        ValueError: It is less than one.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def seconds(name: str, value: Any, *, zero: bool = False) -> float:
    """Return a duration.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative, not finite, or zero where that makes no sense.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if isinstance(value, int) and value > sys.float_info.max:
        raise ValueError(f"{name} is too large: more than {sys.float_info.max:.1e} s")
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} must be {'0 or ' if zero else ''}more than 0 s, not {value}")
    return float(value)


def seconds_or_zero(name: str, value: Any) -> float:
    """Return a duration, which may be 0.

    Raises:
        TypeError, ValueError: See `seconds`.
    """
    return seconds(name, value, zero=True)


def timeout_of(value: Any, name: str = "timeout") -> float | None:
    """Return a timeout; None for no limit.

    Raises:
        TypeError, ValueError: See `seconds`; 0 is allowed.
    """
    return None if value is None else seconds(name, value, zero=True)


def heartbeat_of(name: str, value: Any) -> Any:
    """Return a heartbeat interval in seconds; 0 for none.

    Raises:
        TypeError: See `seconds`.
        ValueError: See `seconds`; or it is not in whole seconds, or is longer than AMQP can tell.
    """
    seconds(name, value, zero=True)
    if 0 < value < 1 or value != int(value):
        raise ValueError(f"{name} is in whole seconds (AMQP's unit), not {value}")
    if value > _MOST_SHORT:
        raise ValueError(f"{name} must be at most {_MOST_SHORT} s (AMQP's limit), not {value}")
    return value


def milliseconds(name: str, value: Any) -> int:
    """Return a duration given in seconds in AMQP's unit for expiries, of which there is at least one.

    Raises:
        TypeError: See `seconds`.
        ValueError: See `seconds`; or it is longer than RabbitMQ keeps an unused queue, some 49 days.
    """
    wanted = max(1.0, seconds(name, value) * 1000)
    if wanted > _MOST_MILLISECONDS:
        raise ValueError(f"{name} must be at most {_MOST_MILLISECONDS // 1000} s (RabbitMQ's limit), not {value}")
    return round(wanted)


def expiry_of(name: str, value: Any) -> int:
    """Return a duration in milliseconds after which RabbitMQ deletes an unused queue.

    Raises:
        TypeError: It is not an int.
        ValueError: It is less than one, or more than RabbitMQ takes.
    """
    if at_least_one(name, value) > _MOST_MILLISECONDS:
        raise ValueError(f"{name} must be at most {_MOST_MILLISECONDS} ms (RabbitMQ's limit), not {value}")
    return int(value)


def concurrency_of(value: Any, name: str = "concurrency") -> int:
    """Return how many requests a server runs at the same time, which is its prefetch count too.

    Raises:
        TypeError: It is not an int.
        ValueError: It is less than one, or more than AMQP can count.
    """
    if at_least_one(name, value) > _MOST_SHORT:
        raise ValueError(f"{name} must be at most {_MOST_SHORT} (AMQP's limit for a prefetch count), not {value}")
    return int(value)
