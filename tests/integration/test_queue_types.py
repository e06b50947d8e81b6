"""Without ``queue_type``: a new service gets the types that suit the broker, and one that exists stays as it is."""

import logging
from collections.abc import Callable
from typing import Any

import amqp
import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer, IgnoreRequest
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until

CLASSIC: dict[str, Any] = {"queue_type": "classic"}


@pytest.fixture
def usual(broker: Broker) -> str:
    """Type of a new queue that lasts."""
    return "quorum" if broker.release >= (4, 0) else "classic"


def types_of(broker: Broker, service: str) -> dict[str, str]:
    """Return the types of a service's queues; the names without those of single clients and servers."""
    found = {}
    for name, queue in broker.queues().items():
        if name.startswith(f"rpc_{service}_"):
            kind = name.removeprefix(f"rpc_{service}_").split("_")
            found[kind[-1] if len(kind[0]) == 36 else "_".join(kind)] = queue.arguments.get("x-queue-type", "none")
    return found


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_new_service_has_the_types_that_suit_the_broker(
    broker: Broker, service: str, usual: str, new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server(abs, connected=True, delivery_limit=3)
    client = new_client()
    client.create_new_request_queue("lasting")
    client.create_new_request_queue("session", x_expires=60_000)
    for label in ("lasting", "session"):
        server.receive_from_queue(label, block=False)

    assert [client.call(routing_key=key).abs(-1) for key in ("", "lasting", "session")] == [1, 1, 1]
    wait_until(lambda: "control" in types_of(broker, service))
    assert types_of(broker, service) == {
        "request": usual,
        "queue_lasting": usual,
        "dead": usual,
        "queue_session": "classic",
        "response": "classic",
        "control": "classic",
    }
    assert server.queue_type == client.queue_type == usual
    assert server.adapted_queues == client.adapted_queues == []


@pytest.mark.parametrize("existing", ["none", "classic", "quorum"])
def test_a_service_that_exists_stays_as_it_is(
    broker: Broker,
    service: str,
    existing: str,
    amqp_channel: amqp.Channel,
    new_client: NewClient,
    new_server: NewServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if existing == "none":
        # As 0.1.3 and 1.0.0a1 declare it.
        amqp_channel.queue_declare(f"rpc_{service}_request", durable=True, auto_delete=False)
    else:
        new_server(connected=True, queue_type=existing, introspection=False).stop()
    before = broker.queues()[f"rpc_{service}_request"]

    server, client = new_server(abs, connected=True, delivery_limit=3), new_client()
    client.create_new_request_queue("new")
    server.receive_from_queue("new", block=False)

    assert [client.call(routing_key=key).abs(-1) for key in ("", "new")] == [1, 1]
    assert broker.queues()[f"rpc_{service}_request"].arguments == before.arguments
    types = types_of(broker, service)
    expected = "quorum" if existing == "quorum" else "classic"
    assert (types["queue_new"], types["dead"]) == (expected, expected)
    assert server.queue_type == client.queue_type == expected
    assert server.stats()["reconnects"] == client.stats()["reconnects"] == 0
    assert warnings_of(caplog) == []


def test_programs_that_name_the_type_and_others_work_side_by_side(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, note: Noting
) -> None:
    old_server = new_server(note, connected=True, **CLASSIC)
    new_server(note, connected=True)
    old_client, client = new_client(**CLASSIC), new_client()
    for each in (client, old_client):
        each.create_new_request_queue("both")
    old_server.receive_from_queue("both", block=False)

    for number in range(20):
        assert client.call.note(number) == old_client.call.note(number)
        assert client.call(routing_key="both").note(number) == old_client.call(routing_key="both").note(number)

    assert set(types_of(broker, service).values()) == {"classic"}


@pytest.mark.parametrize("limit", [2, 20, 5000])
def test_servers_may_have_a_delivery_limit_that_clients_do_not_know(
    service: str, limit: int, new_client: NewClient, new_server: NewServer
) -> None:
    client = new_client()
    assert client.wait_connected(20)
    new_server(abs, connected=True, delivery_limit=limit)
    new_server(abs, connected=True)

    assert client.call.abs(-1) == 1


def test_a_delivery_limit_gives_requests_up(
    broker: Broker, service: str, usual: str, new_client: NewClient, new_server: NewServer
) -> None:
    def ignore() -> None:
        raise IgnoreRequest

    new_server(ignore, connected=True, delivery_limit=2, ignore_delay=0.01)

    result = new_client().defer.ignore()

    assert "given up after 2 tries" in str(gevent.spawn(_error_of, result).get())
    assert types_of(broker, service)["dead"] == usual


def _error_of(result: Any) -> BaseException:
    result.wait(20)
    error: BaseException = result.exception
    return error


@pytest.mark.parametrize("first", ["quorum", "auto"])
def test_quorum_queues_that_are_asked_for_and_those_that_are_not_are_the_same_to_both(
    broker: Broker, service: str, first: str, new_client: NewClient, new_server: NewServer
) -> None:
    if first == "auto" and broker.release < (4, 0):
        pytest.skip("such queues are classic on this release")
    new_server(abs, connected=True, queue_type=first)
    clients = [new_client(queue_type=each) for each in ("auto", "quorum")]

    assert [client.call.abs(-1) for client in clients] == [1, 1]
    assert types_of(broker, service)["request"] == "quorum"


@pytest.mark.parametrize("existing", ["classic", None])
def test_a_queue_that_is_deleted_comes_back_as_it_was(
    broker: Broker, service: str, usual: str, existing: str | None, new_client: NewClient, new_server: NewServer
) -> None:
    if existing is not None:
        new_server(connected=True, queue_type=existing).stop()
    new_server(abs, connected=True)
    client = new_client()
    assert client.call.abs(-1) == 1

    for _ in range(3):
        broker.delete_queue(f"rpc_{service}_request")
        assert client.call.abs(-2) == 2

    assert types_of(broker, service)["request"] == (existing or usual)


def test_after_all_programs_were_stopped_a_deleted_queue_is_a_new_one(
    broker: Broker, service: str, usual: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(connected=True, **CLASSIC).stop()
    broker.delete_queue(f"rpc_{service}_request")

    new_server(abs, connected=True)

    assert new_client().call.abs(-1) == 1
    assert types_of(broker, service)["request"] == usual


def test_many_that_start_at_the_same_time_agree(
    broker: Broker, service: str, usual: str, new_client: NewClient, new_server: NewServer
) -> None:
    clients: list[AmqpRpcClient] = [new_client(autostart=False) for _ in range(8)]
    servers: list[AmqpRpcServer] = [new_server(abs, delivery_limit=limit) for limit in (None, 2, 20, 5000)]

    gevent.joinall([gevent.spawn(client.serve) for client in clients], raise_error=True)

    assert [client.call.abs(-1) for client in clients] == [1] * 8
    assert all(each.wait_connected(20) for each in servers)
    assert {each.queue_type for each in (*clients, *servers)} == {usual}
    assert types_of(broker, service)["request"] == usual


def test_the_queues_of_a_fanout_service_are_classic(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server(abs, cls=AmqpRpcFanoutServer, connected=True, delivery_limit=3)
    client = new_client(cls=AmqpRpcFanoutClient)

    assert client.call.abs(-1) == 1
    assert set(types_of(broker, service).values()) == {"classic"}
    assert server.queue_type is client.queue_type is None


def test_a_client_that_does_not_declare_uses_what_is_there(
    service: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(abs, connected=True)
    client = new_client(declare=False)

    assert client.call.abs(-1) == 1
    assert client.queue_type is None


def test_a_virtual_host_that_makes_quorum_queues_does_not_decide(
    broker: Broker, service: str, usual: str, unique_name: Callable[[str], str]
) -> None:
    vhost = unique_name("quorum")
    broker.ctl("add_vhost", vhost, "--default-queue-type", "quorum")
    broker.ctl("set_permissions", "--vhost", vhost, "guest", ".*", ".*", ".*")
    url = broker.url_for(vhost=vhost)

    with AmqpRpcServer(service, broker_url=url) as server, AmqpRpcClient(service, broker_url=url) as client:
        server.add_function(abs)
        assert client.call.abs(-1) == 1
        arguments = broker.queues(vhost)[f"rpc_{service}_request"].arguments
    assert arguments["x-queue-type"] == usual
