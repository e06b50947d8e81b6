"""Arguments that whoever starts a program gives to its clients and servers, whatever the program says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Overrides", "override_arguments", "overrides"]


@dataclass(frozen=True)
class Overrides:
    """What is given instead; None where the program's own arguments hold.

    Args:
        broker_url: For every client and server.
        default_broker_url: For those that name no broker.
        concurrency: For every server.
    """

    broker_url: str | None = field(default=None, repr=False)
    default_broker_url: str | None = field(default=None, repr=False)
    concurrency: int | None = None


_current = Overrides()


def overrides() -> Overrides:
    """Return what holds for clients and servers that are made now."""
    return _current


@contextmanager
def override_arguments(
    *, broker_url: str | None = None, default_broker_url: str | None = None, concurrency: int | None = None
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
    """
    global _current
    before = _current
    _current = Overrides(broker_url, default_broker_url, concurrency)
    try:
        yield
    finally:
        _current = before
