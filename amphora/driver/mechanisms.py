"""What a connection agrees on with the broker first: how it logs in, and the size of frames.

Source: AMQP 0-9-1, 1.4.2; https://www.rabbitmq.com/docs/access-control.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from amqp import sasl

from amphora.options.advice import OWN_CERTIFICATE

__all__ = ["NoMechanism", "SmallFrames", "check_frames", "explain_mechanisms", "mechanisms"]

#: The smallest ``frame_max`` that RabbitMQ agrees on since 4.1 (https://www.rabbitmq.com/docs/configure#config-items).
_SMALLEST_FRAMES, _SINCE = 8192, (4, 1)


class NoMechanism(Exception):
    """The broker offers no mechanism that can be used on this connection.

    Attributes:
        offered: Those that it offers.
        encrypted: Whether the connection uses TLS.
    """

    def __init__(self, offered: Sequence[str], encrypted: bool) -> None:
        super().__init__(f"the broker offers {', '.join(offered) or 'no mechanism'}")
        self.offered = tuple(offered)
        self.encrypted = encrypted


class SmallFrames(Exception):
    """The broker is configured with a ``frame_max`` that it does not accept itself."""


def check_frames(frame_max: int, properties: Mapping[str, Any]) -> None:
    """Look at what `connection.tune` proposes: RabbitMQ ends such a connection without a reason.

    Raises:
        SmallFrames: See there.
    """
    version = re.match(r"(\d+)\.(\d+)", str(properties.get("version", "")))
    if version is None or properties.get("product") != "RabbitMQ":
        return
    if 0 < frame_max < _SMALLEST_FRAMES and (int(version[1]), int(version[2])) >= _SINCE:
        raise SmallFrames(
            f"its frame_max is {frame_max} bytes, and RabbitMQ {version[0]} accepts no connection with less than "
            f"{_SMALLEST_FRAMES}: raise frame_max in rabbitmq.conf"
        )


def mechanisms(user: str, password: str, *, encrypted: bool) -> tuple[Any, ...]:
    """Return the mechanisms to log in with, in order of preference.

    With EXTERNAL, the client certificate says which user it is, so it makes sense with TLS only. It comes last: with a
    broker that offers the others too, the user in the URL counts.
    """
    by_password = (sasl.PLAIN(user, password), sasl.AMQPLAIN(user, password))
    return (*by_password, sasl.EXTERNAL()) if encrypted else by_password


def explain_mechanisms(error: NoMechanism) -> tuple[str, str | None]:
    """Return what to do about it, and what that advises to set."""
    if not error.encrypted and (not error.offered or "EXTERNAL" in error.offered):
        # (RabbitMQ offers EXTERNAL with TLS only.)
        told = (
            "it lets no user log in by password without TLS. If it offers EXTERNAL, which logs in by a client "
            f"certificate, use amqps:// with {OWN_CERTIFICATE}"
        )
        return told, OWN_CERTIFICATE
    offered = ", ".join(error.offered) or "no mechanism"
    told = (
        f"it offers {offered} only, and Amphora logs in with PLAIN, AMQPLAIN or (with TLS) EXTERNAL: enable one of "
        "them with auth_mechanisms in rabbitmq.conf"
    )
    return told, None
