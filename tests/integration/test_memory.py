"""The same calls on `memory://`: server and client in one process, no broker."""

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import gevent
import kombu
import pytest
from gevent.event import Event

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    IgnoreRequest,
    NoResult,
    RemoteException,
    RpcJsonSerializer,
    RpcMsgpackSerializer,
    TopologyConflict,
    Unroutable,
    WrongRequest,
    WrongResult,
)
from amphora.driver import memory
from amphora.driver.incoming_message import IncomingMessage
from amphora.driver.unencodable import Unencodable
from tests.support.endpoints import NewClient, NewServer, clients_of, servers_of
from tests.support.eventually import wait_until

UniqueName = Callable[[str], str]


@pytest.fixture
def new_client(service: str) -> Iterator[NewClient]:
    with clients_of(service, broker_url="memory://", timeout=20) as make:
        yield make


@pytest.fixture
def new_server(service: str) -> Iterator[NewServer]:
    with servers_of(service, broker_url="memory://") as make:
        yield partial(make, connected=True)


@pytest.fixture
def client(new_client: NewClient) -> AmqpRpcClient:
    return new_client()


@pytest.fixture
def label(unique_name: UniqueName) -> str:
    """A label that no other test uses: two services with one label share its queue."""
    return unique_name("Alice")


def add(x: Any, y: Any) -> Any:
    return x + y


def where_am_i() -> str:
    return "here"


def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a lambda a name, under which it can be added before its server serves."""
    function.__name__ = name
    return function


class Room:
    """Functions that wait inside until they are let out."""

    def __init__(self) -> None:
        self.door = Event()
        self.entered: list[Any] = []
        self.left: list[Any] = []
        self.most_inside = 0

    @property
    def inside(self) -> int:
        return len(self.entered) - len(self.left)

    def enter(self, who: Any) -> Any:
        self.entered.append(who)
        self.most_inside = max(self.most_inside, self.inside)
        self.door.wait()
        self.left.append(who)
        return who


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.door.set()


# Calls.


def test_a_call_returns_the_result(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    assert client.call.add(1, y=2) == 3


def test_a_call_right_after_construction_is_held_until_a_server_comes(
    new_server: NewServer, new_client: NewClient
) -> None:
    result = new_client().defer.add(1, 2)

    new_server(add)

    assert result.get(timeout=20) == 3


def test_deferred_calls_run_side_by_side(new_server: NewServer, client: AmqpRpcClient, room: Room) -> None:
    new_server(room.enter)

    results = [client.defer.enter(number) for number in range(10)]
    wait_until(lambda: room.inside == 10)
    room.door.set()

    assert [result.get(timeout=20) for result in results] == list(range(10))


def test_requests_of_one_client_begin_in_the_order_of_its_calls(new_server: NewServer, client: AmqpRpcClient) -> None:
    numbers: list[int] = []
    new_server(numbers.append, concurrency=1)

    results = [client.defer.append(number) for number in range(100)]
    gevent.wait(results, timeout=20)

    assert numbers == list(range(100))


def test_no_more_requests_run_at_once_than_the_concurrency_allows(
    new_server: NewServer, client: AmqpRpcClient, room: Room
) -> None:
    new_server(room.enter, concurrency=3)

    results = [client.defer.enter(number) for number in range(10)]
    wait_until(lambda: room.inside == 3)
    room.door.set()
    gevent.wait(results, timeout=20)

    assert (len(room.left), room.most_inside) == (10, 3)


def test_every_client_gets_its_own_replies(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add)
    clients = [new_client() for _ in range(3)]

    results = [(number, client.defer.add(number, 0)) for number in range(30) for client in clients]

    assert [result.get(timeout=20) for _, result in results] == [number for number, _ in results]


def test_services_do_not_meet(new_server: NewServer, new_client: NewClient, unique_name: UniqueName) -> None:
    names = [unique_name("service") for _ in range(2)]
    for name in names:
        new_server(named("who", lambda name=name: name), service_name=name)

    assert [new_client(service_name=name).call.who() for name in names] == names


def test_a_remote_exception_arrives_with_type_and_arguments(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    with pytest.raises(RemoteException, match=r"^TypeError: unsupported operand type\(s\) for \+: 'int' and 'str'"):
        client.call.add(1, "x")


def test_an_unknown_function_is_a_wrong_request(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server()

    with pytest.raises(WrongRequest, match="No function nope defined"):
        client.call.nope()


def test_without_a_server_a_call_ends_with_its_timeout(client: AmqpRpcClient) -> None:
    assert client.wait_connected(20)

    result = client.defer(timeout=0.5).add(1, 2)

    with pytest.raises(NoResult, match=r"within 0.5 s\. The broker confirmed the request, but no reply arrived"):
        result.get(timeout=20)


def test_arguments_that_cannot_be_encoded_are_a_type_error_before_anything_is_sent(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    ran: list[Any] = []
    new_server(ran.append)

    with pytest.raises(TypeError, match="arguments of 'append' cannot be encoded as application/json: cannot encode"):
        client.call.append(object())
    assert client.call.append(1) is None
    assert ran == [1]


@pytest.mark.parametrize("key", ["\ud800", "x" * 256])
def test_a_routing_key_that_amqp_cannot_carry_is_refused_before_anything_is_sent(
    new_server: NewServer, client: AmqpRpcClient, key: str
) -> None:
    new_server(add)

    with pytest.raises(ValueError, match="routing_key is"):
        client.call(routing_key=key).add(1, 2)
    assert client.call.add(1, 2) == 3


@pytest.mark.parametrize("make", [object, lambda: 10**5000, lambda: {(): 0}], ids=["object", "huge", "key"])
def test_a_result_that_cannot_be_encoded_is_a_remote_exception(
    new_server: NewServer, client: AmqpRpcClient, make: Callable[[], Any]
) -> None:
    new_server(named("make", lambda: make()))

    with pytest.raises(RemoteException, match=r"^TypeError: the result cannot be encoded as application/json: "):
        client.call.make()


@pytest.mark.parametrize("error", [gevent.Timeout(1), SystemExit(1), gevent.GreenletExit("x"), StopIteration()])
def test_whatever_a_function_raises_the_caller_is_told(
    new_server: NewServer, client: AmqpRpcClient, error: BaseException
) -> None:
    def boom() -> None:
        raise error

    new_server(boom)

    with pytest.raises(RemoteException, match=f"^{type(error).__name__}"):
        client.call.boom()


def test_tracebacks_travel_where_the_server_is_told_to_send_them(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add, send_tracebacks=True)

    with pytest.raises(RemoteException) as caught:
        client.call.add(1, "x")

    assert caught.value.remote_traceback is not None
    assert "in add" in caught.value.remote_traceback


def test_odd_values_travel_by_json(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(named("echo", lambda value: value))

    assert client.call.echo([10**300, "\ud800", math.inf, None]) == [10**300, "\ud800", math.inf, None]
    assert math.isnan(client.call.echo(math.nan))


# Serializers.


def test_bytes_travel_by_messagepack(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add, serializer=RpcMsgpackSerializer)

    assert new_client(serializer=RpcMsgpackSerializer).call.add(b"\x00", b"\xff") == b"\x00\xff"


def test_a_second_accepted_serializer_is_answered_in_kind(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add, serializer=RpcJsonSerializer, accept=[RpcMsgpackSerializer])

    assert new_client(serializer=RpcMsgpackSerializer).call.add(b"\x00", b"\xff") == b"\x00\xff"
    assert new_client().call.add(1, 2) == 3


def test_a_content_type_that_is_not_accepted_is_a_wrong_request(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add)
    client = new_client(serializer=RpcMsgpackSerializer, accept=[RpcJsonSerializer])

    with pytest.raises(WrongRequest, match="content type 'application/msgpack' is not accepted here"):
        client.call.add(1, 2)


def test_a_reply_that_the_client_cannot_read_is_a_wrong_result(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add)

    with pytest.raises(WrongResult, match="content type 'application/json' is not accepted here"):
        new_client(serializer=RpcMsgpackSerializer).call.add(1, 2)


def test_a_users_own_serializer_carries_calls(new_server: NewServer, new_client: NewClient) -> None:
    class Reversed(RpcJsonSerializer):
        content_type = "text/x-reversed"

        def dumps(self, value: Any) -> bytes:
            return super().dumps(value)[::-1]

        def loads(self, body: bytes) -> Any:
            return super().loads(body[::-1])

    new_server(add, serializer=Reversed)

    assert new_client(serializer=Reversed()).call.add(1, 2) == 3


# Label queues.


def test_a_request_to_a_labels_queue_runs_where_it_is_received(
    new_server: NewServer, client: AmqpRpcClient, label: str
) -> None:
    server = new_server(add)
    client.create_new_request_queue(label)

    result = client.defer(routing_key=label).add(1, 2)

    assert not result.ready()
    assert server.receive_from_queue(label, max_calls=1, timeout=20) == 1
    assert result.get(timeout=20) == 3


def test_a_call_may_follow_the_creation_of_its_queue_at_once(
    new_server: NewServer, new_client: NewClient, label: str
) -> None:
    server = new_server(add)
    client = new_client()

    client.create_new_request_queue(label, nowait=True)
    result = client.defer(routing_key=label).add(1, 2)

    assert server.receive_from_queue(label, max_calls=1, timeout=20) == 1
    assert result.get(timeout=20) == 3


def test_no_more_than_max_calls_are_run(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    ran: list[int] = []
    server = new_server(ran.append)
    client.create_new_request_queue(label)
    results = [client.defer(routing_key=label).append(number) for number in range(5)]

    assert server.receive_from_queue(label, max_calls=3, timeout=20) == 3
    assert ran == [0, 1, 2]
    assert server.receive_from_queue(label, max_calls=2, timeout=20) == 2
    gevent.wait(results, timeout=20)
    assert ran == [0, 1, 2, 3, 4]


def test_time_that_passes_before_max_calls_is_a_timeout(
    new_server: NewServer, client: AmqpRpcClient, label: str
) -> None:
    server = new_server(add)
    client.create_new_request_queue(label)

    with pytest.raises(gevent.Timeout):
        server.receive_from_queue(label, max_calls=1, timeout=0.05)


def test_after_a_timeout_nothing_is_received_any_more(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    server = new_server(add)
    client.create_new_request_queue(label)
    with pytest.raises(gevent.Timeout):
        server.receive_from_queue(label, max_calls=1, timeout=0.05)

    with pytest.raises(NoResult):
        client.call(routing_key=label, timeout=0.1).add(1, 2)


def test_without_max_calls_the_time_ends_the_subscription_and_the_calls_are_counted(
    new_server: NewServer, client: AmqpRpcClient, label: str
) -> None:
    server = new_server(add)
    client.create_new_request_queue(label)
    results = [client.defer(routing_key=label).add(number, 0) for number in range(3)]

    assert server.receive_from_queue(label, timeout=1) == 3
    assert [result.get(timeout=20) for result in results] == [0, 1, 2]


def test_a_queue_that_does_not_exist_is_waited_for(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    server = new_server(add)
    receiving = gevent.spawn(server.receive_from_queue, label, max_calls=1, timeout=20)
    gevent.sleep(0)

    client.create_new_request_queue(label)

    assert client.call(routing_key=label).add(1, 2) == 3
    assert receiving.get(timeout=20) == 1


def test_waiting_for_a_queue_ends_with_the_timeout(new_server: NewServer, label: str) -> None:
    server = new_server(add)

    with pytest.raises(gevent.Timeout):
        server.receive_from_queue(label, max_calls=1, timeout=0.1)


def test_a_queue_that_does_not_exist_is_a_value_error_if_it_shall_not_be_waited_for(
    new_server: NewServer, label: str, service: str
) -> None:
    server = new_server(add)

    with pytest.raises(ValueError, match=f"queue 'rpc_{service}_queue_{label}' .* does not exist"):
        server.receive_from_queue(label, wait_for_queue=False)


def test_receiving_in_the_background_goes_on_until_it_is_ended(
    new_server: NewServer, client: AmqpRpcClient, label: str
) -> None:
    server = new_server(add)
    client.create_new_request_queue(label)

    assert server.receive_from_queue(label, block=False) is None
    assert [client.call(routing_key=label).add(number, 0) for number in range(3)] == [0, 1, 2]
    server.stop_receiving(label)

    def is_ended() -> bool:
        with pytest.raises(NoResult):
            client.call(routing_key=label, timeout=0.05).add(1, 2)
        return True

    wait_until(is_ended)


def test_a_tuning_function_sends_a_call_to_its_queue(new_server: NewServer, client: AmqpRpcClient, label: str) -> None:
    server = new_server(named("show_message", lambda user: f"shown to {user}"))
    client.create_new_request_queue(label)

    @client.tune_function("show_message")
    def by_user(args: Any, kwargs: Any) -> Any:
        return args[0] if args else kwargs["user"]

    results = [client.defer.show_message(label), client.defer.show_message(user=label)]

    assert server.receive_from_queue(label, max_calls=2, timeout=20) == 2
    assert [result.get(timeout=20) for result in results] == [f"shown to {label}"] * 2


def test_a_queue_that_was_removed_takes_no_more_calls(client: AmqpRpcClient, label: str) -> None:
    client.create_new_request_queue(label)
    client.defer(routing_key=label).add(1, 2)

    client.remove_request_queue(label)

    with pytest.raises(Unroutable, match=label):
        client.defer(routing_key=label).add(1, 2)


def test_queues_can_be_created_and_removed_in_quick_turns(
    new_server: NewServer, client: AmqpRpcClient, label: str
) -> None:
    server = new_server(add)
    for _ in range(10):
        client.create_new_request_queue(label, nowait=True)
        client.remove_request_queue(label, nowait=True)
    client.create_new_request_queue(label)

    result = client.defer(routing_key=label).add(1, 2)

    assert server.receive_from_queue(label, max_calls=1, timeout=20) == 1
    assert result.get(timeout=20) == 3


def test_a_routing_key_that_no_queue_takes_fails_at_once(client: AmqpRpcClient, label: str) -> None:
    with pytest.raises(Unroutable):
        client.defer(routing_key=label).add(1, 2)
    with pytest.raises(Unroutable):
        client.call(routing_key=label).add(1, 2)


# Broadcast.


def test_every_fanout_server_runs_every_request(new_server: NewServer, new_client: NewClient) -> None:
    heard: list[list[int]] = [[], [], []]
    for each in heard:
        new_server(each.append, cls=AmqpRpcFanoutServer)
    client = new_client(cls=AmqpRpcFanoutClient)

    results = [client.defer.append(number) for number in range(5)]

    wait_until(lambda: heard == [[0, 1, 2, 3, 4]] * 3)
    assert [result.get(timeout=20) for result in results] == [None] * 5


def test_a_broadcast_call_returns_the_first_reply(new_server: NewServer, new_client: NewClient) -> None:
    for _ in range(3):
        new_server(where_am_i, cls=AmqpRpcFanoutServer)

    assert new_client(cls=AmqpRpcFanoutClient).call.where_am_i() == "here"


def test_a_broadcast_that_nobody_hears_is_unroutable(new_client: NewClient) -> None:
    with pytest.raises(Unroutable):
        new_client(cls=AmqpRpcFanoutClient).call.where_am_i()


def test_fanout_servers_may_ignore_a_request(new_server: NewServer, new_client: NewClient) -> None:
    ignored = Event()

    def ask() -> str:
        ignored.set()
        raise IgnoreRequest

    new_server(ask, cls=AmqpRpcFanoutServer)
    new_server(named("ask", lambda: "me"), cls=AmqpRpcFanoutServer)

    assert new_client(cls=AmqpRpcFanoutClient).call.ask() == "me"
    assert ignored.wait(20)


@pytest.mark.expects_errors("cannot share one name")
def test_a_direct_and_a_fanout_service_cannot_share_a_name(new_server: NewServer, new_client: NewClient) -> None:
    new_server(where_am_i, cls=AmqpRpcFanoutServer)
    client = new_client()

    with pytest.raises(TopologyConflict, match="a direct and a fan-out service cannot share one name"):
        client.call.where_am_i()


# Several servers.


def test_servers_share_the_requests(new_server: NewServer, client: AmqpRpcClient, room: Room) -> None:
    # With a concurrency of one, the second request can only run on the second server.
    for _ in range(2):
        new_server(room.enter, concurrency=1)

    results = [client.defer.enter(number) for number in range(2)]
    wait_until(lambda: room.inside == 2)
    room.door.set()

    assert [result.get(timeout=20) for result in results] == [0, 1]


def test_an_ignored_request_goes_to_another_server(new_server: NewServer, client: AmqpRpcClient) -> None:
    ignored: list[int] = []

    def ask(number: int) -> str:
        ignored.append(number)
        raise IgnoreRequest

    new_server(ask, ignore_delay=0.01)
    new_server(named("ask", lambda number: f"me, {number}"))

    assert [client.call.ask(number) for number in range(10)] == [f"me, {number}" for number in range(10)]
    assert ignored != []


def test_an_ignored_request_comes_back_to_the_only_server(new_server: NewServer, client: AmqpRpcClient) -> None:
    tries: list[None] = []

    def ask() -> int:
        tries.append(None)
        if len(tries) < 3:
            raise IgnoreRequest
        return len(tries)

    new_server(ask, ignore_delay=0.01)

    assert client.call.ask() == 3


def test_what_a_stopped_server_has_not_acknowledged_goes_to_another(
    new_server: NewServer, client: AmqpRpcClient, room: Room
) -> None:
    stopped = new_server(room.enter)
    result = client.defer.enter("Bob")
    wait_until(lambda: room.inside == 1)

    stopped.stop()
    new_server(named("enter", lambda who: f"{who} at the other's"))

    assert result.get(timeout=20) == "Bob at the other's"


# Starting and stopping.


def test_prepare_stop_lets_running_requests_finish_and_takes_no_others(
    new_server: NewServer, client: AmqpRpcClient, room: Room
) -> None:
    server = new_server(room.enter)
    running = client.defer.enter("running")
    wait_until(lambda: room.inside == 1)

    stopping = gevent.spawn(server.prepare_stop)
    gevent.sleep(0)
    waiting = client.defer.enter("waiting")
    room.door.set()

    assert stopping.get(timeout=20) is True
    assert running.get(timeout=20) == "running"
    assert room.entered == ["running"]
    assert not waiting.ready()


def test_prepare_stop_tells_what_it_could_not_wait_for(
    new_server: NewServer, client: AmqpRpcClient, room: Room
) -> None:
    server = new_server(room.enter)
    client.defer.enter("Bob")
    wait_until(lambda: room.inside == 1)

    assert server.prepare_stop(timeout=0.05) is False


def test_requests_that_have_not_begun_go_to_another_server_when_one_stops(
    new_server: NewServer, client: AmqpRpcClient, room: Room
) -> None:
    server = new_server(room.enter, concurrency=1)
    results = [client.defer.enter(number) for number in range(5)]
    wait_until(lambda: room.inside == 1)

    stopping = gevent.spawn(server.prepare_stop)
    new_server(named("enter", lambda who: f"{who} elsewhere"))

    assert [result.get(timeout=20) for result in results[1:]] == [f"{number} elsewhere" for number in range(1, 5)]
    room.door.set()
    assert stopping.get(timeout=20) is True
    assert results[0].get(timeout=20) == 0


def test_a_stopped_server_serves_again(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server(add)

    for number in range(3):
        assert client.call.add(number, 0) == number
        server.stop()
        assert not server.connected
        result = client.defer.add(number, 1)
        server.serve()
        assert result.get(timeout=20) == number + 1


def test_a_stopped_client_keeps_its_calls_for_its_next_start(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)
    assert client.call.add(1, 2) == 3
    client.stop()

    result = client.defer(wait_publish=False).add(3, 4)
    gevent.sleep(0)
    assert not result.ready()
    client.serve()

    assert result.get(timeout=20) == 7


def test_a_reply_waits_for_a_client_that_stopped_and_comes_back(
    new_server: NewServer, client: AmqpRpcClient, room: Room
) -> None:
    new_server(room.enter)
    result = client.defer.enter("Bob")
    wait_until(lambda: room.inside == 1)

    client.stop()
    room.door.set()
    wait_until(lambda: room.left)
    client.serve()

    assert result.get(timeout=20) == "Bob"


def test_stopping_before_and_after_serving_is_harmless(service: str) -> None:
    server = AmqpRpcServer(service, broker_url="memory://")
    client = AmqpRpcClient(service, broker_url="memory://", autostart=False)

    for endpoint in (server, client):
        endpoint.stop()
        endpoint.serve()
        endpoint.stop()
        endpoint.stop()
        assert not endpoint.connected


def test_with_serves_and_stops(service: str) -> None:
    with (
        AmqpRpcServer(service, broker_url="memory://") as server,
        AmqpRpcClient(service, broker_url="memory://", autostart=False, timeout=20) as client,
    ):
        server.add_function(add)
        assert client.call.add(1, 2) == 3

    assert (server.connected, client.connected) == (False, False)


# The rest of the process.


def test_a_consumer_that_looked_before_its_turn_came_gets_the_next_message(label: str) -> None:
    first, second = (memory.Transport(kombu.Connection("memory://")).establish_connection() for _ in range(2))
    taken = {connection: consume_one(connection, label) for connection in (first, second)}
    pumping = [gevent.spawn(pump_for_ever, second)]
    gevent.idle()

    for _ in range(2):
        first.channel().publish("", label, {}, b"", mandatory=False, at_once=True)
    gevent.idle()
    pumping.append(gevent.spawn(pump_for_ever, first))

    wait_until(lambda: [len(deliveries) for deliveries in taken.values()] == [1, 1])
    gevent.killall(pumping)
    first.close()
    second.close()


def consume_one(connection: memory.Connection, queue: str) -> list[IncomingMessage]:
    """Consume from a queue, one unacknowledged message at a time; return the list of what comes."""
    deliveries: list[IncomingMessage] = []
    channel = connection.channel()
    channel.queue_declare(queue)
    channel.consumers["tag"] = deliveries.append
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, "tag")
    return deliveries


def pump_for_ever(connection: memory.Connection) -> None:
    while True:
        connection.pump()


def test_a_plain_kombu_program_in_the_same_process_can_call(new_server: NewServer, service: str) -> None:
    new_server(add)
    uuid = str(uuid4())
    with kombu.Connection("memory://") as connection:
        channel = connection.channel()
        responses = kombu.Queue(f"answers_{uuid}", kombu.Exchange(f"rpc_{service}_response", "direct"), uuid)
        bound = responses(channel)
        bound.declare()

        kombu.Producer(channel).publish(
            {"func": "add", "args": [1, 2], "kwargs": {}},
            exchange=f"rpc_{service}_request",
            routing_key="",
            reply_to=uuid,
            message_id="some id",
        )
        answer = wait_until(bound.get)

        assert answer.properties["message_id"] == "some id"
        assert json.loads(answer.body) == {"result": 3}
        bound.delete()


@pytest.mark.parametrize(
    ("routing_key", "headers"), [("k" * 256, {}), ("", {"deadline": 2**63}), ("", {"name": "x" * 131072})], ids=repr
)
def test_what_a_broker_could_not_be_sent_is_refused(routing_key: str, headers: dict[str, Any]) -> None:
    connection = memory.Transport(kombu.Connection("memory://")).establish_connection()

    with pytest.raises(Unencodable):
        connection.channel().encode("", routing_key, {"headers": headers}, b"", mandatory=True)


@pytest.mark.parametrize("exchange", ["logs", ""])
def test_a_delivery_says_where_it_was_published(label: str, exchange: str) -> None:
    exchange = exchange and f"{label}_{exchange}"
    deliveries: list[IncomingMessage] = []
    connection = memory.Transport(kombu.Connection("memory://")).establish_connection()
    channel = connection.channel()
    kombu.Queue(label, kombu.Exchange(exchange, "fanout") if exchange else None)(channel).declare()
    channel.consumers["tag"] = deliveries.append
    channel.basic_consume(label, consumer_tag="tag")

    channel.publish(exchange, label, {}, b"", mandatory=True, at_once=False)
    connection.pump()

    assert [(each.exchange, each.routing_key) for each in deliveries] == [(exchange, label)]
    channel.queue_delete(label)
    connection.close()


def test_an_idle_pair_does_nothing(
    new_server: NewServer, client: AmqpRpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pumps: list[None] = []
    real = memory.Connection.pump
    new_server(add)
    assert client.call.add(1, 2) == 3

    def counted(connection: memory.Connection) -> None:
        pumps.append(None)
        real(connection)

    def is_quiet() -> bool:
        pumps.clear()
        # Kombu's own consumers look for messages once a second.
        gevent.sleep(1.1)
        return not pumps

    monkeypatch.setattr(memory.Connection, "pump", counted)

    wait_until(is_quiet)


def test_a_delivery_that_ends_its_connection_costs_no_message_of_another_queue(unique_name: UniqueName) -> None:
    connection = kombu.Connection("memory://", transport=memory.Transport).transport.establish_connection()
    channel = connection.channel()
    queues = [unique_name("first"), unique_name("second")]
    for queue in queues:
        channel.queue_declare(queue)
        channel.consumers[queue] = lambda _: connection.abandon()
        channel.basic_consume(queue, consumer_tag=queue)
        channel.publish("", queue, {"delivery_mode": 2}, b"body", mandatory=True, at_once=True)

    channel.pump()

    assert [memory.Channel.queues[queue].qsize() for queue in queues] == [1, 1]
