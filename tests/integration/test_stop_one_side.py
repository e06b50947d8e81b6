"""`stop_publisher` and `stop_consumer` over RabbitMQ: one side rests, the other goes on."""

from typing import Any

from amphora import AmqpRpcClient
from tests.integration.conftest import NewServer
from tests.integration.functions import Holding
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def add(x: Any, y: Any) -> Any:
    return x + y


def test_a_client_whose_publisher_is_stopped_still_gets_replies_and_holds_requests(
    new_server: NewServer, client: AmqpRpcClient, hold: Holding
) -> None:
    new_server(hold, add)
    running = client.defer.hold()
    assert hold.began.wait(20)

    client.stop_publisher()
    held = client.defer(wait_publish=False).add(1, 2)
    hold.let_go.set()

    assert running.get(timeout=20) == "done"
    assert client.stats()["outbox"] == 1
    client.serve()
    assert held.get(timeout=20) == 3


def test_a_client_whose_consumer_is_stopped_still_publishes_and_finds_its_replies_later(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    new_server(add)
    client.call.add(1, 2)

    client.stop_consumer()
    result = client.defer.add(3, 4)

    wait_until(lambda: broker.queues()[f"rpc_{service}_{client.uuid}_response"].ready == 1)
    assert not result.ready()
    client.serve()
    assert result.get(timeout=20) == 7


def test_a_server_whose_publisher_is_stopped_runs_requests_and_holds_the_replies(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    runs: list[int] = []
    server = new_server(runs.append, connected=True)

    server.stop_publisher()
    result = client.defer.append(1)

    wait_until(lambda: server.stats()["outbox"] == 1)
    assert (runs, result.ready()) == ([1], False)
    # Not acknowledged: the reply is not confirmed.
    assert broker.queues()[f"rpc_{service}_request"].unacked == 1
    server.serve()
    assert result.get(timeout=20) is None
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    assert runs == [1]


def test_a_server_whose_consumer_is_stopped_takes_nothing_and_still_replies(
    new_server: NewServer, client: AmqpRpcClient, hold: Holding, broker: Broker, service: str
) -> None:
    server = new_server(hold, add)
    running = client.defer.hold()
    assert hold.began.wait(20)

    server.stop_consumer()
    waiting = client.defer.add(1, 2)
    hold.let_go.set()

    assert running.get(timeout=20) == "done"
    # The running one too: it could not be acknowledged any more.
    assert broker.queues()[f"rpc_{service}_request"].ready == 2
    server.serve()
    assert waiting.get(timeout=20) == 3
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    assert len(hold.runs) == 1
