"""`AmqpRpcFanoutServer` and `AmqpRpcFanoutClient` over RabbitMQ: every server runs every request."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from gevent.event import Event

from amphora import AmqpRpcFanoutClient, AmqpRpcFanoutServer, IgnoreRequest, NoResult, RemoteException, Unroutable
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy


@pytest.fixture
def client(new_client: NewClient) -> AmqpRpcFanoutClient:
    """A fan-out client of the test's own service."""
    client = new_client(cls=AmqpRpcFanoutClient)
    assert isinstance(client, AmqpRpcFanoutClient)
    return client


@pytest.fixture
def fanout_server(new_server: NewServer) -> Callable[..., AmqpRpcFanoutServer]:
    """Make a fan-out server of the test's own service that takes requests already."""
    make: Any = partial(new_server, cls=AmqpRpcFanoutServer, connected=True)
    return make  # type: ignore[no-any-return]


def queue_of(server: AmqpRpcFanoutServer, service: str) -> str:
    return f"rpc_{service}_{server.uuid}_request"


def test_every_server_runs_every_request(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    runs: list[list[int]] = [[], [], []]
    for each in runs:
        fanout_server(each.append)

    for number in range(50):
        client.defer.append(number)

    wait_until(lambda: runs == [list(range(50))] * 3)


def test_the_first_reply_is_the_result(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    slow_may_go_on = Event()

    def slow() -> str:
        assert slow_may_go_on.wait(20)
        return "slow"

    fanout_server().add_function(slow, name="who")
    fanout_server().add_function(lambda: "quick", name="who")

    assert client.call.who() == "quick"
    slow_may_go_on.set()
    wait_until(lambda: client.stats()["late_replies"] == 1)


def test_the_other_replies_are_not_taken_for_those_to_later_calls(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    for _ in range(3):
        fanout_server().add_function(lambda value: value, name="echo")

    assert [client.call.echo(number) for number in range(50)] == list(range(50))
    wait_until(lambda: client.stats()["late_replies"] == 100)


def test_an_exception_may_be_the_first_reply(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    def fail() -> None:
        raise ValueError("no")

    for _ in range(2):
        fanout_server(fail)

    with pytest.raises(RemoteException, match="ValueError: no"):
        client.call.fail()


def test_a_server_that_ignores_a_request_replies_nothing(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    def not_me() -> None:
        raise IgnoreRequest

    deaf = fanout_server()
    deaf.add_function(not_me, name="who")
    fanout_server().add_function(lambda: "me", name="who")

    assert [client.call.who() for _ in range(5)] == ["me"] * 5

    wait_until(lambda: deaf.stats()["ignored"] == 5)
    assert client.stats()["late_replies"] == 0


def test_an_ignored_request_is_acknowledged_and_not_run_again(
    client: AmqpRpcFanoutClient,
    fanout_server: Callable[..., AmqpRpcFanoutServer],
    broker: Broker,
    service: str,
) -> None:
    def not_me() -> None:
        raise IgnoreRequest

    server = fanout_server(not_me)
    assert client.wait_connected(20)

    with pytest.raises(NoResult, match="The broker confirmed the request, but no reply arrived"):
        client.call(timeout=2).not_me()

    wait_until(lambda: server.stats()["ignored"] == 1)
    wait_until(lambda: broker.queues()[queue_of(server, service)].messages == 0)


def test_a_server_that_is_cut_off_for_a_moment_misses_nothing(
    client: AmqpRpcFanoutClient,
    fanout_server: Callable[..., AmqpRpcFanoutServer],
    broker: Broker,
    start_proxy: Callable[[Broker], Proxy],
) -> None:
    proxy = start_proxy(broker)
    runs: list[list[int]] = [[], []]
    fanout_server(runs[0].append)
    cut_off = fanout_server(runs[1].append, broker_url=proxy.url)
    client.call.append(0)

    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not cut_off.connected)
    for number in range(1, 10):
        client.call.append(number)
    proxy.accept()

    wait_until(lambda: runs == [list(range(10))] * 2)


def test_a_server_that_stops_and_serves_again_in_time_misses_nothing(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    runs: list[int] = []
    server = fanout_server(runs.append)
    client.call.append(0)

    server.stop()
    client.defer.append(1)
    server.serve()

    wait_until(lambda: runs == [0, 1])


def test_a_server_that_comes_back_under_its_uuid_finds_its_queue(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    fanout_server(uuid="api-1").stop()
    client.defer.append(1)
    runs: list[int] = []

    fanout_server(runs.append, uuid="api-1")

    wait_until(lambda: runs == [1])


def test_the_queue_of_a_server_that_is_gone_goes_after_its_expiry(
    fanout_server: Callable[..., AmqpRpcFanoutServer], broker: Broker, service: str
) -> None:
    server = fanout_server(fanout_queue_expires=0.2)
    assert queue_of(server, service) in broker.queues()

    server.stop()

    wait_until(lambda: queue_of(server, service) not in broker.queues())


def test_a_server_serves_again_after_its_queue_has_expired(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer], broker: Broker, service: str
) -> None:
    runs: list[int] = []
    server = fanout_server(runs.append, fanout_queue_expires=0.2)
    server.stop()
    wait_until(lambda: queue_of(server, service) not in broker.queues())

    server.serve()
    server.wait_connected(20)

    client.call.append(1)
    assert runs == [1]


def test_a_call_without_any_server_is_unroutable(client: AmqpRpcFanoutClient) -> None:
    with pytest.raises(Unroutable):
        client.call.anything()


def test_a_call_right_after_the_client_was_made_reaches_every_server(
    new_client: NewClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    runs: list[list[int]] = [[], []]
    for each in runs:
        fanout_server(each.append)

    for number in range(10):
        new_client(cls=AmqpRpcFanoutClient).call.append(number)

    wait_until(lambda: runs == [list(range(10))] * 2)


def test_prepare_stop_lets_a_running_request_finish(
    client: AmqpRpcFanoutClient, fanout_server: Callable[..., AmqpRpcFanoutServer]
) -> None:
    began, let_go = Event(), Event()

    def wait() -> str:
        began.set()
        assert let_go.wait(20)
        return "done"

    server = fanout_server(wait)
    result = client.defer.wait()
    assert began.wait(20)

    assert not server.prepare_stop(timeout=0)
    let_go.set()
    assert server.prepare_stop(timeout=20)
    server.stop()

    assert result.get(timeout=20) == "done"
