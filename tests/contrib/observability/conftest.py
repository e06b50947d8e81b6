"""A service in this process's memory."""

from collections.abc import Iterator

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, IgnoreRequest


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
