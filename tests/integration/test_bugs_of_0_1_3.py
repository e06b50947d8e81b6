"""The bugs of the original 0.1.3, one test or more each: we do not have them.

The docstrings bear the numbers of the list that was made by watching 0.1.3 run.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import gevent
import pytest
from gevent.event import Event

from amphora import (
    AccessRefused,
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    IgnoreRequest,
    NoResult,
    RemoteException,
    TopologyConflict,
    Unroutable,
    WrongRequest,
    WrongResult,
)
from tests.integration.conftest import NewClient, NewServer
from tests.integration.original import OriginalClient, OriginalServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy

# 0.1.3 and programs of others declare classic queues, whatever the release of the broker.
pytestmark = pytest.mark.endpoints(queue_type="classic")


def add(x: Any, y: Any) -> Any:
    return x + y


@pytest.fixture
def label(unique_name: Callable[[str], str]) -> str:
    """A label that no other test uses."""
    return unique_name("user")


@pytest.fixture
def short_consumer_timeout(broker: Broker) -> Iterator[None]:
    """Let channels that are opened from now on close when a request is unacknowledged for half a second."""
    names = ("consumer_timeout", "channel_tick_interval", "quorum_tick_interval")
    usual = [broker.eval(f"application:get_env(rabbit, {name}, 5000)") for name in names]
    for name, milliseconds in zip(names, (500, 200, 200), strict=True):
        broker.eval(f"application:set_env(rabbit, {name}, {milliseconds})")
    yield
    for name, milliseconds in zip(names, usual, strict=True):
        broker.eval(f"application:set_env(rabbit, {name}, {milliseconds})")


# Client


def test_the_first_call_of_a_new_client_is_not_lost(new_server: NewServer, new_client: NewClient) -> None:
    """Bug 1."""
    new_server(add)

    assert [new_client().call.add(number, 1) for number in range(15)] == list(range(1, 16))


def test_amqp_port_is_the_port(broker: Broker, service: str) -> None:
    """Bug 2."""
    address = {"amqp_host": "127.0.0.1", "amqp_port": broker.port}
    server = AmqpRpcServer(service, **address)  # type: ignore[arg-type]
    server.add_function(add)

    with server, AmqpRpcClient(service, timeout=20, **address) as client:  # type: ignore[arg-type]
        assert client.call.add(1, 2) == 3


@pytest.mark.parametrize(
    "body", [b"{}", b"5", b'"result"', b'{"exception": "boom"}', b'{"exception": {"type": "X"}}', b"not JSON"]
)
def test_a_mangled_reply_does_not_make_the_client_deaf(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str, body: bytes
) -> None:
    """Bug 3."""
    server = OriginalServer(amqp_channel, service)
    mangled, good = client.defer.work(), client.defer.work()

    server.answer(server.request(), body)
    server.answer(server.request(), b'{"result": 5}')

    with pytest.raises(WrongResult):
        mangled.get(timeout=20)
    assert good.get(timeout=20) == 5


@pytest.mark.parametrize("harm", ["refuse", "stall"])
@pytest.mark.parametrize("way", ["call", "defer"])
def test_the_timeout_covers_the_publish(
    broker: Broker, start_proxy: Callable[[Broker], Proxy], new_client: NewClient, harm: str, way: str
) -> None:
    """Bug 4: with no broker, and with one that is silent."""
    proxy = start_proxy(broker)
    getattr(proxy, harm)()
    client = new_client(broker_url=proxy.url, timeout=0.3)

    with gevent.Timeout(20), pytest.raises(NoResult, match="The request was not sent"):
        getattr(client, way).add(1, 2)


def test_the_callers_own_timeout_stays_its_own(client: AmqpRpcClient) -> None:
    """Bug 5."""
    with gevent.Timeout(0.2) as own, pytest.raises(gevent.Timeout) as caught:
        client.call.add(1, 2)

    assert caught.value is own
    assert client.stats()["pending"] == 0


def test_a_refused_declaration_does_not_end_publishing(
    client: AmqpRpcClient, new_server: NewServer, label: str
) -> None:
    """Bug 6: another x_expires."""
    new_server(add)
    client.create_new_request_queue(label, x_expires=60_000)

    with pytest.raises(TopologyConflict):
        client.create_new_request_queue(label, x_expires=30_000)

    assert client.call.add(1, 2) == 3


@pytest.mark.expects_errors("cannot share one name")
def test_a_service_of_the_other_kind_is_an_error_and_no_endless_wait(
    new_server: NewServer, new_client: NewClient
) -> None:
    """Bug 6: direct and fan-out under one name."""
    new_server(connected=True)

    with gevent.Timeout(20), pytest.raises(TopologyConflict):
        new_client(cls=AmqpRpcFanoutClient, timeout=None).call.add(1, 2)


def test_a_queue_is_created_again_after_quick_turns(
    client: AmqpRpcClient, new_server: NewServer, broker: Broker, label: str, service: str
) -> None:
    """Bug 7."""
    new_server(add)

    client.create_new_request_queue(label, nowait=True)
    client.remove_request_queue(label, nowait=True)
    client.create_new_request_queue(label, nowait=True)

    client.defer(routing_key=label).add(1, 2)
    assert broker.queues()[f"rpc_{service}_queue_{label}"].ready == 1
    client.remove_request_queue(label)
    assert client.call.add(1, 2) == 3


def test_stop_works_right_after_the_constructor_and_a_loop_later(new_client: NewClient) -> None:
    """Bug 8."""
    with gevent.Timeout(20):
        new_client().stop()
        client = new_client()
        gevent.sleep(0)
        client.stop()

    assert not client.connected


def test_stop_leaves_no_connection_behind(broker: Broker, new_client: NewClient, service: str) -> None:
    """Bug 8."""

    def connections() -> int:
        names = [str(each.client_properties.get("connection_name")) for each in broker.connections()]
        return sum(name.startswith(service) for name in names)

    client = new_client()
    assert client.wait_connected(20)
    assert connections() == 2

    client.stop()

    wait_until(lambda: connections() == 0)


def test_after_stop_and_serve_no_reply_goes_astray(new_server: NewServer, client: AmqpRpcClient) -> None:
    """Bug 8."""
    new_server(add)
    client.call.add(1, 2)

    client.stop()
    client.serve()

    assert [client.call.add(number, 0) for number in range(50)] == list(range(50))
    assert client.stats()["late_replies"] == 0


def test_a_client_that_is_gone_leaves_no_queue_for_ever(new_client: NewClient, broker: Broker, service: str) -> None:
    """Bug 8."""
    client = new_client(response_queue_expires=0.1)
    assert client.wait_connected(20)

    client.stop()

    wait_until(lambda: f"rpc_{service}_{client.uuid}_response" not in broker.queues())


def test_an_error_inside_a_tuning_function_reaches_the_caller(
    client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    """Bug 9."""
    client.wait_connected(20)

    @client.tune_function("show")
    def by_user(args: Any, kwargs: Any) -> Any:
        return kwargs["user_id"]

    with pytest.raises(KeyError, match="user_id"):
        client.call.show("Hello!")

    client.stop()
    assert broker.queues()[f"rpc_{service}_request"].messages == 0


def test_a_tuning_function_need_not_give_a_queue(
    client: AmqpRpcClient, broker: Broker, label: str, service: str
) -> None:
    """Bug 9."""
    client.create_new_request_queue(label)
    client.tune_function("show")(lambda *_: {"routing_key": label})

    client.defer.show("Hello!")

    assert broker.queues()[f"rpc_{service}_queue_{label}"].ready == 1


def test_a_routing_key_is_text_of_any_alphabet(client: AmqpRpcClient, broker: Broker, label: str, service: str) -> None:
    """Bug 9."""
    client.create_new_request_queue(f"{label} 世界")

    client.defer(routing_key=f"{label} 世界").show("Hello!")

    assert broker.queues()[f"rpc_{service}_queue_{label} 世界"].ready == 1


def test_a_remote_exception_prints_text_of_any_alphabet(new_server: NewServer, client: AmqpRpcClient) -> None:
    """Bug 9."""

    def fail() -> None:
        raise ValueError("grüße, 世界")

    new_server(fail)

    with pytest.raises(RemoteException, match=r"^ValueError: grüße, 世界$"):
        client.call.fail()


def test_an_unroutable_request_is_told_at_once(client: AmqpRpcClient) -> None:
    """Bug 9."""
    with gevent.Timeout(20), pytest.raises(Unroutable):
        client.call(timeout=None, routing_key="nobody").add(1, 2)


@pytest.mark.expects_errors("refuses access")
def test_a_wrong_password_is_told(broker: Broker, new_client: NewClient) -> None:
    """Bug 9."""
    with gevent.Timeout(20), pytest.raises(AccessRefused):
        new_client(broker_url=broker.url_for(password="wrong"), timeout=None).call.add(1, 2)


# Server


def test_a_deleted_response_exchange_costs_no_reply(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    """Bug 10."""
    new_server(add)
    client.call.add(1, 2)

    broker.delete_exchange(f"rpc_{service}_response")

    assert [client.call.add(number, 0) for number in range(5)] == list(range(5))


def test_a_gevent_timeout_in_a_function_is_answered_and_acknowledged(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    """Bug 11."""

    def hurry() -> None:
        with gevent.Timeout(0.01):
            Event().wait()

    new_server(hurry)

    with pytest.raises(RemoteException) as caught:
        client.call.hurry()

    assert caught.value.error_type == "Timeout"
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)


@pytest.mark.parametrize("value", [b"\xff", {"key": b"\xff"}, object()], ids=["bytes", "bytes inside", "object"])
@pytest.mark.parametrize(("how", "error_type"), [("returned", "TypeError"), ("raised", "ValueError")])
def test_values_that_cannot_be_encoded_are_answered_and_acknowledged(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str, value: Any, how: str, error_type: str
) -> None:
    """Bug 11."""

    def give() -> Any:
        if how == "raised":
            raise ValueError(value)
        return value

    new_server(give)

    with pytest.raises(RemoteException) as caught:
        client.call.give()

    assert caught.value.error_type == error_type
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_request_in_another_encoding_is_answered_and_acknowledged(
    new_server: NewServer, amqp_channel: amqp.Channel, broker: Broker, service: str, encoding: str
) -> None:
    """Bug 11."""
    new_server(add)
    original = OriginalClient(amqp_channel, service)

    original.send('{"func": "add", "args": ["grüße", ""], "kwargs": {}}'.encode(encoding))

    assert b"WrongRequest" in original.reply().body
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)


def test_a_deleted_request_queue_does_not_make_the_server_deaf(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    """Bug 12."""
    new_server(add)
    client.call.add(1, 2)

    broker.delete_queue(f"rpc_{service}_request")

    assert client.call.add(3, 4) == 7


def test_a_request_that_runs_for_longer_than_the_brokers_consumer_timeout_does_not_make_the_server_deaf(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str, short_consumer_timeout: None
) -> None:
    """Bug 12."""
    # Since RabbitMQ 4.3, classic queues have no consumer timeout.
    options: dict[str, Any] = {"queue_type": "quorum"} if broker.release >= (4, 3) else {}
    client = new_client(**options)
    runs, let_go = [], Event()

    def hold() -> str:
        runs.append("hold")
        assert let_go.wait(60)
        return "done"

    server = new_server(hold, add, **options)
    held = client.defer(timeout=60).hold()

    # The broker takes the request back, and this server knows it when it comes again.
    wait_until(lambda: server.stats()["duplicates"] >= 1, timeout=30)
    assert client.call.add(1, 2) == 3
    let_go.set()
    assert held.get(timeout=20) == "done"
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    assert runs == ["hold"]


def test_a_request_without_message_id_does_not_make_a_server_deaf_that_prepares_to_stop(
    new_server: NewServer, client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str
) -> None:
    """Bug 12."""
    server = new_server(add)
    original = OriginalClient(amqp_channel, service)
    client.call.add(1, 2)

    for turn in range(10):
        original.send(b'{"func": "add", "args": [1, 2], "kwargs": {}}', message_id=None)
        if turn == 5:
            server.prepare_stop()
    server.serve()

    assert client.call.add(3, 4) == 7


def test_the_first_server_does_not_take_all_requests_at_once(new_server: NewServer, client: AmqpRpcClient) -> None:
    """Bug 13."""
    let_go, runs = Event(), Counter[str]()

    def first(number: int) -> int:
        runs["first"] += 1
        assert let_go.wait(20)
        return number

    def second(number: int) -> int:
        runs["second"] += 1
        return number

    new_server(connected=True, concurrency=10).add_function(first, name="work")
    results = [client.defer(wait_publish=False).work(number) for number in range(200)]
    wait_until(lambda: runs["first"] == 10)

    new_server().add_function(second, name="work")

    wait_until(lambda: runs["second"] == 190)
    let_go.set()
    assert [result.get(timeout=20) for result in results] == list(range(200))


def test_stop_right_after_a_call_loses_no_acknowledgement(new_server: NewServer, client: AmqpRpcClient) -> None:
    """Bug 14."""
    runs: list[int] = []
    for number in range(10):
        server = new_server(runs.append)
        client.call.append(number)
        server.stop()

    new_server(runs.append)
    client.call.append(10)

    assert runs == list(range(11))


# Fan-out


def test_a_fanout_request_is_a_broadcast(new_server: NewServer, new_client: NewClient) -> None:
    """Bug 15."""
    runs: list[list[int]] = [[], []]
    for each in runs:
        new_server(each.append, cls=AmqpRpcFanoutServer, connected=True)
    client = new_client(cls=AmqpRpcFanoutClient)

    for number in range(10):
        client.call.append(number)

    wait_until(lambda: runs == [list(range(10))] * 2)


def test_an_ignored_fanout_request_is_acknowledged_and_not_delivered_again(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str
) -> None:
    """Bug 16."""
    runs: list[int] = []

    def ignore(number: int) -> None:
        runs.append(number)
        raise IgnoreRequest

    server = new_server(ignore, cls=AmqpRpcFanoutServer, connected=True)
    new_client(cls=AmqpRpcFanoutClient).defer.ignore(1)
    wait_until(lambda: broker.queues()[f"rpc_{service}_{server.uuid}_request"].messages == 0)
    wait_until(lambda: runs == [1])

    server.stop()
    server.serve()
    new_client(cls=AmqpRpcFanoutClient).defer.ignore(2)

    wait_until(lambda: runs == [1, 2])


# receive_from_queue


def test_block_waits_until_the_calls_are_done(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    """Bug 17."""
    client.create_new_request_queue(label)
    done: list[int] = []

    def work(number: int) -> None:
        gevent.sleep(0.05)
        done.append(number)

    for number in range(2):
        client.defer(routing_key=label).work(number)

    new_server(work).receive_from_queue(label, max_calls=2, timeout=20, block=True)

    assert sorted(done) == [0, 1]


def test_without_block_it_does_not_hang_while_a_call_runs(
    new_server: NewServer, client: AmqpRpcClient, label: str
) -> None:
    """Bug 17."""
    client.create_new_request_queue(label)
    began, let_go = Event(), Event()

    def work() -> None:
        began.set()
        assert let_go.wait(20)

    server = new_server(work)
    result = client.defer(routing_key=label).work()

    with gevent.Timeout(20):
        server.receive_from_queue(label, max_calls=1, block=False)
        assert began.wait(20)
        server.receive_from_queue(label, max_calls=1, block=False)

    let_go.set()
    assert result.get(timeout=20) is None


def test_a_timeout_is_the_documented_exception(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    """Bug 18."""
    client.create_new_request_queue(label)

    with pytest.raises(gevent.Timeout):
        new_server().receive_from_queue(label, max_calls=1, timeout=0.1)


def test_late_deliveries_make_no_call_run_twice(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    """Bug 19."""
    client.create_new_request_queue(label)
    runs: Counter[int] = Counter()

    def work(number: int) -> int:
        runs[number] += 1
        gevent.sleep(0.001)
        return number

    server = new_server(work)
    results = [client.defer(wait_publish=False, routing_key=label).work(number) for number in range(1000)]
    handled = 0
    while handled < 1000:
        # Ended by its time, in the middle of a flood.
        handled += server.receive_from_queue(label, timeout=0.03) or 0

    assert [result.get(timeout=20) for result in results] == list(range(1000))
    assert runs == Counter(range(1000))


def test_it_is_resumed_after_a_reconnect(
    new_server: NewServer,
    client: AmqpRpcClient,
    broker: Broker,
    start_proxy: Callable[[Broker], Proxy],
    label: str,
) -> None:
    """Bug 20."""
    proxy = start_proxy(broker)
    client.create_new_request_queue(label)
    server = new_server(add, broker_url=proxy.url)
    server.receive_from_queue(label, block=False)
    assert client.call(routing_key=label).add(1, 2) == 3

    for number in range(3):
        proxy.cut()

        assert client.call(routing_key=label).add(number, 0) == number


def test_a_wrong_request_does_not_end_a_receive(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    """Bugs 11 and 19 together: what cannot be run is answered, counted and acknowledged."""
    client.create_new_request_queue(label)
    results = [client.defer(routing_key=label).nothing() for _ in range(3)]

    assert new_server().receive_from_queue(label, max_calls=3, timeout=20) == 3

    for result in results:
        with pytest.raises(WrongRequest):
            result.get(timeout=20)
