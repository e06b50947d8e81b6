"""Garbage in every queue: whoever can be told is told, the rest is dropped, and the next good call works."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import amqp
import pytest

from amphora import AmqpRpcClient, AmqpRpcFanoutServer, AmqpRpcServer, RpcMsgpackSerializer, WrongResult
from tests.integration.conftest import NewServer
from tests.integration.original import OriginalClient, OriginalServer, taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until

GOOD = b'{"func": "add", "args": [1, 2], "kwargs": {}}'

# Bodies that are no requests.
UNREADABLE: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"not JSON",
    "half JSON": GOOD[:-5],
    "two values": GOOD + GOOD,
    "not UTF-8": b'{"func": "add\xff", "args": [], "kwargs": {}}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "zeros": bytes(1000),
    "pickle": b"\x80\x04K\x01.",
    "nested too deep": b"[" * 100_000,
    "an integer too long": b'{"func": "add", "args": [' + b"9" * 10_000 + b"], " + b'"kwargs": {}}',
    "null": b"null",
    "a number": b"5",
    "a string": b'"func args kwargs"',
    "a list": b'["func", "args", "kwargs"]',
    "an empty object": b"{}",
    "no func": b'{"args": [], "kwargs": {}}',
    "no args": b'{"func": "add", "kwargs": {}}',
    "no kwargs": b'{"func": "add", "args": []}',
    "func a list": b'{"func": ["add"], "args": [], "kwargs": {}}',
    "func null": b'{"func": null, "args": [], "kwargs": {}}',
    "args a number": b'{"func": "add", "args": 5, "kwargs": {}}',
    "args null": b'{"func": "add", "args": null, "kwargs": {}}',
    "args an object": b'{"func": "add", "args": {}, "kwargs": {}}',
    "kwargs a list": b'{"func": "add", "args": [], "kwargs": []}',
    "kwargs null": b'{"func": "add", "args": [], "kwargs": null}',
    "a reply": b'{"result": 5}',
    "func empty": b'{"func": "", "args": [], "kwargs": {}}',
    "func unknown": b'{"func": "__class__", "args": [], "kwargs": {}}',
    "func half a character": b'{"func": "\\ud800", "args": [], "kwargs": {}}',
}

# Content types that a server does not read by default.
FOREIGN = ["application/x-python-serialize", "application/x-yaml", "text/plain", "nonsense", "x" * 255, ";", "/"]

# Properties that nobody would send in earnest, with which a request can be read all the same.
ODD_BUT_READABLE: dict[str, dict[str, Any]] = {
    "a huge header table": {"application_headers": {f"header {n}": "x" * 20 for n in range(3000)}},
    "headers of every type": {
        "application_headers": {
            "table": {"table": {"table": {}}},
            "array": [1, "two", None, [True, {"a": b"bytes"}]],
            "decimal": Decimal("1.5"),
            "large": 2**40,
            "void": None,
            "float": 1.5,
            "bytes": b"\xff\x00",
        }
    },
    "a header name that is no UTF-8": {"application_headers": {b"\xff\xfe": 1}},
    "a type that is no UTF-8": {"type": b"\xff\xfe"},
    "an app_id that is no UTF-8": {"app_id": b"\xff\xfe"},
    "a content_encoding that is no UTF-8": {"content_encoding": b"\xff\xfe"},
    "a content_encoding that is not so": {"content_encoding": "gzip"},
    "a correlation_id that is no UTF-8": {"correlation_id": b"\xff\xfe"},
    "a timestamp far away": {"timestamp": 2**63},
    "all properties": {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": "c",
        "priority": 255,
        "timestamp": 0,
        "type": "t",
        "app_id": "a",
        "cluster_id": "c",
        "expiration": "60000",
    },
}

# Replies that say nothing.
MANGLED: dict[str, bytes] = {
    "an empty object": b"{}",
    "a number": b"5",
    "a string": b'"result"',
    "a list": b'["result"]',
    "null": b"null",
    "an exception that is text": b'{"exception": "boom"}',
    "an exception without args": b'{"exception": {"type": "X"}}',
    "an exception without type": b'{"exception": {"args": []}}',
    "an exception with a type that is no text": b'{"exception": {"type": 5, "args": []}}',
    "an exception with args that are no list": b'{"exception": {"type": "X", "args": 5}}',
    "an exception that is null": b'{"exception": null}',
    "an exception that is empty": b'{"exception": {}}',
    "a request": GOOD,
    "empty": b"",
    "no JSON": b"not JSON",
    "not UTF-8": b'{"result": "\xff"}',
    "nested too deep": b"[" * 100_000,
}


def add(x: int, y: int) -> int:
    return x + y


@pytest.fixture
def server(new_server: NewServer) -> AmqpRpcServer:
    return new_server(add, connected=True)


@pytest.fixture
def peer(amqp_channel: amqp.Channel, service: str) -> OriginalClient:
    """A client that sends what it likes."""
    return OriginalClient(amqp_channel, service)


@pytest.fixture
def hostile_server(amqp_channel: amqp.Channel, service: str) -> OriginalServer:
    """A server that answers what it likes."""
    return OriginalServer(amqp_channel, service)


@pytest.fixture
def nothing_remains(broker: Broker, service: str) -> Callable[[], None]:
    """Wait until no queue of the service holds anything."""

    def check() -> None:
        wait_until(lambda: not [q for name, q in broker.queues().items() if service in name and q.messages])

    return check


# The request queue


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_request_that_cannot_be_read_is_a_wrong_request(
    server: AmqpRpcServer, peer: OriginalClient, nothing_remains: Callable[[], None], body: bytes
) -> None:
    message_id = peer.send(body)

    reply = peer.reply()
    assert reply.properties["message_id"] == message_id
    assert json.loads(reply.body)["exception"]["type"] == "WrongRequest"
    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()


@pytest.mark.parametrize("content_type", FOREIGN, ids=lambda text: text[:30])
def test_a_request_of_a_foreign_content_type_is_a_wrong_request(
    server: AmqpRpcServer, peer: OriginalClient, nothing_remains: Callable[[], None], content_type: str
) -> None:
    peer.send(GOOD, content_type=content_type)

    answer = json.loads(peer.reply().body)["exception"]
    assert answer["type"] == "WrongRequest"
    assert content_type in answer["args"][0]
    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x93\x01", b"\x81\xc0\xc0", bytes(100)])
def test_a_binary_request_that_cannot_be_read_is_a_wrong_request(
    new_server: NewServer, peer: OriginalClient, nothing_remains: Callable[[], None], body: bytes
) -> None:
    new_server(add, accept=[RpcMsgpackSerializer])

    peer.send(body, content_type="application/msgpack")

    assert b"WrongRequest" in peer.reply().body
    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()


@pytest.mark.parametrize("properties", ODD_BUT_READABLE.values(), ids=ODD_BUT_READABLE)
def test_odd_properties_do_not_keep_a_request_from_being_run(
    server: AmqpRpcServer, peer: OriginalClient, nothing_remains: Callable[[], None], properties: dict[str, Any]
) -> None:
    message_id = peer.send(GOOD, **properties)

    reply = peer.reply()
    assert (reply.properties["message_id"], json.loads(reply.body)) == (message_id, {"result": 3})
    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()


@pytest.mark.parametrize(
    "properties",
    [
        {"content_type": b"\xff\xfe"},
        {"message_id": None},
        {"message_id": ""},
    ],
    ids=repr,
)
def test_a_request_with_an_odd_id_or_content_type_is_answered_once(
    server: AmqpRpcServer, peer: OriginalClient, nothing_remains: Callable[[], None], properties: dict[str, Any]
) -> None:
    peer.send(GOOD, **properties)

    assert {"result", "exception"} & set(json.loads(peer.reply().body))
    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()


@pytest.mark.parametrize(
    "properties",
    [{"message_id": b"\xff\xfe"}, {"message_id": None, "correlation_id": b"\xff\xfe"}],
    ids=repr,
)
def test_a_request_with_an_id_that_is_no_utf_8_is_answered_once(
    server: AmqpRpcServer,
    peer: OriginalClient,
    nothing_remains: Callable[[], None],
    broker: Broker,
    properties: dict[str, Any],
) -> None:
    peer.send(GOOD, **properties)

    # py-amqp cannot read the reply, which bears the same id.
    wait_until(lambda: broker.queues()[peer.response_queue].ready == 1)
    peer.channel.queue_purge(peer.response_queue)
    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()


@pytest.mark.parametrize(
    "properties",
    [
        {"reply_to": None},
        {"reply_to": ""},
        {"reply_to": None, "message_id": None},
        {"reply_to": "a client that is gone"},
        {"reply_to": b"\xff\xfe"},
        {"reply_to": "x" * 255},
        {"reply_to": str(uuid4()), "message_id": None},
    ],
    ids=repr,
)
@pytest.mark.parametrize("body", [GOOD, b"not JSON"], ids=["readable", "unreadable"])
def test_a_request_that_nobody_can_be_told_of_is_done_with(
    server: AmqpRpcServer,
    peer: OriginalClient,
    nothing_remains: Callable[[], None],
    properties: dict[str, Any],
    body: bytes,
) -> None:
    peer.send(body, **properties)

    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()
    stats = server.stats()
    assert (stats["requests"], stats["running"], stats["outbox"]) == (2, 0, 0)


def test_what_is_dropped_is_counted(server: AmqpRpcServer, peer: OriginalClient) -> None:
    peer.send(b"not JSON", reply_to=None)
    peer.send(GOOD, reply_to="a client that is gone")

    wait_until(lambda: (server.stats()["dropped"], server.stats()["undeliverable"]) == (1, 1))


def test_nobody_writes_lines_of_their_own_into_the_log(
    server: AmqpRpcServer, peer: OriginalClient, caplog: pytest.LogCaptureFixture
) -> None:
    peer.send(GOOD, reply_to="nobody\nCRITICAL forged", message_id="id\nCRITICAL forged")

    wait_until(lambda: server.stats()["undeliverable"] == 1)

    (dropped,) = [record.getMessage() for record in caplog.records if "dropped the reply" in record.getMessage()]
    assert "forged" in dropped
    assert "\n" not in dropped


def test_what_is_dropped_goes_to_the_dead_letters_where_that_is_configured(
    server: AmqpRpcServer, peer: OriginalClient, broker: Broker, amqp_channel: amqp.Channel, service: str
) -> None:
    dead_letters = f"dead letters of {service}"
    amqp_channel.queue_declare(dead_letters, auto_delete=False)
    definition = {"dead-letter-exchange": "", "dead-letter-routing-key": dead_letters}
    broker.set_policy(service, f"^rpc_{service}_request$", definition)

    peer.send(b"not JSON", reply_to=None)

    assert taken(amqp_channel, dead_letters).body == b"not JSON"


def test_a_flood_of_garbage_keeps_nobody_from_being_served(
    server: AmqpRpcServer, peer: OriginalClient, client: AmqpRpcClient, nothing_remains: Callable[[], None]
) -> None:
    for _ in range(20):
        for body in UNREADABLE.values():
            if len(body) < 1000:
                peer.send(body, reply_to=None, message_id=None)

    assert [client.call.add(number, 0) for number in range(10)] == list(range(10))
    nothing_remains()


# A label queue


def test_garbage_in_a_label_queue_is_answered_and_counts_as_handled(
    server: AmqpRpcServer,
    peer: OriginalClient,
    client: AmqpRpcClient,
    nothing_remains: Callable[[], None],
    service: str,
) -> None:
    label = f"Alice of {service}"
    client.create_new_request_queue(label)
    for body in UNREADABLE.values():
        peer.send(body, routing_key=label)
        peer.send(body, routing_key=label, reply_to=None)

    assert server.receive_from_queue(label, max_calls=2 * len(UNREADABLE), timeout=20) == 2 * len(UNREADABLE)

    assert all(b"WrongRequest" in peer.reply().body for _ in UNREADABLE)
    assert peer.call("add", 1, 2) == {"result": 3}
    nothing_remains()


# A fan-out queue


def test_garbage_in_a_fanout_queue_is_answered_by_every_server(
    new_server: NewServer, amqp_channel: amqp.Channel, service: str, broker: Broker
) -> None:
    servers = [new_server(add, cls=AmqpRpcFanoutServer, connected=True) for _ in range(2)]
    peer = OriginalClient(amqp_channel, service, kind="fanout")
    # The queue that the original's servers shared: nobody consumes from it here.
    amqp_channel.queue_delete(f"rpc_{service}_request")

    for body in UNREADABLE.values():
        peer.send(body)
        peer.send(body, reply_to=None)

    assert all(b"WrongRequest" in peer.reply().body for _ in range(2 * len(UNREADABLE)))
    peer.send(GOOD)
    assert [json.loads(peer.reply().body) for _ in servers] == [{"result": 3}] * 2
    wait_until(lambda: not [q for name, q in broker.queues().items() if service in name and q.messages])


# The response queue


@pytest.mark.parametrize("body", MANGLED.values(), ids=MANGLED)
def test_a_mangled_reply_is_a_wrong_result_and_the_next_call_works(
    client: AmqpRpcClient,
    hostile_server: OriginalServer,
    new_server: NewServer,
    nothing_remains: Callable[[], None],
    body: bytes,
) -> None:
    result = client.defer.add(1, 2)

    hostile_server.answer(hostile_server.request(), body)

    with pytest.raises(WrongResult):
        result.get(timeout=20)
    new_server(add)
    assert client.call.add(1, 2) == 3
    nothing_remains()


@pytest.mark.parametrize("content_type", [*FOREIGN, b"\xff\xfe"], ids=lambda text: str(text[:30]))
def test_a_reply_of_a_foreign_content_type_is_a_wrong_result(
    client: AmqpRpcClient,
    hostile_server: OriginalServer,
    nothing_remains: Callable[[], None],
    content_type: Any,
) -> None:
    result = client.defer.add(1, 2)

    hostile_server.answer(hostile_server.request(), b'{"result": 3}', content_type=content_type)

    with pytest.raises(WrongResult, match="is not accepted"):
        result.get(timeout=20)
    nothing_remains()


@pytest.mark.parametrize("properties", ODD_BUT_READABLE.values(), ids=ODD_BUT_READABLE)
def test_odd_properties_do_not_keep_a_reply_from_arriving(
    client: AmqpRpcClient, hostile_server: OriginalServer, properties: dict[str, Any]
) -> None:
    result = client.defer.add(1, 2)

    hostile_server.answer(hostile_server.request(), b'{"result": 3}', **properties)

    assert result.get(timeout=20) == 3


@pytest.mark.parametrize(
    "properties",
    [
        {"message_id": None},
        {"message_id": ""},
        {"message_id": "of nobody"},
        {"message_id": b"\xff\xfe"},
        {"message_id": None, "correlation_id": "of nobody"},
        {"message_id": "x" * 255},
    ],
    ids=repr,
)
def test_a_reply_to_nobody_is_dropped(
    client: AmqpRpcClient,
    hostile_server: OriginalServer,
    nothing_remains: Callable[[], None],
    properties: dict[str, Any],
) -> None:
    result = client.defer.add(1, 2)
    request = hostile_server.request()

    for body in (b'{"result": "wrong"}', *MANGLED.values()):
        hostile_server.answer(request, body, **properties)
    hostile_server.answer(request, b'{"result": 3}')

    assert result.get(timeout=20) == 3
    nothing_remains()


def test_an_exception_with_arguments_of_any_kind_arrives_as_a_remote_exception(
    client: AmqpRpcClient, hostile_server: OriginalServer
) -> None:
    result = client.defer.add(1, 2)

    body = b'{"exception": {"type": "\\ud800 x", "args": [null, {"a": [1]}, NaN], "traceback": 5, "further": 1}}'
    hostile_server.answer(hostile_server.request(), body)

    result.wait(timeout=20)
    error: Any = result.exception
    assert (error.error_type, error.args[:2], error.remote_traceback) == ("\ud800 x", (None, {"a": [1]}), None)
