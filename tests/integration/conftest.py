"""Clients and servers of the integration tests, which end with the test."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.integration.functions import Holding, Noting
from tests.support.broker import Broker


class NewClient(Protocol):
    """Make a client on the shared broker, of the test's own service unless told otherwise."""

    def __call__(
        self, *, cls: type[AmqpRpcClient] = ..., service_name: str | None = None, **options: Any
    ) -> AmqpRpcClient: ...


class NewServer(Protocol):
    """Make a server with some functions on the shared broker, of the test's own service; it serves.

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


@pytest.fixture
def new_client(broker: Broker, service: str) -> Iterator[NewClient]:
    clients: list[AmqpRpcClient] = []

    def make(
        *, cls: type[AmqpRpcClient] = AmqpRpcClient, service_name: str | None = None, **options: Any
    ) -> AmqpRpcClient:
        # Long enough for a busy machine: a test that expects a timeout says its own.
        given = {"broker_url": broker.url, "timeout": 20, **options}
        clients.append(cls(service_name or service, **given))
        return clients[-1]

    yield make
    for client in clients:
        client.stop()


@pytest.fixture
def new_server(broker: Broker, service: str) -> Iterator[NewServer]:
    servers: list[AmqpRpcServer] = []

    def make(
        *functions: Callable[..., Any],
        cls: type[AmqpRpcServer] = AmqpRpcServer,
        service_name: str | None = None,
        connected: bool = False,
        **options: Any,
    ) -> AmqpRpcServer:
        server = cls(service_name or service, **{"broker_url": broker.url, **options})
        servers.append(server)
        for function in functions:
            server.add_function(function)
        server.serve()
        if connected:
            assert server.wait_connected(20)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def client(new_client: NewClient) -> AmqpRpcClient:
    """A client of the test's own service."""
    return new_client()


@pytest.fixture
def hold() -> Holding:
    """A remote function that the test lets return."""
    return Holding()


@pytest.fixture
def note() -> Noting:
    return Noting()


@pytest.fixture
def label(unique_name: Callable[[str], str]) -> str:
    """A label whose queue does not exist yet."""
    return unique_name("Alice")


@pytest.fixture
def alice(client: AmqpRpcClient, label: str) -> str:
    """A label whose queue exists."""
    client.create_new_request_queue(label)
    return label


@pytest.fixture
def server(new_server: NewServer, note: Noting) -> AmqpRpcServer:
    return new_server(note, connected=True)
