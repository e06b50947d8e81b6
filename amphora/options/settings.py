"""What links are given, as frozen values; checks of TLS options and queue types."""

from __future__ import annotations

import ssl as stdlib_ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amphora.options.brokers import BrokerAddress

__all__ = [
    "MAX_RECEIVED_SIZE",
    "LinkSettings",
    "OutboxLimits",
    "SslOption",
    "queue_type_of",
    "ssl_of",
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


@dataclass(frozen=True)
class LinkSettings:
    """How a connection to the broker is made and kept; the options that it is made of were checked.

    Args:
        brokers: The addresses, tried in order.
        ssl: TLS for every ``amqp://`` address too; see `SslOption`.
        heartbeat: Seconds between heartbeats; 0 switches them off.
        connect_timeout: Seconds for one attempt to connect, and for any one answer of the broker.
        reconnect_delay: Seconds after the first failed attempt; doubles with each.
        reconnect_delay_max: Seconds between attempts at most.
    """

    brokers: tuple[BrokerAddress, ...]
    ssl: SslOption = field(default=False, repr=False)
    heartbeat: float = 30
    connect_timeout: float = 10.0
    reconnect_delay: float = 0.05
    reconnect_delay_max: float = 1.0


def ssl_of(name: str, value: Any) -> SslOption:
    """Return the argument ``ssl``; see `SslOption`.

    Raises:
        TypeError, ValueError: It is none; the text shows no value.
    """
    if isinstance(value, Mapping):
        _check_ssl(value)
    elif not isinstance(value, bool) and not callable(getattr(value, "wrap_bio", None)):
        raise TypeError(f"{name} must be a bool, a dict or an SSLContext, not a {type(value).__name__}")
    return value  # type: ignore[no-any-return]


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


def queue_type_of(value: Any) -> str:
    """Return a type of queue.

    Raises:
        ValueError: There is no such type.
    """
    if value not in ("auto", "classic", "quorum"):
        raise ValueError(f"queue_type must be 'auto', 'classic' or 'quorum', not {value!r}")
    return str(value)


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
