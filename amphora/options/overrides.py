"""Arguments that the program which starts another gives to its clients and servers in place of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from amphora.options.brokers import (
    AMQP_HOST,
    AMQP_PASSWORD,
    AMQP_PORT,
    AMQP_USER,
    AMQP_VHOST,
    BrokerAddress,
    addresses,
    given_in_url,
)

__all__ = ["Overrides", "overridden", "override_arguments"]


@dataclass(frozen=True)
class Overrides:
    """What is given instead; None where the program's own arguments hold.

    Args:
        broker_url: For every client and server.
        default_broker_url: For those that name no broker.
        concurrency: For every server.
        ssl: Keys of the argument ``ssl`` of every client and server.
        default_ssl: Those for brokers with TLS whose options are not set.
        server_middleware: Middleware of every server, outside of what the program adds.
        max_received_size: For every client and server.
    """

    broker_url: str | None = field(default=None, repr=False)
    default_broker_url: str | None = field(default=None, repr=False)
    concurrency: int | None = None
    ssl: Mapping[str, Any] | None = field(default=None, repr=False)
    default_ssl: Mapping[str, Any] | None = field(default=None, repr=False)
    server_middleware: Sequence[Callable[..., Any]] = ()
    max_received_size: int | None = None


_current = Overrides()


def overridden(arguments: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the arguments of a constructor as `override_arguments` has them now: the one place that applies it.

    Args:
        arguments: Those that were given.
        known: The names of those that it takes.

    Raises:
        TypeError, ValueError: The broker that was given, or that is given instead, cannot be understood.
    """
    given, found = _current, dict(arguments)
    brokers = _brokers_of(found)
    if given.broker_url is not None:
        brokers = given_in_url(given.broker_url)
        found = _with_broker(found, given.broker_url)
    elif given.default_broker_url is not None and found.get("broker_url") is None and brokers == given_in_url(None):
        brokers = given_in_url(given.default_broker_url)
        found = _with_broker(found, given.default_broker_url)
    found["ssl"] = _ssl_of(found.get("ssl", False), brokers, given)
    instead = {
        "concurrency": given.concurrency,
        "max_received_size": given.max_received_size,
        "outermost_middleware": given.server_middleware,
    }
    return found | {name: value for name, value in instead.items() if value is not None and name in known}


def _brokers_of(arguments: Mapping[str, Any]) -> tuple[BrokerAddress, ...]:
    return addresses(
        arguments.get("broker_url"),
        host=arguments.get("amqp_host", AMQP_HOST),
        port=arguments.get("amqp_port", AMQP_PORT),
        user=arguments.get("amqp_user", AMQP_USER),
        password=arguments.get("amqp_password", AMQP_PASSWORD),
        vhost=arguments.get("amqp_vhost", AMQP_VHOST),
    )


def _with_broker(arguments: Mapping[str, Any], broker_url: str) -> dict[str, Any]:
    kept = {name: value for name, value in arguments.items() if not name.startswith("amqp_")}
    return {**kept, "broker_url": broker_url}


def _ssl_of(ssl: Any, brokers: tuple[BrokerAddress, ...], given: Overrides) -> Any:
    if given.ssl is not None:
        return _laid_over(ssl, given.ssl)
    if given.default_ssl is None or not isinstance(ssl, (bool, Mapping)):
        return ssl
    encrypted = ssl is not False or all(each.scheme == "amqps" for each in brokers)
    return _laid_over(given.default_ssl, ssl) if encrypted else ssl


def _laid_over(below: Any, above: Any) -> dict[str, Any]:
    kept = dict(below) if isinstance(below, Mapping) else {}
    if not isinstance(above, Mapping):
        return kept
    if above.get("certfile"):
        # Key and password are those of one certificate.
        kept = {name: value for name, value in kept.items() if name not in ("certfile", "keyfile", "password")}
    return {**kept, **above}


@contextmanager
def override_arguments(
    *,
    broker_url: str | None = None,
    default_broker_url: str | None = None,
    concurrency: int | None = None,
    ssl: Mapping[str, Any] | None = None,
    default_ssl: Mapping[str, Any] | None = None,
    server_middleware: Sequence[Callable[..., Any]] = (),
    max_received_size: int | None = None,
) -> Iterator[None]:
    """Give arguments to the clients and servers that are made within the context, in any greenlet of the process.

    For programs that run code of others, as ``amphora serve --broker`` does::

        with override_arguments(broker_url="amqp://staging", concurrency=10):
            server = importlib.import_module("orders").server

    Contexts do not add up: the inner one holds alone.

    Args:
        broker_url: Broker of all of them, in place of ``broker_url`` and the ``amqp_*`` arguments that they give. The
            argument ``ssl`` stays as they give it.
        default_broker_url: Broker of those that give neither; in place of the local one.
        concurrency: Of all servers.
        ssl: Keys of a dict such as the argument ``ssl`` takes: all of them speak TLS, and what this names takes the
            place of what they give. (A certificate takes that of its key and password too; an ``SSLContext`` of
            theirs gives way as a whole.)
        default_ssl: The same for those that speak TLS, because they give ``ssl`` or name ``amqps://`` brokers only,
            where they do not say it themselves.
        server_middleware: Middleware (see `AmqpRpcServer.add_middleware`) that every server gets when it is made, and
            that therefore runs outside of what the program adds.
        max_received_size: Of all clients and servers.
    """
    global _current
    before = _current
    _current = Overrides(
        broker_url, default_broker_url, concurrency, ssl, default_ssl, server_middleware, max_received_size
    )
    try:
        yield
    finally:
        _current = before
