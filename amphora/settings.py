"""Validated settings of clients and servers, as frozen values."""

from __future__ import annotations

import math
import random
import ssl as stdlib_ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from amphora.overrides import Overrides, overrides

__all__ = [
    "AMQP_HOST",
    "AMQP_PASSWORD",
    "AMQP_PORT",
    "AMQP_USER",
    "AMQP_VHOST",
    "BrokerAddress",
    "LinkSettings",
    "OutboxLimits",
    "SslOption",
    "addresses",
    "at_least_one",
    "milliseconds",
    "queue_type_of",
    "seconds",
    "tries_limit",
]

#: What ``ssl=`` takes: False, True, a context, or a dict with ``ca_certs``, ``certfile``, ``keyfile``,
#: ``password``, ``server_hostname``, ``check_hostname`` and ``verify``.
SslOption = bool | stdlib_ssl.SSLContext | Mapping[str, Any]

_SSL_KEYS = frozenset({"ca_certs", "certfile", "keyfile", "password", "server_hostname", "check_hostname", "verify"})


class _DefaultText(str):
    """A default that can be told from the same value given by hand."""

    __slots__ = ()


class _DefaultNumber(int):
    """A default that can be told from the same value given by hand."""


AMQP_HOST = _DefaultText("127.0.0.1")
AMQP_PORT = _DefaultNumber(5672)
AMQP_USER = _DefaultText("guest")
AMQP_PASSWORD = _DefaultText("guest")
AMQP_VHOST = _DefaultText("/")

#: Tries of a request in a quorum queue, as RabbitMQ 4 has it (https://www.rabbitmq.com/docs/quorum-queues).
_DELIVERY_LIMIT = 20

_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class BrokerAddress:
    """One broker; its text never shows the password.

    Args:
        scheme: ``amqp``, ``amqps`` or ``memory``.
        host: Host name or IP address.
        port: TCP port.
        user: User name.
        password: Password.
        vhost: Virtual host.
    """

    scheme: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    vhost: str = "/"

    def __str__(self) -> str:
        if self.scheme == "memory":
            return "memory://"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.user}@{host}:{self.port}/{self.vhost}"


def addresses(
    broker_url: str | None, *, host: str, port: int, user: str, password: str, vhost: str
) -> tuple[BrokerAddress, ...]:
    """Work out the brokers from a URL (or several) or from the single arguments.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A URL together with one of the ``amqp_*`` arguments, or a URL that is none.
    """
    given = {
        "amqp_host": (host, AMQP_HOST),
        "amqp_port": (port, AMQP_PORT),
        "amqp_user": (user, AMQP_USER),
        "amqp_password": (password, AMQP_PASSWORD),
        "amqp_vhost": (vhost, AMQP_VHOST),
    }
    by_hand = [name for name, (value, default) in given.items() if value is not default]
    if broker_url is None:
        if isinstance(port, bool) or not isinstance(port, int):
            raise TypeError(f"amqp_port must be an int, not {port!r}")
        if not 0 < port < 65536:
            raise ValueError(f"amqp_port must be between 1 and 65535, not {port}")
        for name, (value, _) in given.items():
            if name != "amqp_port" and not isinstance(value, str):
                shown = "a " + type(value).__name__ if name == "amqp_password" else repr(value)
                raise TypeError(f"{name} must be a str, not {shown}")
        return (BrokerAddress("amqp", str(host), int(port), str(user), str(password), str(vhost)),)
    if by_hand:
        raise ValueError(f"give either broker_url or {', '.join(by_hand)}, not both: the URL says it all")
    if not isinstance(broker_url, str):
        raise TypeError(f"broker_url must be a str, not a {type(broker_url).__name__}")
    found = tuple(_address(part.strip()) for part in broker_url.split(";") if part.strip())
    if not found:
        raise ValueError("broker_url is empty")
    if len(found) > 1 and any(each.scheme == "memory" for each in found):
        raise ValueError("memory:// cannot be combined with other brokers")
    return found


def _local_with(broker_url: str | None) -> tuple[BrokerAddress, ...]:
    """Work out the brokers from a URL alone; without one it is the local one."""
    return addresses(
        broker_url, host=AMQP_HOST, port=AMQP_PORT, user=AMQP_USER, password=AMQP_PASSWORD, vhost=AMQP_VHOST
    )


def _address(url: str) -> BrokerAddress:
    # No message below shows the URL itself: it may hold a password.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("broker_url has a port or an address that cannot be read") from error
    if parts.scheme == "memory":
        return BrokerAddress("memory")
    if parts.scheme not in _PORTS:
        raise ValueError(f"broker_url must begin with amqp://, amqps:// or memory://, not {parts.scheme!r}")
    if parts.query or parts.fragment:
        raise ValueError(
            "broker_url takes no ?query or #fragment: use the arguments heartbeat=, ssl=, ...; "
            "a '#' or '?' in a password is written %23 or %3F"
        )
    path = parts.path[1:]
    return BrokerAddress(
        scheme=parts.scheme,
        host=parts.hostname or "127.0.0.1",
        port=_PORTS[parts.scheme] if port is None else port,
        user=unquote(parts.username) if parts.username is not None else "guest",
        password=unquote(parts.password) if parts.password is not None else "guest",
        vhost=unquote(path) or "/",
    )


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

    @classmethod
    def of(
        cls,
        broker_url: str | None,
        amqp_host: str,
        amqp_port: int,
        amqp_user: str,
        amqp_password: str,
        amqp_vhost: str,
        *,
        ssl: SslOption = False,
        shuffle_brokers: bool = False,
        **others: Any,
    ) -> Self:
        """Make settings from the arguments that clients and servers take; see `addresses`.

        Both connections of an endpoint try the brokers in the same order, shuffled or not.
        """
        if not isinstance(shuffle_brokers, bool):
            raise TypeError(f"shuffle_brokers must be a bool, not {shuffle_brokers!r}")
        brokers = addresses(
            broker_url,
            host=amqp_host,
            port=amqp_port,
            user=amqp_user,
            password=amqp_password,
            vhost=amqp_vhost,
        )
        given = overrides()
        if given.broker_url is not None:
            brokers = _local_with(given.broker_url)
        elif given.default_broker_url is not None and broker_url is None and brokers == _local_with(None):
            brokers = _local_with(given.default_broker_url)
        if shuffle_brokers:
            brokers = tuple(random.sample(brokers, len(brokers)))
        return cls(brokers, ssl=_ssl_with(ssl, brokers, given), **others)

    def __post_init__(self) -> None:
        seconds("heartbeat", self.heartbeat, zero=True)
        if 0 < self.heartbeat < 1 or self.heartbeat != int(self.heartbeat):
            raise ValueError(f"heartbeat is in whole seconds (AMQP's unit), not {self.heartbeat}")
        seconds("connect_timeout", self.connect_timeout)
        seconds("reconnect_delay", self.reconnect_delay)
        seconds("reconnect_delay_max", self.reconnect_delay_max)
        if isinstance(self.ssl, Mapping):
            _check_ssl(self.ssl)
        elif not isinstance(self.ssl, bool) and not callable(getattr(self.ssl, "wrap_bio", None)):
            raise TypeError(f"ssl must be a bool, a dict or an SSLContext, not a {type(self.ssl).__name__}")


def _ssl_with(ssl: SslOption, brokers: tuple[BrokerAddress, ...], given: Overrides) -> SslOption:
    """Return the argument ``ssl`` with what is given instead."""
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
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} must be {'0 or ' if zero else ''}more than 0 s, not {value}")
    return float(value)


def milliseconds(name: str, value: Any) -> int:
    """Return a duration given in seconds in AMQP's unit for expiries, of which there is at least one.

    Raises:
        TypeError, ValueError: See `seconds`.
    """
    return max(1, round(seconds(name, value) * 1000))


def queue_type_of(value: Any) -> str:
    """Return a type of queue.

    Raises:
        ValueError: There is no such type.
    """
    if value not in ("classic", "quorum"):
        raise ValueError(f"queue_type must be 'classic' or 'quorum', not {value!r}")
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


def tries_limit(value: Any, queue_type: str) -> int | None:
    """Return how many tries a request has (``delivery_limit``); None for any number.

    Args:
        value: At least 2; 0 for no limit; None for the default, which is a limit with quorum queues only.
        queue_type: See `queue_type_of`.

    Raises:
        TypeError: It is not an int.
        ValueError: It is 1, with which a server's death would condemn all that it has in hand, or negative.
    """
    if value is None:
        return None if queue_type == "classic" else _DELIVERY_LIMIT
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"delivery_limit must be an int, or None for the default, not {value!r}")
    if value == 1 or value < 0:
        raise ValueError(f"delivery_limit must be at least 2, or 0 for no limit, not {value}")
    return value or None
