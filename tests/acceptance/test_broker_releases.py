"""What RabbitMQ's releases do differently with queues and consumers: every call is answered on all of them."""

from collections.abc import Callable, Iterator
from typing import Any

import amqp
import gevent
import pytest

from amphora import AmqpRpcClient, BrokerUnreachable
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.work import Work
from tests.conftest import StartBroker
from tests.support.broker import Broker
from tests.support.eventually import wait_until

QUORUM: dict[str, Any] = {"queue_type": "quorum"}
TIMEOUT = 60

#: More than the delivery limit that RabbitMQ 4 gives to quorum queues by default.
MANY = 25


def messages_in(broker: Broker, queue: str, vhost: str = "/") -> int:
    """Return how many messages wait in a queue; what the broker tells of a quorum queue otherwise is seconds old."""
    with broker.channel(virtual_host=vhost) as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)


def consumers_of(broker: Broker, queue: str) -> int:
    """Return how many consumers a queue has; 0 where there is no queue."""
    found = broker.queues().get(queue)
    return 0 if found is None else found.consumers


def drop_in_hand(broker: Broker, queue: str, times: int, vhost: str = "/") -> None:
    """Take everything from a queue and lose the connection, again and again, as servers do that crash."""
    waiting = messages_in(broker, queue, vhost)
    for _ in range(times):
        connection = broker.connect(virtual_host=vhost)
        channel = connection.channel()
        taken: list[amqp.Message] = []
        channel.basic_consume(queue, callback=taken.append)
        while len(taken) < waiting:
            connection.drain_events(timeout=20)
        connection.collect()


@pytest.fixture(params=["", "1"], ids=["direct", "stock"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either transport."""
    monkeypatch.setenv("AMPHORA_STOCK_TRANSPORT", request.param)


# Acknowledgements that come too late.


@pytest.fixture(scope="module")
def impatient_broker(new_broker: StartBroker) -> Iterator[Broker]:
    """A node with a consumer timeout of 3 s, which it looks at every half second."""
    broker = new_broker({"consumer_timeout": 3000})
    broker.eval("""
        application:set_env(rabbit, channel_tick_interval, 500),
        application:set_env(rabbit, quorum_tick_interval, 500)
    """)
    yield broker
    broker.close()


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
@pytest.mark.parametrize("by_label", [False, True])
def test_calls_are_answered_after_an_acknowledgement_that_came_too_late(
    impatient_broker: Broker,
    service: str,
    new_client: NewClient,
    new_server: NewServer,
    queue_type: str,
    by_label: bool,
) -> None:
    broker = impatient_broker
    work = Work(0.2)
    options: dict[str, Any] = {"queue_type": queue_type}

    def last() -> str:
        gevent.sleep(5)
        return "done"

    server = new_server(broker.url, work, last, concurrency=5, **options)
    client = new_client(broker.url, timeout=TIMEOUT, **options)
    assert client.wait_connected(20)
    call = {}
    if by_label:
        client.create_new_request_queue(service)
        server.receive_from_queue(service, block=False)
        call = {"routing_key": service}

    late = client.defer(**call).last()
    assert late.get() == "done"
    results = [client.defer(wait_publish=False, **call).work(number) for number in range(40)]

    assert [result.get() for result in results] == list(range(40))
    queue = f"rpc_{service}_queue_{service}" if by_label else f"rpc_{service}_request"
    wait_until(lambda: messages_in(broker, queue) == 0, 20)
    if queue_type == "quorum":
        assert messages_in(broker, f"rpc_{service}_dead") == 0


# Consumers that end.


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_label_queue_that_is_consumed_from_again_and_again_loses_nothing_and_runs_nothing_twice(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, queue_type: str
) -> None:
    work, options = Work(0.05), {"queue_type": queue_type}
    server, client = new_server(broker.url, work, **options), new_client(broker.url, timeout=TIMEOUT, **options)
    client.create_new_request_queue(service)
    results = [client.defer(routing_key=service).work(number) for number in range(60)]

    # More deliveries are on their way each time than are taken: they go back, and others are acknowledged late.
    for _ in range(MANY):
        server.receive_from_queue(service, max_calls=1)
    server.receive_from_queue(service, block=False)

    assert [result.get() for result in results] == list(range(60))
    assert set(work.runs.values()) == {1}
    assert server.stats()["reconnects"] == 0
    wait_until(lambda: messages_in(broker, f"rpc_{service}_queue_{service}") == 0, 20)


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_label_queue_that_is_deleted_and_made_again_is_served_again_and_others_are_all_the_time(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, queue_type: str
) -> None:
    work, options = Work(0.02), {"queue_type": queue_type}
    server, client = new_server(broker.url, work, **options), new_client(broker.url, timeout=TIMEOUT, **options)
    others = []
    for turn in range(5):
        client.create_new_request_queue(service)
        server.receive_from_queue(service, block=False)
        assert client.call(routing_key=service).work(-turn) == -turn
        others += [client.defer(wait_publish=False).work(20 * turn + number + 1) for number in range(20)]
        client.remove_request_queue(service)

    assert [result.get() for result in others] == list(range(1, 101))
    # Now and then the broker itself fails over the removed queue and ends the connection (541, INTERNAL_ERROR).
    if server.stats()["reconnects"] == 0:
        assert set(work.runs.values()) == {1}


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_label_queue_that_is_replaced_at_once_is_served_by_those_who_served_the_one_before(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, queue_type: str
) -> None:
    work, options = Work(0.0), {"queue_type": queue_type}
    server, client = new_server(broker.url, work, **options), new_client(broker.url, timeout=TIMEOUT, **options)
    for turn in range(5):
        label = f"label-{turn}"
        client.create_new_request_queue(label)
        server.receive_from_queue(label, block=False)
        assert client.call(routing_key=label).work(2 * turn) == 2 * turn

        client.remove_request_queue(label)
        client.create_new_request_queue(label)

        assert client.call(routing_key=label).work(2 * turn + 1) == 2 * turn + 1


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_request_queue_that_an_operator_deletes_is_served_by_every_server_afterwards(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, queue_type: str
) -> None:
    works, options = [Work(0.0) for _ in range(3)], {"queue_type": queue_type}
    client = new_client(broker.url, timeout=TIMEOUT, **options)
    for work in works:
        new_server(broker.url, work, **options)
    assert client.call.work(0) == 0
    for turn in range(3):
        broker.delete_queue(f"rpc_{service}_request")
        wait_until(lambda: consumers_of(broker, f"rpc_{service}_request") == 3, 30)
        before = [sum(work.runs.values()) for work in works]

        # In turn to each of the three: one that the broker takes for a consumer and that gets nothing would keep some.
        numbers = range(100 * turn + 1, 100 * turn + 31)
        assert [client.call.work(number) for number in numbers] == list(numbers)
        assert all(sum(work.runs.values()) > ran for work, ran in zip(works, before, strict=True))


# Delivery limits of the broker.


@pytest.mark.parametrize("limit", [None, 0, 3])
@pytest.mark.parametrize("by_label", [False, True])
def test_requests_that_crashed_servers_had_prefetched_are_neither_dropped_nor_given_up(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, limit: int | None, by_label: bool
) -> None:
    options = {"queue_type": "quorum", "delivery_limit": limit}
    client = new_client(broker.url, timeout=TIMEOUT, **options)
    assert client.wait_connected(20)
    call = {}
    queue = f"rpc_{service}_request"
    if by_label:
        client.create_new_request_queue(service)
        call, queue = {"routing_key": service}, f"rpc_{service}_queue_{service}"
    results = [client.defer(**call).work(number) for number in range(20)]

    drop_in_hand(broker, queue, MANY)

    work = Work()
    server = new_server(broker.url, work, **options)
    if by_label:
        server.receive_from_queue(service, block=False)
    assert [result.get() for result in results] == list(range(20))
    assert set(work.runs.values()) == {1}


def test_letters_that_were_looked_at_many_times_are_still_there(
    broker: Broker, service: str, new_server: NewServer
) -> None:
    new_server(broker.url, Work(), **QUORUM)
    queue = f"rpc_{service}_dead"
    wait_until(lambda: queue in broker.queues())
    with broker.channel() as channel:
        # Not over its exchange, which may not be bound yet.
        channel.basic_publish(amqp.Message(b"a letter", delivery_mode=2), "", queue)
    wait_until(lambda: messages_in(broker, queue) == 1)

    drop_in_hand(broker, queue, MANY)

    wait_until(lambda: messages_in(broker, queue) == 1)


# A virtual host that makes quorum queues of all that name no type.


@pytest.fixture
def quorum_vhost(broker: Broker, unique_name: Callable[[str], str]) -> str:
    """A virtual host whose default queue type is quorum."""
    name = unique_name("quorum")
    broker.ctl("add_vhost", name, "--default-queue-type", "quorum")
    broker.ctl("set_permissions", "--vhost", name, "guest", ".*", ".*", ".*")
    return name


def test_a_classic_service_has_classic_queues_whatever_the_default_of_the_virtual_host(
    broker: Broker, quorum_vhost: str, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    url = broker.url_for(vhost=quorum_vhost)
    client = new_client(url, timeout=TIMEOUT, queue_type="classic")
    client.create_new_request_queue(service)
    result = client.defer.work(1)

    drop_in_hand(broker, f"rpc_{service}_request", MANY, quorum_vhost)

    new_server(url, Work(), queue_type="classic")
    assert result.get() == 1
    types = {each.arguments.get("x-queue-type") for each in broker.queues(quorum_vhost).values()}
    assert types == {"classic"}


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_queues_that_an_earlier_release_declared_stay_in_use_and_are_logged(
    broker: Broker,
    quorum_vhost: str,
    service: str,
    new_client: NewClient,
    new_server: NewServer,
    caplog: pytest.LogCaptureFixture,
    queue_type: str,
) -> None:
    vhost = quorum_vhost if queue_type == "classic" else "/"
    url = broker.url_for(vhost=vhost)
    queue, label, dead = f"rpc_{service}_request", f"rpc_{service}_queue_{service}", f"rpc_{service}_dead"
    of_requests: dict[str, Any] = {}
    if queue_type == "quorum":
        of_requests = {
            "x-queue-type": "quorum",
            "x-delivery-limit": 200,
            "x-dead-letter-exchange": dead,
            "x-dead-letter-routing-key": dead,
        }
    with broker.channel(virtual_host=vhost) as channel:
        for name in (queue, label):
            channel.queue_declare(name, durable=True, auto_delete=False, arguments=of_requests)
    before = broker.queues(vhost)
    options = {"queue_type": queue_type}

    server = new_server(url, Work(), **options)
    client: AmqpRpcClient = new_client(url, timeout=TIMEOUT, **options)
    client.create_new_request_queue(service)
    server.receive_from_queue(service, block=False)

    assert client.call.work(1) == 1
    assert client.call(routing_key=service).work(2) == 2
    after = broker.queues(vhost)
    assert [after[name].arguments for name in (queue, label)] == [before[name].arguments for name in (queue, label)]
    assert f"queue {queue!r} " in caplog.text
    assert "set a policy with a higher delivery-limit" in caplog.text


# A broker that is killed soon after a quorum queue was declared: on RabbitMQ 4.0, some come back without a leader.


def test_clients_go_on_whose_broker_was_killed_soon_after_they_had_declared_their_queues(
    own_broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(own_broker.url, Work(), **QUORUM)
    first = new_client(own_broker.url, timeout=TIMEOUT, **QUORUM)
    assert first.call.work(0) == 0

    clients = [new_client(own_broker.url, timeout=TIMEOUT, **QUORUM) for _ in range(20)]
    wait_until(lambda: sum(client.connected for client in clients) >= 5, 30)
    own_broker.kill()
    own_broker.start()

    for client in clients:
        assert client.wait_connected(90)
    results = [client.defer.work(number) for number, client in enumerate(clients)]
    assert [result.get() for result in results] == list(range(20))


# Settings.


def test_a_broker_that_allows_one_consumer_on_each_channel_has_servers_with_labels(
    broker: Broker, start_broker: StartBroker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    if broker.release < (4, 0):
        pytest.skip("this release has no such setting")
    broker = start_broker({"consumer_max_per_channel": 1})
    server, client = new_server(broker.url, Work()), new_client(broker.url, timeout=TIMEOUT)
    for label in ("a", "b", "c"):
        client.create_new_request_queue(label)
        server.receive_from_queue(label, block=False)

    assert [client.call(routing_key=label).work(1) for label in ("a", "b", "c")] == [1, 1, 1]
    assert client.call.work(2) == 2
    assert server.stats()["reconnects"] == client.stats()["reconnects"] == 0
    assert server.health().ready


def test_a_server_with_more_labels_than_channels_for_them_goes_on_where_no_channel_can_be_shared(
    broker: Broker, start_broker: StartBroker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    if broker.release < (4, 0):
        pytest.skip("this release has no such setting")
    broker = start_broker({"consumer_max_per_channel": 1})
    server, client = new_server(broker.url, Work()), new_client(broker.url, timeout=TIMEOUT)
    labels = [f"label{number}" for number in range(40)]
    for label in labels:
        client.create_new_request_queue(label)
        server.receive_from_queue(label, block=False)

    assert [client.call(routing_key=label).work(1) for label in labels] == [1] * 40
    assert server.health().ready
    # One connection may have been lost to find out.
    reconnects = server.stats()["reconnects"]
    assert reconnects <= 1
    client.create_new_request_queue("one more")
    server.receive_from_queue("one more", block=False)
    assert client.call(routing_key="one more").work(1) == 1
    assert server.stats()["reconnects"] == reconnects


@pytest.fixture(params=[4096, 8192])
def small_frames(request: pytest.FixtureRequest, broker: Broker) -> Iterator[int]:
    """The shared node has small frames for the connections that are opened during the test."""
    usual = broker.eval("application:get_env(rabbit, frame_max, 131072)")
    broker.eval(f"application:set_env(rabbit, frame_max, {request.param})")
    yield request.param
    broker.eval(f"application:set_env(rabbit, frame_max, {usual})")


@pytest.mark.expects_errors("its frame_max is 4096 bytes")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_small_frames_carry_calls_or_are_refused_with_the_reason(
    broker: Broker,
    service: str,
    new_client: NewClient,
    new_server: NewServer,
    small_frames: int,
    queue_type: str,
) -> None:
    client = new_client(broker.url, timeout=TIMEOUT, queue_type=queue_type)
    if small_frames < 8192 and broker.release >= (4, 1):
        with pytest.raises(BrokerUnreachable, match=r"its frame_max is 4096 bytes, and RabbitMQ 4\.\d"):
            client.call.work(1)
    else:
        new_server(broker.url, Work(), queue_type=queue_type)
        assert client.call.work(1) == 1
