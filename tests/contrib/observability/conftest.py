"""A service in this process's memory."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from amphora import AmqpRpcClient, AmqpRpcServer, IgnoreRequest, RemoteException
from amphora.contrib.prometheus import Metrics
from tests.support.eventually import wait_until


@pytest.fixture
def server(service: str) -> Iterator[AmqpRpcServer]:
    server = AmqpRpcServer(service, broker_url="memory://", ignore_delay=0.0)
    ignored: list[int] = []

    @server.add_function
    def add(x: int, y: int) -> int:
        return x + y

    @server.add_function
    def fail() -> None:
        raise ValueError("on purpose")

    @server.add_function
    def ignore_once() -> str:
        if not ignored:
            ignored.append(1)
            raise IgnoreRequest
        return "taken"

    with server:
        assert server.wait_connected(30)
        yield server


@pytest.fixture
def client(service: str) -> Iterator[AmqpRpcClient]:
    with AmqpRpcClient(service, broker_url="memory://", timeout=30) as client:
        yield client


@pytest.fixture
def exported(server: AmqpRpcServer, client: AmqpRpcClient) -> dict[str, set[str]]:
    """The labels of every sample that is exported after some calls, by its name."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.watch(server)
    metrics.watch(client)
    client.call.add(1, 2)
    client.call.ignore_once()
    with pytest.raises(RemoteException):
        client.call.fail()

    def text() -> str:
        return generate_latest(registry).decode()

    wait_until(lambda: 'outcome="remote_error"' in text(), 30)
    samples = re.findall(r"^(\w+)\{(.*)\} ", text(), re.MULTILINE)
    return {name: set(re.findall(r"(\w+)=\"", labels)) for name, labels in samples}
