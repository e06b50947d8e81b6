"""Clients and servers of the integration tests, which end with the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.integration import original
from tests.integration.functions import Holding, Noting
from tests.support.broker import Broker
from tests.support.endpoints import NewClient, NewServer, clients_of, servers_of

__all__ = ["NewClient", "NewServer"]


def options_of(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the options that the mark `endpoints` of a test gives, and classic queues to tests that play 0.1.3."""
    marker = request.node.get_closest_marker("endpoints")
    plays = any(getattr(each, "__module__", "") == original.__name__ for each in vars(request.module).values())
    return ({"queue_type": "classic"} if plays else {}) | ({} if marker is None else dict(marker.kwargs))


@pytest.fixture
def new_client(request: pytest.FixtureRequest, broker: Broker, service: str) -> Iterator[NewClient]:
    """Make clients on the shared broker, of the test's own service unless told otherwise."""
    # Long enough for a busy machine: a test that expects a timeout says its own.
    with clients_of(service, **{"broker_url": broker.url, "timeout": 20, **options_of(request)}) as make:
        yield make


@pytest.fixture
def new_server(request: pytest.FixtureRequest, broker: Broker, service: str) -> Iterator[NewServer]:
    """Make servers with some functions on the shared broker, of the test's own service; they serve."""
    with servers_of(service, **{"broker_url": broker.url, **options_of(request)}) as make:
        yield make


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
