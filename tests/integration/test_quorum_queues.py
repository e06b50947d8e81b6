"""Services on quorum queues: everything works as on classic ones, and a change of type is told how to make."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import amqp
import gevent
import pytest
from gevent.event import AsyncResult

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    IgnoreRequest,
    TopologyConflict,
)
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until

QUORUM: dict[str, Any] = {"queue_type": "quorum"}


def types_of(broker: Broker, *names: str) -> dict[str, str]:
    """Return the types of queues that their declarations asked for, "none" for nothing."""
    queues = broker.queues()
    return {name: queues[name].arguments.get("x-queue-type", "none") for name in names}


@pytest.fixture
def quick_expiry(broker: Broker) -> Iterator[None]:
    """Let quorum queues that are declared now look soon whether their time is over, and not only every 5 s."""
    broker.eval("application:set_env(rabbit, quorum_tick_interval, 100)")
    yield
    broker.eval("application:unset_env(rabbit, quorum_tick_interval)")


def test_request_label_and_response_queues_are_of_the_type_that_is_asked_for(
    broker: Broker, service: str, label: str, new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server(abs, connected=True, **QUORUM)
    client = new_client(**QUORUM)
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)

    assert client.call.abs(-1) == 1
    assert client.call(routing_key=label).abs(-2) == 2
    names = (f"rpc_{service}_request", f"rpc_{service}_queue_{label}", f"rpc_{service}_{client.uuid}_response")
    assert types_of(broker, *names) == dict.fromkeys(names, "quorum")


def test_a_fanout_servers_queue_is_of_the_type_that_is_asked_for(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server(abs, cls=AmqpRpcFanoutServer, connected=True, **QUORUM)
    client = new_client(cls=AmqpRpcFanoutClient, **QUORUM)

    assert client.call.abs(-1) == 1
    name = f"rpc_{service}_{server.uuid}_request"
    assert types_of(broker, name) == {name: "quorum"}


def test_classic_queues_are_declared_as_such_whatever_the_default(
    broker: Broker, service: str, label: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(abs, connected=True, queue_type="classic")
    client = new_client(queue_type="classic")
    client.create_new_request_queue(label)

    assert client.call.abs(-1) == 1
    names = (f"rpc_{service}_request", f"rpc_{service}_queue_{label}", f"rpc_{service}_{client.uuid}_response")
    assert types_of(broker, *names) == dict.fromkeys(names, "classic")


def test_many_calls_are_answered_once_each(new_client: NewClient, new_server: NewServer, note: Noting) -> None:
    new_server(note, connected=True, **QUORUM)
    client = new_client(**QUORUM)

    results = [client.defer(wait_publish=False).note(number) for number in range(500)]

    gevent.wait(results, timeout=60)
    assert all(result.successful() for result in results)
    assert sorted(note.runs) == list(range(500))


def test_an_ignored_request_comes_back_and_goes_to_another_server(new_client: NewClient, new_server: NewServer) -> None:
    def ignore(value: int) -> int:
        raise IgnoreRequest

    new_server(connected=True, ignore_delay=0.05, **QUORUM).add_function(ignore, name="work")
    client = new_client(**QUORUM)
    result = client.defer.work(7)

    new_server(connected=True, **QUORUM).add_function(lambda value: value, name="work")

    assert result.get(timeout=20) == 7


def test_a_deleted_quorum_queue_is_declared_and_consumed_again(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(abs, connected=True, **QUORUM)
    client = new_client(**QUORUM)
    assert client.call.abs(-1) == 1

    broker.delete_queue(f"rpc_{service}_request")
    wait_until(
        lambda: broker.queues().get(f"rpc_{service}_request", None),
        message="the queue is there again",
    )

    assert client.call.abs(-2) == 2
    assert types_of(broker, f"rpc_{service}_request") == {f"rpc_{service}_request": "quorum"}


def test_quorum_queues_expire_like_classic_ones(
    broker: Broker, label: str, new_client: NewClient, quick_expiry: None
) -> None:
    client = new_client(response_queue_expires=0.2, **QUORUM)
    client.create_new_request_queue(label, x_expires=200)
    client.stop()

    wait_until(
        lambda: not [name for name in broker.queues() if label in name or client.uuid in name],
        timeout=20,
        message="both queues have expired",
    )


def test_a_request_that_a_full_quorum_queue_refuses_is_sent_again_until_there_is_room(
    service: str,
    label: str,
    amqp_channel: amqp.Channel,
    new_client: NewClient,
    new_server: NewServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, full = f"rpc_{service}_queue_{label}", {"x-max-length": 5, "x-overflow": "reject-publish"}
    client = new_client(**QUORUM)
    assert client.wait_connected(20)
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum", **full})
    amqp_channel.queue_bind(queue, f"rpc_{service}_request", label)
    results: list[AsyncResult[int]] = []

    def refused() -> bool:
        # The queue tells publishers that it is full after a while only, and takes some more until then.
        results.append(client.defer(routing_key=label, wait_publish=False).abs(-len(results)))
        return "the broker refuses messages to exchange" in caplog.text

    wait_until(refused)
    assert not any(result.ready() for result in results)

    server = new_server(abs, connected=True, **QUORUM)
    server.receive_from_queue(label, block=False)

    assert [result.get(timeout=30) for result in results] == list(range(len(results)))


# Changes of type.


@pytest.mark.parametrize(("present", "wanted"), [("classic", "quorum"), ("quorum", "classic")])
@pytest.mark.parametrize("cls", [AmqpRpcClient, AmqpRpcServer])
@pytest.mark.expects_errors("the type of a queue cannot be changed")
def test_a_queue_of_the_other_type_ends_serve_with_the_way_to_migrate(
    broker: Broker,
    service: str,
    new_server: NewServer,
    cls: type[AmqpRpcClient | AmqpRpcServer],
    present: str,
    wanted: str,
) -> None:
    new_server(connected=True, queue_type=present, delivery_limit=0).stop()
    queue = f"rpc_{service}_request"
    endpoint: Any = cls(service, broker_url=broker.url, queue_type=wanted, delivery_limit=0)  # type: ignore[call-overload]

    with pytest.raises(TopologyConflict) as caught:
        gevent.spawn(partial(endpoint.serve, nowait=False)).get(timeout=20)

    text = str(caught.value)
    assert f"queue '{queue}' on the broker at" in text
    assert f"is a {present} queue, and the type of a queue cannot be changed" in text
    assert f"give queue_type='{present}' or 'auto' to every client and server" in text
    assert f"rabbitmqctl delete_queue {queue}" in text


@pytest.mark.expects_errors("with another queue_type or delivery_limit")
def test_a_label_queue_of_the_other_type_is_a_conflict_and_the_client_goes_on(
    label: str, new_client: NewClient, new_server: NewServer, unique_name: Callable[[str], str], service: str
) -> None:
    shared: dict[str, Any] = {"queue_template": "rpc_{label}_request"}
    old = new_client(service_name=unique_name("old"), queue_type="classic", **shared)
    old.create_new_request_queue(label)
    new_server(abs, connected=True, **QUORUM)
    client = new_client(**QUORUM, **shared)

    with pytest.raises(TopologyConflict, match=rf"queue 'rpc_{label}_request' .* with another queue_type"):
        client.create_new_request_queue(label)

    assert client.call.abs(-1) == 1


def test_the_way_to_migrate_leads_there(
    broker: Broker, service: str, amqp_channel: amqp.Channel, new_client: NewClient, new_server: NewServer
) -> None:
    queue = f"rpc_{service}_request"
    classic = {"queue_type": "classic"}
    server, client = new_server(abs, connected=True, **classic), new_client(**classic)
    assert client.call.abs(-1) == 1
    client.stop()
    wait_until(lambda: broker.queues()[queue].messages == 0, message="the queue is empty")
    server.stop()
    broker.ctl("delete_queue", queue)

    new_server(abs, connected=True, **QUORUM)

    assert new_client(**QUORUM).call.abs(-2) == 2


def test_a_server_on_classic_queues_takes_from_a_label_queue_of_the_other_type(
    service: str, label: str, amqp_channel: amqp.Channel, new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server(abs, connected=True, queue_type="classic")
    queue = f"rpc_{service}_queue_{label}"
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    amqp_channel.queue_bind(queue, f"rpc_{service}_request", label)

    server.receive_from_queue(label, block=False)

    client = new_client(queue_type="classic")
    assert client.call(routing_key=label).abs(-1) == 1
    assert client.call.abs(-2) == 2


def test_the_memory_transport_takes_either_type(service: str) -> None:
    with AmqpRpcServer(service, broker_url="memory://", queue_type="quorum") as server:
        server.add_function(abs)
        with AmqpRpcClient(service, broker_url="memory://", queue_type="quorum", timeout=20) as client:
            assert client.call.abs(-1) == 1


def test_what_a_server_has_finished_when_it_stops_is_not_run_by_others(
    new_client: NewClient, new_server: NewServer
) -> None:
    # RabbitMQ 4 lost the last acknowledgements in one of four rounds.
    for _ in range(3):
        note = Noting()
        first, second = (new_server(note, concurrency=50, connected=True, **QUORUM) for _ in range(2))
        second.stop()
        client = new_client(timeout=60, **QUORUM)
        results = [client.defer(wait_publish=False).note(number) for number in range(600)]
        wait_until(lambda note=note: len(note.runs) > 100)  # type: ignore[misc]

        first.stop()
        second.serve()

        assert [result.get() for result in results] == list(range(600))
        assert len(note.runs) == 600
        second.stop()
