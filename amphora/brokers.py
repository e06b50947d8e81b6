"""Where the broker is: from a URL, from several, or from the single arguments."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from amphora.overrides import overrides

__all__ = [
    "AMQP_HOST",
    "AMQP_PASSWORD",
    "AMQP_PORT",
    "AMQP_USER",
    "AMQP_VHOST",
    "BrokerAddress",
    "addresses",
    "brokers_of",
]


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


def brokers_of(
    broker_url: str | None,
    amqp_host: str,
    amqp_port: int,
    amqp_user: str,
    amqp_password: str,
    amqp_vhost: str,
    shuffle_brokers: bool = False,
) -> tuple[BrokerAddress, ...]:
    """Work out the brokers from the arguments that clients and servers take, and from what overrides them.

    Both connections of an endpoint try them in the same order, shuffled or not.

    Raises:
        TypeError, ValueError: See `addresses`.
    """
    if not isinstance(shuffle_brokers, bool):
        raise TypeError(f"shuffle_brokers must be a bool, not {shuffle_brokers!r}")
    brokers = addresses(
        broker_url, host=amqp_host, port=amqp_port, user=amqp_user, password=amqp_password, vhost=amqp_vhost
    )
    given = overrides()
    if given.broker_url is not None:
        brokers = _local_with(given.broker_url)
    elif given.default_broker_url is not None and broker_url is None and brokers == _local_with(None):
        brokers = _local_with(given.default_broker_url)
    if shuffle_brokers:
        brokers = tuple(random.sample(brokers, len(brokers)))
    return brokers


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
