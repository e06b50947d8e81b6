"""Clients that a program drops without `stop()` close their connections, when what was begun with them has ended."""

import gc
import warnings
import weakref
from typing import Any

import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.fixture(params=["amqp", "memory"])
def url(request: pytest.FixtureRequest, broker: Broker) -> str:
    return broker.url if request.param == "amqp" else "memory://"


def dropped(clients: list[AmqpRpcClient]) -> list["weakref.ref[AmqpRpcClient]"]:
    """Drop clients, and return what tells whether they are still there."""
    references = [weakref.ref(client) for client in clients]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clients.clear()
        # A call of theirs that is under way in another greenlet, such as one that connects, may keep one for a moment.
        wait_until(lambda: gc.collect() >= 0 and not any(reference() for reference in references), timeout=10)
    assert [each.category for each in caught if "stop()" in str(each.message)] == [ResourceWarning] * len(references)
    return references


def test_clients_that_are_dropped_close_their_connections(broker: Broker, service: str) -> None:
    before = len(broker.connections())
    clients = [AmqpRpcClient(service, broker_url=broker.url) for _ in range(10)]
    assert all(client.wait_connected(20) for client in clients)
    links = [link for client in clients for link in (client._publisher.link, client._consumer.link)]

    references = dropped(clients)

    assert [reference() for reference in references] == [None] * 10
    wait_until(lambda: not any(link.running for link in links), timeout=20)
    wait_until(lambda: len(broker.connections()) <= before, timeout=30)


def test_a_result_that_is_waited_for_comes_though_its_client_was_dropped(url: str, service: str) -> None:
    go_on = gevent.event.Event()
    server = AmqpRpcServer(service, broker_url=url)
    server.add_function(lambda: go_on.wait(20) and "late", name="late")
    with server:
        assert server.wait_connected(20)
        clients = [AmqpRpcClient(service, broker_url=url)]
        links = [clients[0]._publisher.link, clients[0]._consumer.link]
        result = clients[0].defer.late()

        dropped(clients)
        go_on.set()

        assert result.get(timeout=20) == "late"
        wait_until(lambda: not any(link.running for link in links), timeout=20)


def test_a_request_that_nobody_waits_for_is_sent_though_its_client_was_dropped(url: str, service: str) -> None:
    seen: list[Any] = []
    server = AmqpRpcServer(service, broker_url=url)
    server.add_function(seen.append, name="note")
    with server:
        clients = [AmqpRpcClient(service, broker_url=url)]
        clients[0].defer(wait_publish=False).note("it")

        dropped(clients)

        wait_until(lambda: seen == ["it"], timeout=20)


def test_a_client_that_was_stopped_is_dropped_without_a_word(url: str, service: str) -> None:
    client = AmqpRpcClient(service, broker_url=url)
    client.stop()
    reference = weakref.ref(client)
    del client

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()

    assert reference() is None


def test_a_server_that_is_dropped_serves_on(url: str, service: str) -> None:
    server: AmqpRpcServer | None = AmqpRpcServer(service, broker_url=url)
    assert server is not None
    links = [server._publisher.link, server._consumer.link]
    server.add_function(lambda: "served", name="serve")
    server.serve()

    server = None
    gc.collect()

    with AmqpRpcClient(service, broker_url=url) as client:
        assert client.call.serve() == "served"
    assert all(link.running for link in links)
    for link in links:
        link.stop(5)
