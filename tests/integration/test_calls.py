"""`client.call` over RabbitMQ: what reaches the function, and what comes back to the caller."""

import datetime
import decimal
import uuid
from functools import partial
from typing import Any

import gevent
import pytest
from gevent.event import Event

from amphora import (
    AmqpRpcClient,
    NoResult,
    RemoteException,
    RpcJsonSerializer,
    RpcMsgpackSerializer,
    Unroutable,
    WrongRequest,
)
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker


def add(x: Any, y: Any) -> Any:
    return x + y


def echo(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


def divide(x: int, y: int) -> float:
    if x < 0:
        raise ValueError("x", x)
    return x / y


def test_a_call_returns_the_functions_result(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    result = client.call.add(2, 3)

    assert result == 5


def test_positional_and_keyword_arguments_reach_the_function(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(echo)

    result = client.call.echo(1, "two", k=3, other=[4])

    assert result == [[1, "two"], {"k": 3, "other": [4]}]


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**63), 1.5, "", "grüße, 世界 \U0001f600 \x00", [], {}, [[1], {"a": {"b": None}}]],
    ids=repr,
)
def test_a_value_comes_back_as_it_went(new_server: NewServer, client: AmqpRpcClient, value: Any) -> None:
    new_server(echo)

    result = client.call.echo(value)

    assert result == [[value], {}]


def test_values_beyond_json_travel_as_text_lists_and_numbers(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(echo)
    day, number, one = datetime.date(2013, 7, 1), decimal.Decimal("1.10"), uuid.UUID(int=1)

    [args, _] = client.call.echo(day, number, one, {7}, (1, 2))

    assert args == ["2013-07-01", "1.10", "00000000-0000-0000-0000-000000000001", [7], [1, 2]]


def test_a_function_may_return_such_values_too(new_server: NewServer, client: AmqpRpcClient) -> None:
    def today() -> datetime.date:
        return datetime.date(2013, 7, 1)

    new_server(today)

    assert client.call.today() == "2013-07-01"


def test_a_large_argument_and_a_large_result_arrive_whole(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(echo)
    text = "amphora " * 100_000  # several frames of 128 kB

    [[result], _] = client.call.echo(text)

    assert result == text


def test_functions_are_added_in_four_forms(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()

    def substract(x: int, y: int) -> int:
        return x - y

    server.add_function(add)
    server.add_function(substract, name="sub")

    @server.add_function
    def multiply(x: int, y: int) -> int:
        return x * y

    @server.add_function("div")
    def by(x: int, y: int) -> float:
        return x / y

    call = client.call
    assert [call.add(2, 3), call.sub(10, 3), call.multiply(5, 5), call.div(64, 16)] == [5, 7, 25, 4]


def test_a_function_can_be_added_while_the_server_serves(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server(connected=True)

    server.add_function(add)

    assert client.call.add(1, 2) == 3


def test_a_dotted_name_is_one_functions_name(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()
    server.add_function(add, name="numbers.whole.add")

    assert client.call.numbers.whole.add(1, 2) == 3


def test_function_name_names_the_function_as_text(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()
    server.add_function(add, name="numbers.add")

    assert client.call(function_name="numbers.add")(1, 2) == 3


def test_a_caller_can_be_kept_and_shared(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()
    server.add_function(partial(add, "text to "), name="send.text")
    server.add_function(partial(add, "html to "), name="send.html")
    send = client.call.send

    assert (send.text("Alice"), send.html("Bob"), send.text("Carol")) == (
        "text to Alice",
        "html to Bob",
        "text to Carol",
    )


def test_a_remote_exception_keeps_its_type_and_arguments(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(divide)

    with pytest.raises(RemoteException) as caught:
        client.call.divide(-5, 5)

    assert (caught.value.error_type, caught.value.args) == ("ValueError", ("x", -5))


def test_a_remote_exception_prints_like_the_original(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(divide)

    with pytest.raises(RemoteException) as caught:
        client.call.divide(1, 0)

    assert str(caught.value) == "ZeroDivisionError: division by zero"
    assert caught.value.remote_traceback is None


def test_a_remote_exception_brings_its_traceback_where_the_server_sends_it(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    new_server(divide, send_tracebacks=True)

    with pytest.raises(RemoteException) as caught:
        client.call.divide(1, 0)

    assert "return x / y" in (caught.value.remote_traceback or "")


def test_wrong_arguments_are_the_remote_functions_type_error(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    with pytest.raises(RemoteException, match=r"^TypeError: .*missing 1 required positional argument: 'y'") as caught:
        client.call.add(1)

    assert caught.value.error_type == "TypeError"


def test_an_unknown_function_is_a_wrong_request(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    with pytest.raises(WrongRequest, match="No function substract defined"):
        client.call.substract(1, 2)


def test_an_exception_with_arguments_that_cannot_be_encoded_travels_as_text(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    def fail() -> None:
        raise KeyError(object, b"bytes", 5)

    new_server(fail)

    with pytest.raises(RemoteException) as caught:
        client.call.fail()

    assert caught.value.args == ("<class 'object'>", "b'bytes'", 5)


def test_a_result_that_cannot_be_encoded_is_a_remote_type_error(new_server: NewServer, client: AmqpRpcClient) -> None:
    def give() -> object:
        return object()

    new_server(give)

    with pytest.raises(RemoteException, match="result cannot be encoded as application/json") as caught:
        client.call.give()

    assert caught.value.error_type == "TypeError"


def test_an_argument_that_cannot_be_encoded_is_the_callers_type_error_and_nothing_is_sent(
    broker: Broker, service: str, client: AmqpRpcClient
) -> None:
    client.wait_connected(20)

    with pytest.raises(TypeError, match="arguments of 'add' cannot be encoded"):
        client.call.add(object(), 1)

    client.stop()
    assert broker.queues()[f"rpc_{service}_request"].messages == 0


def test_a_call_that_no_server_answers_ends_with_no_result_that_says_how_far_it_came(new_client: NewClient) -> None:
    client = new_client()
    client.wait_connected(20)

    with pytest.raises(NoResult, match=r"'add' within 1 s\. The broker confirmed the request, but no reply"):
        client.call(timeout=1).add(1, 2)


def test_the_timeout_of_the_constructor_is_the_default(new_client: NewClient) -> None:
    client = new_client(timeout=0.2)

    with pytest.raises(NoResult, match=r"within 0\.2 s"):
        client.call.add(1, 2)


def test_the_timeout_of_a_call_goes_before_that_of_the_constructor(
    new_server: NewServer, new_client: NewClient
) -> None:
    client = new_client(timeout=0.01)
    client.wait_connected(20)
    server = new_server(connected=True)

    @server.add_function
    def wait() -> str:
        gevent.sleep(0.05)
        return "done"

    assert client.call(timeout=20).wait() == "done"


def test_a_call_waits_in_the_broker_for_a_server_to_start(new_server: NewServer, client: AmqpRpcClient) -> None:
    result = client.defer(timeout=None).add(1, 2)

    new_server(add)

    assert result.get(timeout=20) == 3


def test_a_call_that_was_given_up_leaves_the_client_working(new_server: NewServer, client: AmqpRpcClient) -> None:
    release = Event()

    def wait() -> str:
        release.wait(20)
        return "late"

    new_server(wait, add)
    with pytest.raises(NoResult):
        client.call(timeout=0.2).wait()
    release.set()

    assert client.call.add(1, 2) == 3


def test_parallel_calls_each_get_their_own_result(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    callers = [gevent.spawn(client.call.add, number, 1000) for number in range(300)]

    assert [caller.get(timeout=20) for caller in callers] == [number + 1000 for number in range(300)]


def test_two_clients_each_get_their_own_replies(new_server: NewServer, new_client: NewClient) -> None:
    new_server(add)
    first, second = new_client(), new_client()

    ones = [first.defer.add("one", str(number)) for number in range(50)]
    twos = [second.defer.add("two", str(number)) for number in range(50)]

    assert [result.get(timeout=20) for result in ones] == [f"one{number}" for number in range(50)]
    assert [result.get(timeout=20) for result in twos] == [f"two{number}" for number in range(50)]


def test_each_request_goes_to_one_of_several_servers(new_server: NewServer, client: AmqpRpcClient) -> None:
    runs: list[int] = []
    for _ in range(3):
        new_server(runs.append, connected=True)

    for result in [client.defer.append(number) for number in range(60)]:
        result.get(timeout=20)

    assert sorted(runs) == list(range(60))


def test_requests_of_one_client_run_in_the_order_of_the_calls(new_server: NewServer, client: AmqpRpcClient) -> None:
    runs: list[int] = []
    results = [client.defer(wait_publish=False).append(number) for number in range(200)]

    new_server(runs.append)

    gevent.wait(results, timeout=20)
    assert runs == list(range(200))


def test_a_server_may_call_its_own_service(new_server: NewServer, new_client: NewClient) -> None:
    inner = new_client()

    def twice(x: int) -> Any:
        return inner.call.add(x, x)

    new_server(add, twice)

    assert new_client().call.twice(4) == 8


def test_an_exception_of_a_further_call_says_what_it_was_there(new_server: NewServer, new_client: NewClient) -> None:
    inner = new_client()

    def further() -> Any:
        return inner.call.divide(1, 0)

    new_server(divide, further)

    with pytest.raises(RemoteException, match=r"^RemoteException: ZeroDivisionError: division by zero$"):
        new_client().call.further()


def test_a_call_to_a_routing_key_that_no_queue_is_bound_with_is_unroutable_at_once(client: AmqpRpcClient) -> None:
    with pytest.raises(Unroutable, match="routing key 'nobody'"):
        client.call(routing_key="nobody").add(1, 2)


def test_both_sides_may_speak_messagepack(new_server: NewServer, new_client: NewClient) -> None:
    new_server(echo, serializer=RpcMsgpackSerializer)
    client = new_client(serializer=RpcMsgpackSerializer)

    assert client.call.echo(b"\x00\xff", key=1) == [[b"\x00\xff"], {"key": 1}]


def test_a_server_answers_in_the_serializer_of_the_request_where_it_accepts_that(
    new_server: NewServer, new_client: NewClient
) -> None:
    new_server(echo, accept=[RpcMsgpackSerializer])
    json, binary = new_client(), new_client(serializer=RpcMsgpackSerializer)

    assert json.call.echo("text") == [["text"], {}]
    assert binary.call.echo(b"bytes") == [[b"bytes"], {}]


def test_a_request_in_a_serializer_that_the_server_does_not_accept_is_a_wrong_request(
    new_server: NewServer, new_client: NewClient
) -> None:
    new_server(echo)
    client = new_client(serializer=RpcMsgpackSerializer, accept=[RpcJsonSerializer])

    with pytest.raises(WrongRequest, match="content type 'application/msgpack' is not accepted"):
        client.call.echo(1)


def test_an_own_serializer_needs_two_methods_and_a_content_type(new_server: NewServer, new_client: NewClient) -> None:
    class Shouting(RpcJsonSerializer):
        content_type = "application/x-shouting"

        def dumps(self, value: Any) -> bytes:
            return super().dumps(value).upper()

        def loads(self, body: bytes) -> Any:
            return super().loads(body.lower())

    new_server(echo, serializer=Shouting)

    assert new_client(serializer=Shouting).call.echo("Hello") == [["hello"], {}]
