"""Validated settings of clients and servers, as frozen values."""

from __future__ import annotations

import math
import ssl as stdlib_ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amphora.options.brokers import BrokerAddress
from amphora.options.overrides import overrides

__all__ = [
    "MAX_RECEIVED_SIZE",
    "LinkSettings",
    "OutboxLimits",
    "SslOption",
    "at_least_one",
    "concurrency_of",
    "expiry_of",
    "milliseconds",
    "queue_type_of",
    "received_size_of",
    "seconds",
    "timeout_of",
    "tries_limit",
]

#: What ``ssl=`` takes: False, True, a context, or a dict with ``ca_certs``, ``certfile``, ``keyfile``,
#: ``password``, ``server_hostname``, ``check_hostname`` and ``verify``.
SslOption = bool | stdlib_ssl.SSLContext | Mapping[str, Any]

_SSL_KEYS = frozenset({"ca_certs", "certfile", "keyfile", "password", "server_hostname", "check_hostname", "verify"})


#: Tries of a request in a quorum queue, as RabbitMQ 4 has it (https://www.rabbitmq.com/docs/quorum-queues).
DELIVERY_LIMIT = 20

#: Bytes of a message's body that clients and servers decode unless told otherwise: what RabbitMQ passes on since 4.0
#: (https://www.rabbitmq.com/docs/configure#config-items, max_message_size).
MAX_RECEIVED_SIZE = 16 * 1024 * 1024
#: The largest ``delivery_limit``: the queue gets a multiple of it, which has to fit into 32 bits.
_MOST_TRIES = 100_000_000

#: The largest prefetch count (`basic.qos`) and heartbeat interval (`connection.tune`): 16 bits (AMQP 0-9-1, 1.7.2).
_MOST_SHORT = 65_535

#: The longest time in milliseconds for ``x-expires`` and ``x-message-ttl``: 32 bits, some 49 days. RabbitMQ refuses to
#: declare a queue with more (https://www.rabbitmq.com/docs/ttl).
_MOST_MILLISECONDS = 2**32 - 1


@dataclass(frozen=True)
class LinkSettings:
    """How a connection to the broker is made and kept.

    Args:
        brokers: The addresses, tried in order.
        ssl: TLS for every ``amqp://`` address too; see `SslOption`.
        heartbeat: Seconds between heartbeats; 0 switches them off.
        connect_timeout: Seconds for one attempt to connect, and for any one answer of the broker.
        reconnect_delay: Seconds after the first failed attempt; doubles with each.
        reconnect_delay_max: Seconds between attempts at the most.
    """

    brokers: tuple[BrokerAddress, ...]
    ssl: SslOption = field(default=False, repr=False)
    heartbeat: float = 30
    connect_timeout: float = 10.0
    reconnect_delay: float = 0.05
    reconnect_delay_max: float = 1.0

    def __post_init__(self) -> None:
        seconds("heartbeat", self.heartbeat, zero=True)
        if 0 < self.heartbeat < 1 or self.heartbeat != int(self.heartbeat):
            raise ValueError(f"heartbeat is in whole seconds (AMQP's unit), not {self.heartbeat}")
        if self.heartbeat > _MOST_SHORT:
            raise ValueError(f"heartbeat must be at most {_MOST_SHORT} s (AMQP's limit), not {self.heartbeat}")
        seconds("connect_timeout", self.connect_timeout)
        seconds("reconnect_delay", self.reconnect_delay)
        seconds("reconnect_delay_max", self.reconnect_delay_max)
        if isinstance(self.ssl, Mapping):
            _check_ssl(self.ssl)
        elif not isinstance(self.ssl, bool) and not callable(getattr(self.ssl, "wrap_bio", None)):
            raise TypeError(f"ssl must be a bool, a dict or an SSLContext, not a {type(self.ssl).__name__}")


def ssl_of(ssl: SslOption, brokers: tuple[BrokerAddress, ...]) -> SslOption:
    """Work out the argument ``ssl`` from what clients and servers take, and from what overrides it."""
    given = overrides()
    if given.ssl is not None:
        return _laid_over(ssl, given.ssl)
    if given.default_ssl is None or not isinstance(ssl, (bool, Mapping)):
        return ssl
    encrypted = ssl is not False or all(each.scheme == "amqps" for each in brokers)
    return _laid_over(given.default_ssl, ssl) if encrypted else ssl


def _laid_over(below: SslOption, above: SslOption) -> dict[str, Any]:
    kept = dict(below) if isinstance(below, Mapping) else {}
    if not isinstance(above, Mapping):
        return kept
    if above.get("certfile"):
        # Key and password are those of one certificate.
        kept = {name: value for name, value in kept.items() if name not in ("certfile", "keyfile", "password")}
    return {**kept, **above}


def _check_ssl(option: Mapping[str, Any]) -> None:
    # No message shows a value: one of them is a password.
    unknown = sorted(set(option) - _SSL_KEYS)
    if unknown:
        raise ValueError(f"ssl has unknown keys {unknown}; known are {', '.join(sorted(_SSL_KEYS))}")
    for name in ("check_hostname", "verify"):
        if not isinstance(option.get(name, True), bool):
            raise TypeError(f"ssl[{name!r}] must be a bool, not a {type(option[name]).__name__}")
    if not option.get("certfile") and (option.get("keyfile") or option.get("password")):
        raise ValueError("ssl has a keyfile or a password, but no certfile that it belongs to")


@dataclass(frozen=True)
class OutboxLimits:
    """How much may wait for the broker's confirmation.

    Args:
        count: Messages.
        size: Bytes of their bodies.
        message_size: Bytes of one body.
    """

    count: int = 10_000
    size: int = 64 * 1024 * 1024
    message_size: int = 128 * 1024 * 1024

    def __post_init__(self) -> None:
        at_least_one("outbox_max_count", self.count)
        at_least_one("outbox_max_bytes", self.size)
        at_least_one("max_message_size", self.message_size)


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


def timeout_of(value: Any) -> float | None:
    """Return a timeout; None for no limit.

    Raises:
        TypeError, ValueError: See `seconds`; 0 is allowed.
    """
    return None if value is None else seconds("timeout", value, zero=True)


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


def concurrency_of(value: Any) -> int:
    """Return how many requests a server runs at the same time, which is its prefetch count too.

    Raises:
        TypeError: It is not an int.
        ValueError: It is less than one, or more than AMQP can count.
    """
    if at_least_one("concurrency", value) > _MOST_SHORT:
        raise ValueError(f"concurrency must be at most {_MOST_SHORT} (AMQP's limit for a prefetch count), not {value}")
    return int(value)


def queue_type_of(value: Any) -> str:
    """Return a type of queue.

    Raises:
        ValueError: There is no such type.
    """
    if value not in ("auto", "classic", "quorum"):
        raise ValueError(f"queue_type must be 'auto', 'classic' or 'quorum', not {value!r}")
    return str(value)


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


def received_size_of(value: Any) -> int:
    """Return the most bytes of a message's body that are decoded: those given, or what overrides them.

    Raises:
        TypeError, ValueError: See `at_least_one`.
    """
    given = overrides().max_received_size
    return at_least_one("max_received_size", value if given is None else given)


def tries_limit(value: Any, queue_type: str) -> int | None:
    """Return how many tries a request has (``delivery_limit``); None for any number.

    Args:
        value: At least 2; 0 for no limit; None for the default, which is a limit with ``quorum`` only.
        queue_type: See `queue_type_of`.

    Raises:
        TypeError: It is not an int.
        ValueError: It is 1, with which a server's death would condemn all that it has in hand, negative, or larger than
            the broker can count.
    """
    if value is None:
        return DELIVERY_LIMIT if queue_type == "quorum" else None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"delivery_limit must be an int, or None for the default, not {value!r}")
    if value == 1 or value < 0:
        raise ValueError(f"delivery_limit must be at least 2, or 0 for no limit, not {value}")
    if value > _MOST_TRIES:
        raise ValueError(f"delivery_limit must be at most {_MOST_TRIES}, or 0 for no limit, not {value}")
    return value or None
