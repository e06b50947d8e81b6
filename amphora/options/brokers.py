"""Where the broker is: from a URL, from several, or from the single arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from amphora.options.urls import UrlError, split_url

__all__ = [
    "AMQP_HOST",
    "AMQP_PASSWORD",
    "AMQP_PORT",
    "AMQP_USER",
    "AMQP_VHOST",
    "BrokerAddress",
    "addresses",
    "given_in_url",
    "host_of",
    "port_of",
    "text_of",
    "url_of",
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
        port_of("amqp_port", port)
        for name, (value, _) in given.items():
            if name != "amqp_port":
                text_of(name, value)
        host_of("amqp_host", host)
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


def host_of(name: str, value: Any) -> str:
    """Return a host name or an IP address.

    Raises:
        TypeError, ValueError: It is none.
    """
    if not _HOST.fullmatch(text_of(name, value)):
        raise ValueError(f"{name} must be a host name or an IP address; a URL is given as broker_url")
    return value  # type: ignore[no-any-return]


def port_of(name: str, value: Any) -> int:
    """Return a TCP port.

    Raises:
        TypeError, ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {_kind(value)}")
    if not 0 < value < 65536:
        raise ValueError(f"{name} must be between 1 and 65535, not {value}")
    return value


def text_of(name: str, value: Any) -> str:
    """Return a text.

    Raises:
        TypeError: It is none. The error does not show it: the password may have been given in the wrong place.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {_kind(value)}")
    return value


def url_of(name: str, value: Any) -> str | None:  # noqa: ARG001  (the errors of a URL name it)
    """Return the URL of a broker, or of several; None for none.

    Raises:
        TypeError, ValueError: See `addresses`.
    """
    given_in_url(value)
    return value  # type: ignore[no-any-return]


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
