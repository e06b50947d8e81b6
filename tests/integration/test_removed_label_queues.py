"""Label queues that another program deleted: not created again, except on a broker that lost everything."""

from collections.abc import Callable

import pytest

from amphora import AmqpRpcClient, Unroutable
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy


@pytest.fixture
def label(unique_name: Callable[[str], str]) -> str:
    """A label that no other test uses."""
    return unique_name("user")


@pytest.fixture
def queue_of(service: str) -> Callable[[str], str]:
    """Return the name of a label's queue."""
    return lambda label: f"rpc_{service}_queue_{label}"


def reconnect(client: AmqpRpcClient, proxy: Proxy) -> None:
    """Cut both connections of a client and wait until it is back."""
    before = client.stats()["reconnects"]
    proxy.cut()
    wait_until(lambda: client.stats()["reconnects"] >= before + 2 and client.connected)


def test_a_queue_that_another_client_removed_stays_removed_after_a_reconnect(
    new_client: NewClient,
    broker: Broker,
    label: str,
    start_proxy: Callable[[Broker], Proxy],
    queue_of: Callable[[str], str],
) -> None:
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url)
    client.create_new_request_queue(label)
    client.create_new_request_queue(f"{label}2")
    new_client().remove_request_queue(label)

    for _ in range(2):
        reconnect(client, proxy)

        assert queue_of(label) not in broker.queues()
        assert queue_of(f"{label}2") in broker.queues()
        with pytest.raises(Unroutable):
            client.call(routing_key=label, timeout=20).greet("Alice")


def test_a_queue_that_was_removed_while_the_client_was_away_stays_removed(
    new_client: NewClient,
    broker: Broker,
    label: str,
    start_proxy: Callable[[Broker], Proxy],
    queue_of: Callable[[str], str],
) -> None:
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url)
    client.create_new_request_queue(label)
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not client.connected)
    new_client().remove_request_queue(label)
    kept = client.defer(routing_key=label, timeout=20, wait_publish=False).greet("Alice")

    proxy.accept()

    with pytest.raises(Unroutable):
        kept.get(timeout=20)
    assert queue_of(label) not in broker.queues()


def test_a_removed_queue_is_logged_once_whatever_the_number_of_calls(
    client: AmqpRpcClient,
    new_client: NewClient,
    label: str,
    caplog: pytest.LogCaptureFixture,
    queue_of: Callable[[str], str],
) -> None:
    client.create_new_request_queue(label)
    new_client().remove_request_queue(label)
    caplog.clear()

    results = [client.defer(routing_key=label, wait_publish=False).greet("Alice") for _ in range(50)]
    for result in results:
        with pytest.raises(Unroutable):
            result.get(timeout=20)
    for _ in range(5):
        with pytest.raises(Unroutable):
            client.call(routing_key=label, timeout=20).greet("Alice")

    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("amphora")]
    assert f"label queue '{queue_of(label)}' no longer exists" in line
    assert "restor" not in line


def test_a_lost_binding_is_restored_and_logged_as_that(
    client: AmqpRpcClient,
    broker: Broker,
    service: str,
    label: str,
    caplog: pytest.LogCaptureFixture,
    queue_of: Callable[[str], str],
) -> None:
    client.create_new_request_queue(label)
    with broker.channel() as channel:
        channel.queue_unbind(queue_of(label), f"rpc_{service}_request", label)

    for _ in range(3):
        client.defer(routing_key=label).greet("Alice")

    assert broker.queues()[queue_of(label)].messages == 3
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("amphora.client.call_tracker")]
    assert "had lost its binding" in line


def test_a_lost_binding_is_restored_at_a_reconnect(
    new_client: NewClient,
    broker: Broker,
    service: str,
    label: str,
    start_proxy: Callable[[Broker], Proxy],
    queue_of: Callable[[str], str],
) -> None:
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url)
    client.create_new_request_queue(label)
    with broker.channel() as channel:
        channel.queue_unbind(queue_of(label), f"rpc_{service}_request", label)

    reconnect(client, proxy)

    assert (f"rpc_{service}_request", queue_of(label), label) in {
        (each.exchange, each.destination, each.routing_key) for each in broker.bindings()
    }


def test_a_queue_removed_by_another_client_can_be_created_again(
    new_client: NewClient,
    broker: Broker,
    label: str,
    start_proxy: Callable[[Broker], Proxy],
    queue_of: Callable[[str], str],
) -> None:
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url)
    client.create_new_request_queue(label)
    new_client().remove_request_queue(label)
    reconnect(client, proxy)

    client.create_new_request_queue(label)
    reconnect(client, proxy)

    client.defer(routing_key=label).greet("Alice")
    assert broker.queues()[queue_of(label)].messages == 1


def test_a_queue_that_waits_to_be_created_is_not_taken_for_a_removed_one(
    new_client: NewClient,
    broker: Broker,
    label: str,
    start_proxy: Callable[[Broker], Proxy],
    queue_of: Callable[[str], str],
) -> None:
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url)
    assert client.wait_connected(20)
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not client.connected)
    client.create_new_request_queue(label, nowait=True)
    kept = client.defer(routing_key=label, wait_publish=False).greet("Alice")
    removed = f"{label}2"
    client.create_new_request_queue(removed, nowait=True)
    client.remove_request_queue(removed, nowait=True)
    # Done in its turn: what is created last is there last.
    client.create_new_request_queue(f"{label}3", nowait=True)

    proxy.accept()

    wait_until(lambda: queue_of(f"{label}3") in broker.queues())
    wait_until(lambda: queue_of(label) in broker.queues() and broker.queues()[queue_of(label)].messages == 1)
    assert not kept.ready()
    wait_until(lambda: queue_of(removed) not in broker.queues())
    assert [queue.name for queue in client._calls._topology.added] == [queue_of(label), queue_of(f"{label}3")]


def test_a_broker_that_lost_everything_gets_the_queue_back_even_if_a_server_was_there_first(
    own_broker: Broker,
    new_client: NewClient,
    new_server: NewServer,
    label: str,
    start_proxy: Callable[[Broker], Proxy],
    queue_of: Callable[[str], str],
) -> None:
    proxy = start_proxy(own_broker)
    client = new_client(broker_url=proxy.url)
    client.create_new_request_queue(label)
    server = new_server(abs, broker_url=own_broker.url, connected=True)
    proxy.refuse()
    proxy.cut()
    own_broker.wipe()
    own_broker.start()
    wait_until(lambda: server.connected, 60)

    proxy.accept()

    wait_until(lambda: client.connected, 60)
    assert queue_of(label) in own_broker.queues()
    server.receive_from_queue(label, block=False)
    assert client.call(routing_key=label, timeout=20).abs(-1) == 1
