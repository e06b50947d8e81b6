"""Starting and stopping clients and servers over RabbitMQ: serve, stop, with, autostart."""

import gc
import weakref
from typing import Any

import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, Backlogged, BrokerUnreachable, NoResult
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def add(x: Any, y: Any) -> Any:
    return x + y


def connections_of(broker: Broker, service: str) -> list[str]:
    """Name the broker's connections of a service's clients and servers."""
    names = [str(each.client_properties.get("connection_name", "")) for each in broker.connections()]
    return [name for name in names if name.startswith(f"{service} ")]


# serve


def test_a_client_calls_right_after_it_was_made(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add)

    assert [new_client().call.add(number, 1) for number in range(30)] == list(range(1, 31))


def test_a_client_calls_right_after_it_was_made_before_any_server_was(
    new_server: NewServer, new_client: NewClient
) -> None:
    caller = gevent.spawn(new_client().call.add, 1, 2)

    new_server(add)

    assert caller.get(timeout=20) == 3


def test_without_autostart_requests_are_held_until_serve(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str
) -> None:
    client = new_client(autostart=False)
    new_server(add, connected=True)
    results = [client.defer(wait_publish=False).add(number, 0) for number in range(10)]
    assert {name.split()[1] for name in connections_of(broker, service)} == {"server"}

    client.serve()

    assert [result.get(timeout=20) for result in results] == list(range(10))


def test_a_server_runs_nothing_before_serve(broker: Broker, service: str, client: AmqpRpcClient) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.add_function(add)
    result = client.defer.add(1, 2)

    names = connections_of(broker, service)
    assert [name.split()[1] for name in names] == ["client", "client"]
    with server:
        assert result.get(timeout=20) == 3


def test_serving_with_nowait_false_blocks_until_stop(broker: Broker, service: str, client: AmqpRpcClient) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.add_function(add)
    serving = gevent.spawn(server.serve, nowait=False)
    assert client.call.add(1, 2) == 3
    assert not serving.ready()

    server.stop()

    assert serving.get(timeout=20) is None


def test_waiting_for_the_stop_does_not_serve_again(broker: Broker, service: str) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.serve()
    assert server.wait_stopped(timeout=0) is False

    server.stop()

    assert server.wait_stopped() is True
    assert not server.connected


def test_serving_twice_is_serving_once(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    server = new_server(add, connected=True)

    server.serve()
    client.serve()

    assert client.call.add(1, 2) == 3
    assert len(connections_of(broker, service)) == 4
    assert broker.queues()[f"rpc_{service}_request"].consumers == 1


def test_with_serves_and_stops(broker: Broker, service: str) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.add_function(add)

    with server, AmqpRpcClient(service, broker_url=broker.url, autostart=False) as client:
        assert client.call.add(1, 2) == 3

    wait_until(lambda: connections_of(broker, service) == [])


def test_with_stops_after_an_exception_too(broker: Broker, service: str) -> None:
    def fail() -> None:
        with AmqpRpcClient(service, broker_url=broker.url) as client:
            client.wait_connected(20)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    wait_until(lambda: connections_of(broker, service) == [])


# stop


def test_stop_closes_both_connections(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    server = new_server(add)
    client.call.add(1, 2)
    assert len(connections_of(broker, service)) == 4

    server.stop()
    client.stop()

    assert (server.connected, client.connected) == (False, False)
    wait_until(lambda: connections_of(broker, service) == [])


def test_stop_right_after_a_call_leaves_nothing_in_the_queue(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    for _ in range(10):
        server = new_server(add)
        client.call.add(1, 2)

        server.stop()

        assert broker.queues()[f"rpc_{service}_request"].messages == 0


def test_a_stopped_server_leaves_requests_in_the_queue(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    server = new_server(add)
    client.call.add(1, 2)

    server.stop()
    client.defer.add(1, 2)

    assert broker.queues()[f"rpc_{service}_request"].ready == 1


def test_what_runs_when_a_server_stops_goes_back_to_the_queue_for_another(
    new_server: NewServer, client: AmqpRpcClient, hold: Holding
) -> None:
    server = new_server(hold)
    result = client.defer.hold()
    assert hold.began.wait(20)

    server.stop()
    new_server().add_function(lambda: "done by another", name="hold")

    assert result.get(timeout=20) == "done by another"
    hold.let_go.set()


def test_a_server_that_serves_again_does_not_run_again_what_still_runs(
    new_server: NewServer, client: AmqpRpcClient, hold: Holding
) -> None:
    server = new_server(hold)
    result = client.defer.hold()
    assert hold.began.wait(20)

    server.stop()
    server.serve()
    wait_until(lambda: server.stats()["duplicates"] == 1)
    hold.let_go.set()

    assert result.get(timeout=20) == "done"
    assert len(hold.runs) == 1


def test_a_reply_that_comes_while_the_server_is_stopped_is_sent_when_it_serves_again(
    new_server: NewServer, client: AmqpRpcClient, hold: Holding, broker: Broker, service: str
) -> None:
    server = new_server(hold)
    result = client.defer.hold()
    assert hold.began.wait(20)

    server.stop()
    hold.let_go.set()
    wait_until(lambda: server.stats()["outbox"] == 1)
    server.serve()

    assert result.get(timeout=20) == "done"
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    assert len(hold.runs) == 1


def test_after_stop_and_serve_every_reply_arrives(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server(add)

    for _ in range(3):
        client.stop()
        server.stop()
        client.serve()
        server.serve()
        assert [client.call.add(number, 0) for number in range(20)] == list(range(20))


def test_a_stopped_client_holds_its_requests_until_it_serves_again(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    new_server(add)
    client.call.add(1, 2)
    client.stop()

    result = client.defer(wait_publish=False).add(3, 4)

    assert client.stats()["outbox"] == 1
    client.serve()
    assert result.get(timeout=20) == 7


def test_a_call_that_waits_when_the_client_stops_gets_its_reply_when_it_serves_again(
    new_server: NewServer, client: AmqpRpcClient, hold: Holding, broker: Broker, service: str
) -> None:
    new_server(hold)
    result = client.defer.hold()
    assert hold.began.wait(20)

    client.stop()
    hold.let_go.set()
    wait_until(lambda: broker.queues()[f"rpc_{service}_{client.uuid}_response"].ready == 1)
    client.serve()

    assert result.get(timeout=20) == "done"


def test_stop_ends_calls_that_have_no_timeout(new_client: NewClient) -> None:
    client = new_client(timeout=None)
    client.wait_connected(20)
    deferred = client.defer.add(1, 2)
    called = gevent.spawn(client.call.add, 1, 2)
    wait_until(lambda: client.stats()["pending"] == 2)

    client.stop()

    for result in (deferred, called):
        with pytest.raises(NoResult, match="'add': the client was stopped"):
            result.get(timeout=20)


def test_stop_ends_calls_without_a_timeout_that_wait_for_room_in_the_outbox(new_client: NewClient) -> None:
    client = new_client(autostart=False, timeout=None, outbox_max_count=1)
    client.defer(wait_publish=False).add(1, 2)
    waiting = [gevent.spawn(call, 3, 4) for call in (client.call.add, client.defer.add)]
    gevent.idle()

    client.stop()

    for caller in waiting:
        with pytest.raises(Backlogged, match="the client was stopped"):
            caller.get(timeout=20)
    assert client.stats()["outbox"] == 1


def test_stop_leaves_calls_with_a_timeout_in_the_queue_for_room(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add)
    client = new_client(autostart=False, outbox_max_count=1)
    client.defer(wait_publish=False).add(1, 2)
    waiting = gevent.spawn(client.call.add, 3, 4)
    gevent.idle()

    client.stop()
    client.serve()

    assert waiting.get(timeout=20) == 7


def test_stop_ends_the_creation_of_a_queue_that_has_no_timeout(new_client: NewClient, label: str) -> None:
    client = new_client(autostart=False, timeout=None)
    creating = gevent.spawn(client.create_new_request_queue, label)
    gevent.idle()

    client.stop()

    with pytest.raises(BrokerUnreachable, match=rf"creating queue .*{label}.* was not confirmed .*stopped"):
        creating.get(timeout=20)


def test_stop_leaves_calls_with_a_timeout_to_their_timeout(new_client: NewClient) -> None:
    client = new_client(timeout=1)
    result = client.defer.add(1, 2)

    client.stop()

    assert not result.ready()
    with pytest.raises(NoResult, match="within 1 s"):
        result.get(timeout=20)


@pytest.mark.parametrize("turns", [0, 1, 5], ids=["at once", "a loop later", "some loops later"])
def test_stop_right_after_the_constructor_works(broker: Broker, service: str, turns: int) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.serve()
    client = AmqpRpcClient(service, broker_url=broker.url)
    for _ in range(turns):
        gevent.sleep(0)

    client.stop()
    server.stop()

    wait_until(lambda: connections_of(broker, service) == [])


def test_stop_before_serve_does_nothing(broker: Broker, service: str) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)
    client = AmqpRpcClient(service, broker_url=broker.url, autostart=False)

    server.stop()
    client.stop()

    server.add_function(add)
    with server, client:
        assert client.call.add(1, 2) == 3


def test_stopping_twice_is_stopping_once(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server(add)
    client.call.add(1, 2)

    for _ in range(2):
        server.stop()
        client.stop()

    server.serve()
    client.serve()
    assert client.call.add(1, 2) == 3


def test_many_may_stop_at_the_same_time(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    server = new_server(add)
    client.call.add(1, 2)

    gevent.joinall(
        [gevent.spawn(each.stop) for each in (server, client) for _ in range(5)], timeout=20, raise_error=True
    )

    wait_until(lambda: connections_of(broker, service) == [])


def test_who_stops_and_serves_again_while_another_stops_leaves_no_connection_behind(
    client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    def stop_and_serve() -> None:
        client.stop()
        client.serve()

    assert client.wait_connected(20)

    gevent.joinall([gevent.spawn(stop_and_serve), gevent.spawn(client.stop)], timeout=20, raise_error=True)
    client.stop()

    wait_until(lambda: connections_of(broker, service) == [])


def test_stopped_clients_and_servers_leave_nothing_in_memory(broker: Broker, service: str, label: str) -> None:
    def work_and_stop() -> list[weakref.ref[object]]:
        with (
            AmqpRpcServer(service, broker_url=broker.url) as server,
            AmqpRpcClient(service, broker_url=broker.url) as client,
        ):
            server.add_function(add)
            assert client.call.add(1, 2) == 3
            client.create_new_request_queue(label)
            receiving = gevent.spawn(server.receive_from_queue, label, max_calls=1)
            assert client.call(routing_key=label).add(3, 4) == 7
            assert receiving.get(timeout=20) == 1
            client.remove_request_queue(label)
        return [weakref.ref(server), weakref.ref(client)]

    stopped = work_and_stop()

    def are_gone() -> bool:
        gc.collect()
        return [each() for each in stopped] == [None, None]

    wait_until(are_gone)


def test_a_function_may_stop_its_server(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    server = new_server()
    server.add_function(server.stop, name="stop")

    result = client.defer.stop()

    wait_until(lambda: not server.connected)
    wait_until(lambda: server.stats()["outbox"] == 1)
    server.serve()
    assert result.get(timeout=20) is None


def test_a_stop_that_the_callers_timeout_interrupts_goes_on_and_serving_again_works(
    new_server: NewServer, new_client: NewClient
) -> None:
    server = new_server(connected=True)
    client = new_client()
    server.add_function(lambda: 5, name="five")
    assert client.call.five() == 5

    for endpoint in (server, client):
        with gevent.Timeout(0, False):
            endpoint.stop()
        assert endpoint.wait_stopped(20)
        with gevent.Timeout(0, False):
            endpoint.stop()
        endpoint.serve()

    assert client.call(timeout=20).five() == 5
    assert server.wait_connected(20)


def test_serving_again_in_the_middle_of_an_interrupted_stop_works(new_server: NewServer, new_client: NewClient) -> None:
    server = new_server(connected=True)
    server.add_function(lambda: 5, name="five")
    client = new_client()
    assert client.call.five() == 5

    for turns in range(8):
        for endpoint in (server, client):
            stopping = gevent.spawn(endpoint.stop)
            for _ in range(turns):
                gevent.sleep(0)
            stopping.kill()
            endpoint.serve()
        assert client.call(timeout=20).five() == 5
