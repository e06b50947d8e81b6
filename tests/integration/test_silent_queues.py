"""Queues whose process does not answer, as when the node of a queue is down on RabbitMQ 4."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import amqp
import gevent
import pytest

from amphora import BrokerUnreachable, NoResult, QueueStatus
from amphora.core.subscriptions import State
from amphora.protocol.dead_letters import identity
from amphora.protocol.names import Names
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy
from tests.support.silent_queues import silent

#: Declaring a quorum queue again does not ask its process.
pytestmark = pytest.mark.endpoints(queue_type="classic")


def test_a_control_queue_that_does_not_answer_costs_no_connection(
    broker: Broker,
    service: str,
    new_server: NewServer,
    new_client: NewClient,
    hold: Holding,
    start_proxy: Callable[[Broker], Proxy],
) -> None:
    proxy = start_proxy(broker)
    server = new_server(hold, broker_url=proxy.url, connected=True, connect_timeout=1)
    client = new_client()
    with silent(broker, f"rpc_{service}_{server.uuid}_control"):
        proxy.cut()
        wait_until(lambda: not server.connected)
        wait_until(lambda: server.connected, 20)
        reconnects = server.stats()["reconnects"]
        held = client.defer.hold()
        assert hold.began.wait(20)
        # Longer than the limit of one answer.
        later = time.monotonic() + 2
        wait_until(lambda: time.monotonic() > later or not server.connected)
        hold.let_go.set()

        assert held.get(timeout=20) == "done"
        assert server.stats()["reconnects"] == reconnects
        assert server.stats()["requests"] == 1
        assert server.health().ready


def test_a_label_queue_that_does_not_answer_costs_no_request_of_others_and_is_served_when_it_answers(
    broker: Broker, new_server: NewServer, new_client: NewClient, service: str, alice: str
) -> None:
    server = new_server(abs, connected=True, connect_timeout=1)
    client = new_client()
    queue = client._names.label_queue(alice)
    with silent(broker, queue):
        server.receive_from_queue(alice, block=False)
        [wish] = [each for each in server._consumer._machine.wishes if each.queue == queue]
        wait_until(lambda: wish.state is State.MISSING, 20)

        assert [client.call(timeout=20).abs(-number) for number in range(20)] == list(range(20))
        assert server.stats()["reconnects"] == 0

    assert client.call(routing_key=alice, timeout=20).abs(-1) == 1


def test_a_removed_label_queue_costs_no_request_of_other_queues(
    broker: Broker, new_server: NewServer, new_client: NewClient, unique_name: Callable[[str], str]
) -> None:
    runs: Counter[int] = Counter()

    def work(number: int) -> int:
        runs[number] += 1
        gevent.sleep(0.2)
        return number

    options = {"queue_type": "quorum"}
    server = new_server(work, connected=True, concurrency=10, **options)
    new_server(work, connected=True, concurrency=10, **options)
    client = new_client(**options)
    label = unique_name("label")
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)
    results = [client.defer(wait_publish=False).work(number) for number in range(60)]
    wait_until(lambda: len(runs) > 10)

    client.remove_request_queue(label)

    assert [result.get(timeout=60) for result in results] == list(range(60))
    # Now and then the broker itself fails over the removed queue and ends the connection (541, INTERNAL_ERROR).
    if server.stats()["reconnects"] == 0:
        assert set(runs.values()) == {1}


# The same for publishers, which declare queues too.


def cut_and_wait(proxy: Proxy, *endpoints: Any) -> None:
    """Break all connections, and wait until those of the endpoints are there again."""
    before = [endpoint._publisher.link.reconnects for endpoint in endpoints]
    proxy.cut()
    for endpoint, number in zip(endpoints, before, strict=True):
        link = endpoint._publisher.link
        wait_until(lambda link=link, number=number: link.reconnects > number and link.connected, 30)  # type: ignore[misc]


def test_a_dead_letter_queue_that_does_not_answer_costs_no_reply(
    broker: Broker,
    service: str,
    new_server: NewServer,
    new_client: NewClient,
    start_proxy: Callable[[Broker], Proxy],
) -> None:
    proxy = start_proxy(broker)
    server = new_server(abs, broker_url=proxy.url, connected=True, connect_timeout=1, delivery_limit=5)
    client = new_client()
    wait_until(lambda: server.connected and f"rpc_{service}_dead" in broker.queues())
    with silent(broker, f"rpc_{service}_dead"):
        cut_and_wait(proxy, server)
        reconnects = server.stats()["reconnects"]

        assert [client.call.abs(-number) for number in range(20)] == list(range(20))
        assert server.stats()["reconnects"] == reconnects
        assert f"no answer about queue 'rpc_{service}_dead': is its node down?" in server._publisher.link.state

    wait_until(lambda: "no answer" not in server._publisher.link.state, 30)


def test_the_request_queue_of_a_client_that_does_not_answer_is_waited_for_and_labels_are_not(
    broker: Broker,
    service: str,
    new_server: NewServer,
    new_client: NewClient,
    start_proxy: Callable[[Broker], Proxy],
    alice: str,
) -> None:
    server = new_server(abs, connected=True)
    server.receive_from_queue(alice, block=False)
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url, connect_timeout=1)
    assert client.wait_connected(20)
    with silent(broker, f"rpc_{service}_request"):
        cut_and_wait(proxy, client)
        reconnects = client._publisher.link.reconnects

        held = client.defer(timeout=60, wait_publish=False).abs(-1)
        assert [client.call(routing_key=alice).abs(-number) for number in range(20)] == list(range(20))
        with pytest.raises(NoResult, match=rf"was not sent .*no answer about queue .rpc_{service}_request.: is its no"):
            client.call(timeout=0.1).abs(-2)
        assert client._publisher.link.reconnects == reconnects

    assert held.get() == 1


def test_a_label_queue_that_cannot_be_declared_costs_no_call_of_others(
    broker: Broker, service: str, new_server: NewServer, new_client: NewClient, alice: str
) -> None:
    new_server(abs, connected=True)
    client = new_client(connect_timeout=1, timeout=30)
    assert client.call.abs(-1) == 1
    with silent(broker, client._names.label_queue(alice)):
        created = gevent.spawn(client.create_new_request_queue, alice)
        gevent.sleep(0)

        assert [client.call.abs(-number) for number in range(20)] == list(range(20))
        with pytest.raises(BrokerUnreachable, match=r"no answer .*is the node of the queue down"):
            created.get(timeout=30)
        assert client.stats()["reconnects"] == 0

    client.create_new_request_queue(alice)


@pytest.mark.expects_errors("tries of request .* cannot be counted")
def test_tries_whose_counter_does_not_answer_are_made_uncounted_and_hold_up_no_other_request(
    broker: Broker, service: str, new_server: NewServer, new_client: NewClient
) -> None:
    client = new_client(timeout=60)
    result = client.defer.abs(-1)
    with broker.channel() as channel:
        taken: list[amqp.Message] = []
        wait_until(lambda: [taken.append(each) for each in [channel.basic_get(f"rpc_{service}_request")] if each])
        message = taken[0]
        name = Names(service).tries_queue(identity(message.properties, message.body))
        arguments = {"x-queue-type": "classic", "x-expires": 24 * 60 * 60 * 1000}
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
        with silent(broker, name):
            channel.basic_reject(message.delivery_tag, requeue=True)
            # Long enough for the calls on a busy machine.
            server = new_server(abs, connected=True, connect_timeout=8, delivery_limit=5)

            assert [client.call.abs(-number) for number in range(20)] == list(range(20))
            assert not result.ready()
            assert result.get() == 1
            assert server.stats()["reconnects"] == 0


def test_asking_for_queues_that_do_not_answer_costs_no_connection(
    broker: Broker, service: str, new_server: NewServer, new_client: NewClient, alice: str
) -> None:
    new_server(abs, connected=True)
    client = new_client(connect_timeout=0.2)
    assert client.call.abs(-1) == 1
    with silent(broker, client._names.label_queue(alice)):
        for _ in range(10):
            with pytest.raises(BrokerUnreachable, match=r"no answer .*is the node of the queue down"):
                client.queue_status(alice)

        assert client.call.abs(-1) == 1
        assert client.stats()["reconnects"] == 0


def test_a_queue_that_does_not_answer_keeps_back_no_answer_about_others(
    broker: Broker, service: str, new_server: NewServer, new_client: NewClient, alice: str
) -> None:
    new_server(abs, connected=True, delivery_limit=3)
    client = new_client(delivery_limit=3)
    client.create_new_request_queue(alice)
    own, dead, label = f"rpc_{service}_request", f"rpc_{service}_dead", client._names.label_queue(alice)
    with silent(broker, own), silent(broker, label):
        for _ in range(3):
            with pytest.raises(BrokerUnreachable, match=f"{own}.* was not answered") as caught:
                client.queue_status(timeout=2)
            assert caught.value.unanswered == (own,)
            assert caught.value.answered == {dead: QueueStatus(0, 0)}
            with pytest.raises(BrokerUnreachable) as caught:
                client.queue_status(alice, "missing", timeout=2)
            assert caught.value.unanswered == (label,)
            assert list(caught.value.answered.values()) == [None]
        # One channel for each queue, however often it was asked for.
        assert len(client._consumer._begun) == 2

    assert client.queue_status(alice, timeout=20) == {label: QueueStatus(0, 0)}
    assert client.queue_status(timeout=20).keys() == {own, dead}
    assert client.stats()["reconnects"] == 0
