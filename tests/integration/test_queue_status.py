"""How many messages and consumers queues have, as far as AMQP tells."""

import gevent
import pytest

from amphora import AmqpRpcFanoutClient, AmqpRpcFanoutServer, BrokerUnreachable, QueueStatus
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding, Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def test_messages_that_wait_and_consumers_are_counted(
    new_client: NewClient, new_server: NewServer, service: str
) -> None:
    client = new_client()
    queue = f"rpc_{service}_request"
    for number in range(3):
        client.defer.hold(number)

    assert client.queue_status() == {queue: QueueStatus(messages=3, consumers=0)}

    holding = Holding()
    server = new_server(holding, concurrency=1)
    assert holding.began.wait(20)

    # One runs: it is in the server's hands, not in the queue.
    assert client.queue_status() == server.queue_status() == {queue: QueueStatus(messages=2, consumers=1)}
    holding.let_go.set()


def test_a_queue_that_does_not_exist_is_none(client: object, new_client: NewClient, service: str) -> None:
    caller = new_client(queue_template="rpc_{namespace}_{label}")
    caller.create_new_request_queue("Alice")

    found = caller.queue_status("Alice", "Bob")

    assert found == {f"rpc_{service}_Alice": QueueStatus(0, 0), f"rpc_{service}_Bob": None}
    # The broker closed a channel to say so, which nothing else depends on.
    assert caller.queue_status("Alice").keys() == {f"rpc_{service}_Alice"}
    caller.remove_request_queue("Alice")


def test_the_dead_letters_are_counted_too(new_client: NewClient, new_server: NewServer, service: str) -> None:
    server = new_server(Noting(), delivery_limit=3, connected=True)
    client = new_client(delivery_limit=3)

    names = [f"rpc_{service}_request", f"rpc_{service}_dead"]

    assert list(server.queue_status()) == list(client.queue_status()) == names


def test_a_fanout_servers_queue_is_its_own(new_client: NewClient, new_server: NewServer, service: str) -> None:
    server = new_server(Noting(), cls=AmqpRpcFanoutServer, connected=True)
    client = new_client(cls=AmqpRpcFanoutClient)
    queue = f"rpc_{service}_{server.uuid}_request"

    wait_until(lambda: server.queue_status() == {queue: QueueStatus(0, 1)}, 20)
    assert client.queue_status() == {}


def test_an_alarm_does_not_keep_the_answer_back(own_broker: Broker, new_client: NewClient, service: str) -> None:
    client = new_client(broker_url=own_broker.url)
    assert client.wait_connected(20)

    with own_broker.memory_alarm():
        client.defer(wait_publish=False).note()
        wait_until(lambda: client.blocked, 20)

        assert client.queue_status().keys() == {f"rpc_{service}_request"}


def test_a_broker_that_is_not_there_is_said_to_be(new_client: NewClient) -> None:
    client = new_client(broker_url="amqp://127.0.0.1:1")

    with pytest.raises(BrokerUnreachable, match=r"was not answered .*not connected"):
        client.queue_status(timeout=0.1)


def test_a_client_that_is_stopped_meanwhile_does_not_wait_on(new_client: NewClient) -> None:
    client = new_client(broker_url="amqp://127.0.0.1:1")
    asking = gevent.spawn(client.queue_status, timeout=60)
    gevent.sleep(0)

    client.stop()

    with pytest.raises(BrokerUnreachable, match="stopped"):
        asking.get(timeout=20)


def test_the_memory_counts_messages(service: str, new_client: NewClient) -> None:
    client = new_client(broker_url="memory://")
    client.defer.note()

    assert client.queue_status() == {f"rpc_{service}_request": QueueStatus(1, 0)}


def test_what_an_endpoint_says_of_itself_shows_no_password(
    broker: Broker, new_client: NewClient, new_server: NewServer, service: str
) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{broker.port}/;amqp://guest:secret@127.0.0.1:1/"
    client, server = new_client(broker_url=url), new_server(broker_url=url, concurrency=7)

    assert client.broker == server.broker == f"amqp://guest@127.0.0.1:{broker.port}//;amqp://guest@127.0.0.1:1//"
    assert (client.service_name, server.service_name, server.concurrency) == (service, service, 7)


def test_a_queue_that_is_not_there_costs_no_connection_later(new_client: NewClient) -> None:
    client = new_client()
    assert list(client.queue_status("missing").values()) == [None]

    # What the consumer does every heartbeat, on the channel that the broker has closed.
    client._consumer.check_topology()
    assert list(client.queue_status("missing").values()) == [None]

    assert client.stats()["reconnects"] == 0
