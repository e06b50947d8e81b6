"""A broker that takes no messages: short of memory, or with a full queue."""

import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import amqp
import gevent
import pytest
from gevent.event import Event

from amphora import NoResult, PublishNacked
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.connections import connections_of
from tests.acceptance.load import outcome_of
from tests.acceptance.work import Work
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def test_calls_are_held_during_a_memory_alarm_and_sent_after_it(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    work = Work()
    new_server(own_broker.url, work)
    client = new_client(own_broker.url)
    assert client.call.work(0) == 0

    with own_broker.memory_alarm():
        held = [client.defer(wait_publish=False).work(number) for number in range(1, 200)]
        wait_until(lambda: client.blocked)
        held += [client.defer(wait_publish=False).work(number) for number in range(200, 400)]
        waiting = gevent.spawn(client.defer.work, 400)
        gevent.sleep(0)
        assert not waiting.ready()

    assert [result.get(timeout=20) for result in [*held, waiting.get(timeout=20)]] == list(range(1, 401))
    wait_until(lambda: not client.blocked)
    assert work.runs == dict.fromkeys(range(401), 1)


def test_a_call_during_a_memory_alarm_ends_in_time_and_says_that_the_broker_blocks(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(own_broker.url, abs)
    client = new_client(own_broker.url)
    assert client.call.abs(-1) == 1

    with own_broker.memory_alarm():
        client.defer(wait_publish=False).abs(-1)
        wait_until(lambda: client.blocked)
        began = time.monotonic()
        with pytest.raises(NoResult, match=r"blocked by a resource alarm"):
            client.call(timeout=1).abs(-1)

        assert time.monotonic() - began < 10


def test_a_memory_alarm_of_many_heartbeats_breaks_no_connection(
    own_broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(own_broker.url, abs, heartbeat=1)
    client = new_client(own_broker.url, heartbeat=1)
    assert client.call.abs(-1) == 1
    before = connections_of(own_broker, service).keys()

    with own_broker.memory_alarm():
        held = client.defer(wait_publish=False).abs(-2)
        wait_until(lambda: client.blocked)
        gevent.sleep(4)  # What is tested is that nothing happens for longer than it takes to notice silence.

    assert held.get(timeout=20) == 2
    assert connections_of(own_broker, service).keys() == before
    assert len(before) == 4


def test_a_server_acknowledges_during_a_memory_alarm(
    own_broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    queue, begun, go_on = f"rpc_{service}_request", Event(), Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    server = new_server(own_broker.url, work)
    assert server.wait_connected(10)
    with own_broker.channel() as channel:
        body = '{"func": "work", "args": [], "kwargs": {}}'
        # Without reply_to: the only thing that the server has to say to the broker is that it is done.
        channel.basic_publish(amqp.Message(body, message_id=uuid4().hex), queue, "")
        assert begun.wait(10)

    with own_broker.memory_alarm():
        go_on.set()

        wait_until(lambda: own_broker.queues()[queue].messages == 0, message="the request is acknowledged")


def test_a_server_keeps_its_replies_during_a_memory_alarm(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    work = Work()
    server = new_server(own_broker.url, work)
    client = new_client(own_broker.url)
    assert client.call.work(0) == 0
    begun, go_on = Event(), Event()

    @server.add_function
    def wait(number: int) -> int:
        begun.set()
        go_on.wait()
        return number

    results = [client.defer.wait(number) for number in range(50)]
    assert begun.wait(10)
    with own_broker.memory_alarm():
        go_on.set()
        wait_until(lambda: server.blocked)

    assert [result.get(timeout=20) for result in results] == list(range(50))


def test_a_request_that_a_full_queue_refuses_raises_publish_nacked(
    service: str,
    unique_name: Callable[[str], str],
    new_client: NewClient,
    amqp_channel: amqp.Channel,
    broker: Broker,
) -> None:
    client = new_client(broker.url, queue_type="classic")
    assert client.wait_connected(10)
    label = unique_name("label")
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    amqp_channel.queue_declare(label, durable=True, auto_delete=False, arguments=full)
    amqp_channel.queue_bind(label, f"rpc_{service}_request", label)
    client.defer(routing_key=label).work(1)

    with pytest.raises(PublishNacked, match=label):
        client.defer(routing_key=label).work(2)
    with pytest.raises(PublishNacked, match=label):
        client.call(routing_key=label).work(3)
    with pytest.raises(PublishNacked, match=label):
        client.defer(routing_key=label, wait_publish=False).work(4).get(timeout=10)


def test_a_nack_is_the_end_of_one_request_only(
    service: str,
    unique_name: Callable[[str], str],
    new_client: NewClient,
    new_server: NewServer,
    amqp_channel: amqp.Channel,
    broker: Broker,
) -> None:
    new_server(broker.url, abs, queue_type="classic")
    client = new_client(broker.url, queue_type="classic")
    assert client.wait_connected(10)
    label = unique_name("label")
    full = {"x-max-length": 5, "x-overflow": "reject-publish"}
    amqp_channel.queue_declare(label, durable=True, auto_delete=False, arguments=full)
    amqp_channel.queue_bind(label, f"rpc_{service}_request", label)

    calls = [
        (client.defer(wait_publish=False, routing_key=label).abs(0), client.defer(wait_publish=False).abs(-number))
        for number in range(100)
    ]

    assert [answered.get(timeout=20) for _, answered in calls] == list(range(100))
    wait_until(lambda: sum(result.ready() for result, _ in calls) == 95, message="the nacks")
    assert {type(result.exception) for result, _ in calls if result.ready()} == {PublishNacked}


def test_a_server_keeps_a_reply_that_a_full_response_queue_refuses_until_there_is_room(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    work = Work()
    new_server(broker.url, work)
    client = new_client(broker.url)
    assert client.call.work(0) == 0
    response_queue = f"rpc_{service}_{client.uuid}_response"
    broker.set_policy(service, f"^{response_queue}$", {"max-length": 1, "overflow": "reject-publish"})
    client.stop_consumer()
    results = [client.defer.work(number) for number in range(1, 5)]
    wait_until(lambda: sum(work.runs.values()) == 5)
    wait_until(lambda: broker.queues()[response_queue].messages == 1)

    client.serve()

    assert [result.get(timeout=30) for result in results] == [1, 2, 3, 4]
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0, message="all is acknowledged")
    assert work.runs == dict.fromkeys(range(5), 1)
    broker.clear_policy(service)


def test_a_blocked_client_stops_in_time(own_broker: Broker, new_client: NewClient, new_server: NewServer) -> None:
    new_server(own_broker.url, abs)
    client = new_client(own_broker.url)
    assert client.call.abs(-1) == 1

    with own_broker.memory_alarm():
        held = client.defer(wait_publish=False).abs(-2)
        wait_until(lambda: client.blocked)
        began = time.monotonic()
        client.stop()
        assert time.monotonic() - began < 20

    client.serve()
    assert outcome_of(partial(held.get, timeout=20)) == 2
