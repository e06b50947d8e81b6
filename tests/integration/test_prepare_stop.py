"""`server.prepare_stop` over RabbitMQ: running requests finish, others go to another server."""

from collections.abc import Callable
from typing import Any

import gevent

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.integration.conftest import NewServer
from tests.integration.functions import Holding
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def add(x: Any, y: Any) -> Any:
    return x + y


def test_prepare_stop_waits_until_running_requests_are_answered(
    new_server: NewServer, client: AmqpRpcClient, hold: Holding, broker: Broker, service: str
) -> None:
    server = new_server(hold)
    result = client.defer.hold()
    assert hold.began.wait(20)

    preparing = gevent.spawn(server.prepare_stop)
    preparing.join(timeout=0.2)
    assert not preparing.ready()
    hold.let_go.set()

    assert preparing.get(timeout=20) is True
    server.stop()
    assert result.get(timeout=20) == "done"
    assert broker.queues()[f"rpc_{service}_request"].messages == 0


def test_prepare_stop_gives_up_after_its_timeout(new_server: NewServer, client: AmqpRpcClient, hold: Holding) -> None:
    server = new_server(hold)
    client.defer.hold()
    assert hold.began.wait(20)

    assert server.prepare_stop(timeout=0.1) is False

    hold.let_go.set()
    assert server.prepare_stop(timeout=20) is True


def test_after_prepare_stop_new_requests_go_to_another_server(new_server: NewServer, client: AmqpRpcClient) -> None:
    leaving = new_server(connected=True)
    leaving.add_function(lambda: "leaving", name="who")
    assert client.call.who() == "leaving"

    leaving.prepare_stop()
    new_server().add_function(lambda: "staying", name="who")

    assert [client.call.who() for _ in range(10)] == ["staying"] * 10


def test_prepare_stop_gives_requests_back_that_have_not_begun(
    new_server: NewServer,
    client: AmqpRpcClient,
    hold: Holding,
    unique_name: Callable[[str], str],
    broker: Broker,
    service: str,
) -> None:
    label = unique_name("user")
    client.create_new_request_queue(label)
    server = new_server(hold, add, concurrency=1)
    server.receive_from_queue(label, block=False)
    client.defer.hold()
    assert hold.began.wait(20)
    waiting = client.defer(routing_key=label).add(1, 2)
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{label}"].unacked == 1)

    server.prepare_stop(timeout=0)

    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{label}"].ready == 1)
    new_server(add).receive_from_queue(label, block=False)
    assert waiting.get(timeout=20) == 3
    hold.let_go.set()


def test_a_function_may_prepare_the_stop_of_its_server(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()
    server.add_function(server.prepare_stop, name="prepare_stop")

    assert client.call.prepare_stop() is True


def test_prepare_stop_before_serve_or_after_stop_has_nothing_to_wait_for(broker: Broker, service: str) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)

    assert server.prepare_stop() is True

    server.serve()
    server.stop()
    assert server.prepare_stop() is True


def test_a_server_takes_requests_again_when_it_serves_after_prepare_stop(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    server = new_server(add)
    client.call.add(1, 2)

    server.prepare_stop()
    server.serve()

    assert client.call.add(3, 4) == 7


def test_warm_shutdowns_in_turn_lose_no_call(new_server: NewServer, client: AmqpRpcClient) -> None:
    servers = [new_server(add) for _ in range(2)]
    results: list[Any] = []

    def call_on() -> None:
        for number in range(300):
            results.append(client.defer.add(number, 0))

    calling = gevent.spawn(call_on)
    while not calling.ready():
        for server in servers:
            assert server.prepare_stop(timeout=20)
            server.stop()
            server.serve()
            server.wait_connected(20)

    assert [result.get(timeout=20) for result in results] == list(range(300))
    assert sum(server.stats()["requests"] for server in servers) == 300
