"""Where the broker is: from a URL, from several, or from the single arguments."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from urllib.parse import quote

from amphora.options.overrides import overrides
from amphora.options.urls import UrlError, split_url

__all__ = [
    "AMQP_HOST",
    "AMQP_PASSWORD",
    "AMQP_PORT",
    "AMQP_USER",
    "AMQP_VHOST",
    "BrokerAddress",
    "addresses",
    "brokers_of",
    "given_in_url",
    "user_of",
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

#: A name or an address, but no URL and no part of one.
_HOST = re.compile(r"[^\s/@?#;\x00-\x1f\x7f-\x9f]+")


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
        user, vhost = quote(self.user, safe=""), quote(self.vhost, safe="/")
        return f"{self.scheme}://{user}@{host}:{self.port}/{vhost}"


def user_of(brokers: tuple[BrokerAddress, ...]) -> str:
    """Return the user of these addresses; on ``memory://``, which has no users, ``guest``.

    Raises:
        ValueError: They have several: which one a request will be sent as is not known when it is made.
    """
    users = {each.user for each in brokers}
    if len(users) > 1:
        raise ValueError("identify=True needs the same user in all addresses of broker_url")
    return str(users.pop() or AMQP_USER)


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
        brokers = given_in_url(given.broker_url)
    elif given.default_broker_url is not None and broker_url is None and brokers == given_in_url(None):
        brokers = given_in_url(given.default_broker_url)
    if shuffle_brokers:
        brokers = tuple(random.sample(brokers, len(brokers)))
    return brokers


def addresses(
    broker_url: str | None, *, host: str, port: int, user: str, password: str, vhost: str
) -> tuple[BrokerAddress, ...]:
    """Work out the brokers from a URL (or several) or from the single arguments.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A URL together with one of the ``amqp_*`` arguments, or a URL that is none. Its text shows no part
            of a URL, and it has no cause: both could show a password.
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
            raise TypeError(f"amqp_port must be an int, not {_kind(port)}")
        if not 0 < port < 65536:
            raise ValueError(f"amqp_port must be between 1 and 65535, not {port}")
        for name, (value, _) in given.items():
            if name != "amqp_port" and not isinstance(value, str):
                # No value: whatever was given in the place of another argument may be the password.
                raise TypeError(f"{name} must be a str, not {_kind(value)}")
        if not _HOST.fullmatch(host):
            raise ValueError("amqp_host must be a host name or an IP address; a URL is given as broker_url")
        return (BrokerAddress("amqp", str(host), int(port), str(user), str(password), str(vhost)),)
    if by_hand:
        raise ValueError(f"give either broker_url or {', '.join(by_hand)}, not both: the URL says it all")
    if not isinstance(broker_url, str):
        raise TypeError(f"broker_url must be a str, not a {type(broker_url).__name__}")
    # Line breaks at the ends, as of a URL from a file, and spaces around the semicolons.
    found = tuple(_address(part.strip()) for part in broker_url.split(";") if part.strip())
    if not found:
        raise ValueError("broker_url is empty")
    if len(found) > 1 and any(each.scheme == "memory" for each in found):
        raise ValueError("memory:// cannot be combined with other brokers")
    return found


def given_in_url(broker_url: str | None) -> tuple[BrokerAddress, ...]:
    """Work out the brokers from a URL alone; without one it is the local one.

    Raises:
        TypeError, ValueError: See `addresses`.
    """
    return addresses(
        broker_url, host=AMQP_HOST, port=AMQP_PORT, user=AMQP_USER, password=AMQP_PASSWORD, vhost=AMQP_VHOST
    )


def _address(url: str) -> BrokerAddress:
    try:
        parts = split_url(url)
    except UrlError as error:
        raise ValueError(f"broker_url {error}") from None
    if parts.scheme == "memory":
        return BrokerAddress("memory")
    if parts.scheme not in _PORTS:
        raise ValueError(f"broker_url must begin with amqp://, amqps:// or memory://{parts.instead}")
    return BrokerAddress(
        scheme=parts.scheme,
        host=parts.host or "127.0.0.1",
        port=_PORTS[parts.scheme] if parts.port is None else parts.port,
        user="guest" if parts.user is None else parts.user,
        password="guest" if parts.password is None else parts.password,
        vhost=parts.path or "/",
    )


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
