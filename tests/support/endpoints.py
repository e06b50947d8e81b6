"""Clients and servers of a test's own service, which end with the test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from amphora import AmqpRpcClient, AmqpRpcServer, BrokerError

#: Seconds for a server to be connected, on a busy machine.
PATIENCE = 20


class NewClient(Protocol):
    """Make a client, of the test's own service unless told otherwise."""

    def __call__(
        self, *, cls: type[AmqpRpcClient] = ..., service_name: str | None = None, **options: Any
    ) -> AmqpRpcClient: ...


class NewServer(Protocol):
    """Make a server with some functions, of the test's own service unless told otherwise; it serves.

    `connected=True` waits until it takes requests.
    """

    def __call__(
        self,
        *functions: Callable[..., Any],
        cls: type[AmqpRpcServer] = ...,
        service_name: str | None = None,
        connected: bool = False,
        **options: Any,
    ) -> AmqpRpcServer: ...


@contextmanager
def clients_of(service: str, **defaults: Any) -> Iterator[NewClient]:
    """Make clients of a service, with these options unless others are given; stop them in the end."""
    clients: list[AmqpRpcClient] = []

    def make(
        *, cls: type[AmqpRpcClient] = AmqpRpcClient, service_name: str | None = None, **options: Any
    ) -> AmqpRpcClient:
        clients.append(cls(service_name or service, **{**defaults, **options}))
        return clients[-1]

    yield make
    for client in clients:
        client.stop()
        # What it could not send is no loss of the test's, which would be reported when the client is collected.
        client._publisher.refuse_all(BrokerError("the test is over"))


@contextmanager
def servers_of(service: str, **defaults: Any) -> Iterator[NewServer]:
    """Make servers of a service, with these options unless others are given; stop them in the end."""
    servers: list[AmqpRpcServer] = []

    def make(
        *functions: Callable[..., Any],
        cls: type[AmqpRpcServer] = AmqpRpcServer,
        service_name: str | None = None,
        connected: bool = False,
        **options: Any,
    ) -> AmqpRpcServer:
        server = cls(service_name or service, **{**defaults, **options})
        servers.append(server)
        for function in functions:
            server.add_function(function)
        server.serve()
        if connected:
            assert server.wait_connected(PATIENCE)
        return server

    yield make
    for server in servers:
        server.stop()
