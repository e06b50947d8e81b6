"""The wire format of the original 0.1.3: its messages are understood, and it understands ours."""

import json
import math
import time
from typing import Any

import amqp
import kombu
import pytest

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    RemoteException,
    WrongRequest,
    WrongResult,
)
from tests.integration.conftest import NewClient, NewServer
from tests.integration.original import OriginalClient, OriginalServer, encode, taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until

# 0.1.3 and programs of others declare classic queues, whatever the release of the broker.
pytestmark = pytest.mark.endpoints(queue_type="classic")

# What 0.1.3 accepts beside its own two properties, in requests and in replies.
HARMLESS: dict[str, dict[str, Any]] = {
    "content_type": {"content_type": "application/json"},
    "content_type with charset": {"content_type": "application/json; charset=utf-8"},
    "utf-8": {"content_encoding": "utf-8"},
    "us-ascii": {"content_encoding": "us-ascii"},
    "binary": {"content_encoding": "binary"},
    "unknown encoding": {"content_encoding": "x-unknown"},
    "headers": {"application_headers": {"x": 1, "nested": {"list": [1, "two", None]}}},
    "timestamp": {"timestamp": 1372636800},
    "type": {"type": "request"},
    "priority": {"priority": 5},
    "user_id": {"user_id": "guest"},
    "expiration": {"expiration": "60000"},
    "app_id": {"app_id": "somebody"},
    "transient": {"delivery_mode": 1},
    "no delivery_mode": {"delivery_mode": None},
}


def add(x: Any, y: Any) -> Any:
    return x + y


def echo(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


def fail(*args: Any) -> None:
    raise ValueError(*args)


@pytest.fixture
def original_client(amqp_channel: amqp.Channel, service: str) -> OriginalClient:
    return OriginalClient(amqp_channel, service)


@pytest.fixture
def original_server(amqp_channel: amqp.Channel, service: str) -> OriginalServer:
    return OriginalServer(amqp_channel, service)


@pytest.fixture
def harmless(request: pytest.FixtureRequest) -> dict[str, Any]:
    return HARMLESS[request.param]


# Our server, its client


def test_a_request_of_the_original_is_answered(new_server: NewServer, original_client: OriginalClient) -> None:
    new_server(echo)

    answer = original_client.call("echo", 1, "grüße", None, k="v")

    assert answer == {"result": [[1, "grüße", None], {"k": "v"}]}


def test_a_reply_is_what_the_original_expects_and_little_more(
    new_server: NewServer, original_client: OriginalClient
) -> None:
    new_server(echo)

    message_id = original_client.send(b'{"func": "echo", "args": ["\\u00fc"], "kwargs": {}}')

    reply = original_client.reply()
    assert json.loads(reply.body) == {"result": [["ü"], {}]}
    assert reply.properties == {
        "message_id": message_id,
        "correlation_id": message_id,
        "delivery_mode": 2,
        "content_type": "application/json",
    }
    assert reply.delivery_info["routing_key"] == original_client.uuid


def test_a_request_is_acknowledged(
    new_server: NewServer, original_client: OriginalClient, broker: Broker, service: str
) -> None:
    new_server(echo)

    original_client.call("echo")

    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)


def test_an_exception_is_its_class_name_and_its_args(new_server: NewServer, original_client: OriginalClient) -> None:
    new_server(fail)

    assert original_client.call("fail", "x", -5) == {"exception": {"type": "ValueError", "args": ["x", -5]}}


def test_an_unknown_function_is_the_original_s_wrong_request(
    new_server: NewServer, original_client: OriginalClient
) -> None:
    new_server(add)

    answer = original_client.call("send.email")

    assert answer == {"exception": {"type": "WrongRequest", "args": ["No function send.email defined"]}}


def test_wrong_arguments_are_a_type_error(new_server: NewServer, original_client: OriginalClient) -> None:
    new_server(add)

    answer = original_client.call("add", 1)

    assert answer["exception"]["type"] == "TypeError"
    assert "missing 1 required positional argument" in answer["exception"]["args"][0]


def test_a_body_that_cannot_be_read_is_a_wrong_request(new_server: NewServer, original_client: OriginalClient) -> None:
    new_server(add)

    original_client.send(b"not JSON")

    answer = json.loads(original_client.reply().body)
    assert answer["exception"]["type"] == "WrongRequest"
    assert "not JSON" in answer["exception"]["args"][0]


def test_a_dotted_name_is_one_string(new_server: NewServer, original_client: OriginalClient) -> None:
    new_server().add_function(add, name="numbers.add")

    assert original_client.call("numbers.add", 1, 2) == {"result": 3}


@pytest.mark.parametrize("harmless", HARMLESS, indirect=True)
def test_a_request_may_carry_further_properties(
    new_server: NewServer, original_client: OriginalClient, harmless: dict[str, Any]
) -> None:
    new_server(add)

    message_id = original_client.send(b'{"func": "add", "args": [1, 2], "kwargs": {}}', **harmless)

    reply = original_client.reply()
    assert (reply.properties["message_id"], json.loads(reply.body)) == (message_id, {"result": 3})


@pytest.mark.parametrize(
    "body",
    [
        '{"kwargs": {}, "args": ["grüße"], "func": "echo"}'.encode(),
        b'{"func":"echo","args":["gr\\u00fc\\u00dfe"],"kwargs":{}}',
        b'\n{ "func" : "echo",\n "args" : ["gr\\u00fc\\u00dfe"], "kwargs": {}, "further": [1] } ',
    ],
    ids=["raw UTF-8 in another order", "compact", "spacious with a further member"],
)
def test_json_may_be_written_otherwise(new_server: NewServer, original_client: OriginalClient, body: bytes) -> None:
    new_server(echo)

    original_client.send(body)

    assert json.loads(original_client.reply().body) == {"result": [["grüße"], {}]}


@pytest.mark.parametrize("message_id", ["1", "x" * 255, "grüße, 世界"], ids=["short", "longest", "not ASCII"])
def test_any_text_may_be_a_message_id(new_server: NewServer, original_client: OriginalClient, message_id: str) -> None:
    new_server(add)

    original_client.send(b'{"func": "add", "args": [1, 2], "kwargs": {}}', message_id=message_id)

    assert original_client.reply().properties["message_id"] == message_id


def test_requests_with_one_message_id_over_and_over_are_each_answered(
    new_server: NewServer, original_client: OriginalClient
) -> None:
    new_server(add)

    answers = []
    for number in range(5):
        original_client.send(encode({"func": "add", "args": [number, 0], "kwargs": {}}), message_id="same")
        answers.append(json.loads(original_client.reply().body))

    assert answers == [{"result": number} for number in range(5)]


def test_a_correlation_id_of_its_own_does_not_confuse(new_server: NewServer, original_client: OriginalClient) -> None:
    new_server(add)

    original_client.send(b'{"func": "add", "args": [1, 2], "kwargs": {}}', message_id="mine", correlation_id="another")

    assert original_client.reply().properties["message_id"] == "mine"


def test_a_correlation_id_is_enough(new_server: NewServer, original_client: OriginalClient) -> None:
    new_server(add)

    original_client.send(
        b'{"func": "add", "args": [1, 2], "kwargs": {}}', message_id=None, correlation_id="the only one"
    )

    assert original_client.reply().properties["correlation_id"] == "the only one"


def test_replies_go_to_any_queue_that_is_bound_to_the_response_exchange(
    new_server: NewServer, original_client: OriginalClient, amqp_channel: amqp.Channel, service: str
) -> None:
    new_server(add)
    queue = amqp_channel.queue_declare(exclusive=True, auto_delete=True).queue
    amqp_channel.queue_bind(queue, f"rpc_{service}_response", "my own key")

    original_client.send(b'{"func": "add", "args": [1, 2], "kwargs": {}}', reply_to="my own key")

    assert json.loads(taken(amqp_channel, queue).body) == {"result": 3}


def test_a_request_may_come_straight_to_the_queue_by_the_default_exchange(
    new_server: NewServer, original_client: OriginalClient, service: str
) -> None:
    new_server(add)
    original_client.request_exchange = ""

    original_client.send(b'{"func": "add", "args": [1, 2], "kwargs": {}}', routing_key=f"rpc_{service}_request")

    assert json.loads(original_client.reply().body) == {"result": 3}


def test_a_request_made_by_kombus_json_serializer_is_answered(
    new_server: NewServer, original_client: OriginalClient, broker: Broker, service: str
) -> None:
    new_server(echo)

    with kombu.Connection(broker.url) as connection, connection.Producer() as producer:
        producer.publish(
            {"func": "echo", "args": ["grüße", 1], "kwargs": {"k": [None]}},
            serializer="json",
            exchange=f"rpc_{service}_request",
            routing_key="",
            message_id="of kombu",
            reply_to=original_client.uuid,
        )

    reply = original_client.reply()
    assert reply.properties["message_id"] == "of kombu"
    assert json.loads(reply.body) == {"result": [["grüße", 1], {"k": [None]}]}


def test_a_label_queue_that_the_original_made_is_received_from(
    new_server: NewServer, original_client: OriginalClient, amqp_channel: amqp.Channel, service: str
) -> None:
    queue = f"rpc_{service}_queue_Alice"
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-expires": 60_000})
    amqp_channel.queue_bind(queue, f"rpc_{service}_request", "Alice")
    server = new_server(add, queue_template="rpc_{namespace}_queue_{label}")

    original_client.send(b'{"func": "add", "args": [1, 2], "kwargs": {}}', routing_key="Alice")

    assert server.receive_from_queue("Alice", max_calls=1, timeout=20, wait_for_queue=False) == 1
    assert json.loads(original_client.reply().body) == {"result": 3}


# Our client, its server


def test_a_request_is_what_the_original_expects_and_little_more(
    client: AmqpRpcClient, original_server: OriginalServer
) -> None:
    before = int(time.time())
    client.defer.send.email(1, "ü", k={"n": None})

    request = original_server.request()

    assert request.body == b'{"func": "send.email", "args": [1, "\\u00fc"], "kwargs": {"k": {"n": null}}}'
    timestamp, message_id = request.properties.pop("timestamp"), request.properties["message_id"]
    assert request.properties == {
        "message_id": message_id,
        "correlation_id": message_id,
        "reply_to": client.uuid,
        "delivery_mode": 2,
        "content_type": "application/json",
    }
    assert before <= timestamp <= time.time()
    assert request.delivery_info["routing_key"] == ""


def test_every_request_has_an_id_of_its_own(new_client: NewClient, original_server: OriginalServer) -> None:
    for client in (new_client(), new_client(uuid="named"), new_client()):
        for _ in range(5):
            client.defer.work()

    assert len({original_server.request().properties["message_id"] for _ in range(15)}) == 15


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"result": 5}', 5),
        (b'{"result": null}', None),
        (b'{"result": {"exception": "no"}}', {"exception": "no"}),
        (b'{"result": [1.5, "gr\\u00fc\\u00dfe", {"1": true}]}', [1.5, "grüße", {"1": True}]),
        ('{"result": "grüße"}'.encode(), "grüße"),
        (b'{"further": 1, "result": 5}', 5),
    ],
)
def test_a_result_of_the_original_is_the_calls_result(
    client: AmqpRpcClient, original_server: OriginalServer, body: bytes, value: Any
) -> None:
    result = client.defer.work()

    original_server.answer(original_server.request(), body)

    assert result.get(timeout=20) == value


def test_the_bare_word_nan_of_the_original_is_read(client: AmqpRpcClient, original_server: OriginalServer) -> None:
    result = client.defer.work()

    original_server.answer(original_server.request(), b'{"result": [NaN, Infinity]}')

    [nan, infinity] = result.get(timeout=20)
    assert math.isnan(nan)
    assert infinity == math.inf


@pytest.mark.parametrize("error_type", ["ValueError", "NoResult", "WrongResult"])
def test_an_exception_of_the_original_is_a_remote_exception(
    client: AmqpRpcClient, original_server: OriginalServer, error_type: str
) -> None:
    result = client.defer.work()

    body = encode({"exception": {"type": error_type, "args": ["x", -5]}})
    original_server.answer(original_server.request(), body)

    with pytest.raises(RemoteException) as caught:
        result.get(timeout=20)
    assert (caught.value.error_type, caught.value.args) == (error_type, ("x", -5))


def test_a_wrong_request_of_the_original_is_ours(client: AmqpRpcClient, original_server: OriginalServer) -> None:
    result = client.defer.work()

    original_server.answer(
        original_server.request(),
        b'{"exception": {"type": "WrongRequest", "args": ["No function work defined"]}}',
    )

    with pytest.raises(WrongRequest) as caught:
        result.get(timeout=20)
    assert caught.value.args == ("No function work defined",)


@pytest.mark.parametrize("harmless", HARMLESS, indirect=True)
def test_a_reply_may_carry_further_properties(
    client: AmqpRpcClient, original_server: OriginalServer, harmless: dict[str, Any]
) -> None:
    result = client.defer.work()

    original_server.answer(original_server.request(), b'{"result": 5}', **harmless)

    assert result.get(timeout=20) == 5


def test_a_doubled_reply_is_ignored(client: AmqpRpcClient, original_server: OriginalServer) -> None:
    first, second = client.defer.work(), client.defer.work()
    requests = [original_server.request() for _ in range(2)]

    original_server.answer(requests[0], b'{"result": 1}')
    original_server.answer(requests[0], b'{"result": "again"}')
    original_server.answer(requests[1], b'{"result": 2}')

    assert (first.get(timeout=20), second.get(timeout=20)) == (1, 2)
    assert client.stats()["late_replies"] == 1


def test_a_reply_made_by_kombus_json_serializer_is_understood(
    client: AmqpRpcClient, original_server: OriginalServer, broker: Broker
) -> None:
    result = client.defer.work()
    request = original_server.request()

    with kombu.Connection(broker.url) as connection, connection.Producer() as producer:
        producer.publish(
            {"result": ["grüße", 1]},
            serializer="json",
            exchange=original_server.response_exchange,
            routing_key=request.properties["reply_to"],
            message_id=request.properties["message_id"],
        )

    assert result.get(timeout=20) == ["grüße", 1]


def test_a_reply_in_a_content_type_that_is_not_ours_is_a_wrong_result(
    client: AmqpRpcClient, original_server: OriginalServer
) -> None:
    result = client.defer.work()

    original_server.answer(original_server.request(), b"\x80\x04.", content_type="application/x-python-serialize")

    with pytest.raises(WrongResult, match="content type 'application/x-python-serialize' is not accepted"):
        result.get(timeout=20)


def test_a_label_queue_for_the_original_has_its_name(
    new_client: NewClient, original_server: OriginalServer, amqp_channel: amqp.Channel, service: str
) -> None:
    client = new_client(queue_template="rpc_{namespace}_queue_{label}")
    client.create_new_request_queue("Alice")

    client.defer(routing_key="Alice").work()

    assert taken(amqp_channel, f"rpc_{service}_queue_Alice").delivery_info["routing_key"] == "Alice"


# Both on one broker


@pytest.mark.parametrize("kind", ["direct", "fanout"])
def test_both_declare_the_same_whoever_is_first(
    new_client: NewClient,
    new_server: NewServer,
    amqp_channel: amqp.Channel,
    service: str,
    kind: str,
) -> None:
    clients = {"direct": AmqpRpcClient, "fanout": AmqpRpcFanoutClient}
    for name, original_first in ((f"{service}1", True), (f"{service}2", False)):
        if original_first:
            OriginalClient(amqp_channel, name, kind=kind)
            OriginalServer(amqp_channel, name, kind=kind)
        client = new_client(service_name=name, cls=clients[kind])

        assert client.wait_connected(20)
        OriginalClient(amqp_channel, name, kind=kind)
        OriginalServer(amqp_channel, name, kind=kind)


def test_a_fanout_request_of_the_original_reaches_every_server_of_ours(
    new_server: NewServer, amqp_channel: amqp.Channel, service: str
) -> None:
    runs: list[list[int]] = [[], []]
    for each in runs:
        new_server(each.append, cls=AmqpRpcFanoutServer, connected=True)
    original = OriginalClient(amqp_channel, service, kind="fanout")

    for number in range(5):
        original.send(encode({"func": "append", "args": [number], "kwargs": {}}))

    wait_until(lambda: runs == [list(range(5))] * 2)


def test_a_fanout_request_of_ours_reaches_the_queue_that_the_originals_servers_share(
    new_client: NewClient, amqp_channel: amqp.Channel, service: str
) -> None:
    original = OriginalServer(amqp_channel, service, kind="fanout")

    result = new_client(cls=AmqpRpcFanoutClient).defer.work()
    original.answer(original.request(), b'{"result": 5}')

    assert result.get(timeout=20) == 5


def test_servers_of_both_share_the_work(
    client: AmqpRpcClient, new_server: NewServer, original_server: OriginalServer
) -> None:
    results = [client.defer.work(number) for number in range(10)]
    for _ in range(4):
        request = original_server.request()
        [number] = json.loads(request.body)["args"]
        original_server.answer(request, encode({"result": number}))

    new_server().add_function(lambda number: number, name="work")

    assert [result.get(timeout=20) for result in results] == list(range(10))
