"""Celery's broker, as Amphora's clients and servers take it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from celery.exceptions import ImproperlyConfigured

from amphora import AmqpRpcClient

__all__ = ["broker_options"]

#: Kombu's names of transports that talk AMQP to RabbitMQ, and those that are TLS.
_SCHEMES = {"amqp": "amqp", "pyamqp": "amqp", "librabbitmq": "amqp", "amqps": "amqps", "memory": "memory"}

#: Kombu's other transports.
_OTHERS = frozenset({"filesystem", "gcpubsub", "kafka", "mongodb", "redis", "rediss", "sentinel", "sqlalchemy", "sqs"})

_UNREADABLE = (
    "cannot be read, or can be read in two ways: percent-encode the password (and the user name) in it, with "
    "urllib.parse.quote(password, safe='')"
)

#: Names of py-amqp's TLS options, and ours.
_TLS = {
    "ca_certs": "ca_certs",
    "certfile": "certfile",
    "keyfile": "keyfile",
    "password": "password",
    "server_hostname": "server_hostname",
    "check_hostname": "check_hostname",
}


def broker_options(app: Any) -> dict[str, Any]:
    """Return ``broker_url`` and ``ssl`` for clients and servers, from Celery's ``broker_url`` and ``broker_use_ssl``.

    Raises:
        ImproperlyConfigured: Celery's broker is not RabbitMQ, or its URL cannot be read.
    """
    _check_urls(app.conf.broker_write_url or app.conf.broker_url)
    connections = _connections(app)
    if connections is None:
        # Raised here, and not where Kombu raised: its errors quote what they cannot read, in the chain too.
        raise ImproperlyConfigured(f"Celery's broker_url {_UNREADABLE}")
    urls = [_url(each) for each in connections]
    options: dict[str, Any] = {"broker_url": ";".join(urls)}
    tls = app.conf.broker_use_ssl
    if tls:
        options["ssl"] = _tls(tls) if isinstance(tls, Mapping) else True
    return options


def _connections(app: Any) -> list[Any] | None:
    """Return what Kombu makes of the URLs of Celery's broker; None where it cannot read one."""
    try:
        connection = app.connection_for_write()
        return [app.connection_for_write(url) for url in connection.alt] or [connection]
    except (KeyError, TypeError, ValueError):
        return None


def _check_urls(given: Any) -> None:
    """Refuse URLs that Kombu would take for others, or quote in an error: both would show a part of the password.

    Raises:
        ImproperlyConfigured: One cannot be read; nothing of it is in the text.
    """
    for each in [given] if isinstance(given, str) else given or ():
        for url in str(each).split(";"):
            scheme, there, rest = url.strip().partition("://")
            # The transport may have been given by the name of its class, and memory has no password.
            if not there or _SCHEMES.get(scheme, "memory") == "memory":
                if "@" in url and scheme.partition(":")[0] in _SCHEMES:
                    raise ImproperlyConfigured(f"Celery's broker_url {_UNREADABLE}")
                continue
            # Kombu takes options after a question mark.
            address, _, options = rest.partition("?")
            try:
                AmqpRpcClient.check_arguments("celery", broker_url=f"amqp://{address}")
            except ValueError:
                raise ImproperlyConfigured(f"Celery's broker_url {_UNREADABLE}") from None
            if "@" in options:
                raise ImproperlyConfigured(f"Celery's broker_url {_UNREADABLE}")


def _url(connection: Any) -> str:
    scheme = _SCHEMES.get(connection.transport_cls)
    if scheme is None:
        # Another word in that place may be a part of a password that is not percent-encoded.
        kind = f"the kind {connection.transport_cls!r}" if connection.transport_cls in _OTHERS else "another kind"
        raise ImproperlyConfigured(
            f"Celery's broker is of {kind}, and Amphora needs RabbitMQ: set amphora_broker_url "
            "(amqp://user:password@host:port/vhost; percent-encode the password)"
        )
    if scheme == "memory":
        return "memory://"
    user, password = quote(connection.userid or "guest", safe=""), quote(connection.password or "guest", safe="")
    host = f"[{connection.hostname}]" if ":" in (connection.hostname or "") else connection.hostname or "127.0.0.1"
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme}://{user}:{password}@{host}{port}/{quote(connection.virtual_host or '/', safe='')}"


def _tls(given: Mapping[str, Any]) -> dict[str, Any]:
    """Translate py-amqp's options."""
    unknown = sorted(set(given) - {*_TLS, "cert_reqs", "ssl_version", "ciphers"})
    if unknown:
        raise ImproperlyConfigured(
            f"broker_use_ssl has {', '.join(unknown)}, which Amphora cannot use: set amphora_ssl"
        )
    options = {ours: given[theirs] for theirs, ours in _TLS.items() if theirs in given}
    if given.get("cert_reqs", ssl.CERT_REQUIRED) == ssl.CERT_NONE:
        options["verify"] = False
    return options
