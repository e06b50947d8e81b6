"""Arguments that whoever starts a program gives to its clients and servers, whatever the program says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Overrides", "override_arguments", "overrides"]


@dataclass(frozen=True)
class Overrides:
    """What is given instead; None where the program's own arguments hold.

    Args:
        broker_url: For every client and server.
        default_broker_url: For those that name no broker.
        concurrency: For every server.
        ssl: Keys of the argument ``ssl`` of every client and server.
        default_ssl: Those for whoever speaks TLS and does not say them.
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


def overrides() -> Overrides:
    """Return what holds for clients and servers that are made now."""
    return _current


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
