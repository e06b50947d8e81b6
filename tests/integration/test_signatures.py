"""Signed requests and replies over RabbitMQ: what is refused and how its sender is told, and what keeps working."""

import logging
from collections.abc import Callable
from time import time
from typing import Any

import amqp
import pytest

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    DeadLettered,
    IgnoreRequest,
    NoResult,
    WrongRequest,
    current_request,
)
from amphora.protocol.signatures import Signatures
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding, Noting
from tests.integration.original import OriginalClient, taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy

KEY, OTHER = "the key that they share", b"a key of somebody else"
SIGNED = {"signing_keys": [KEY]}
BODY = b'{"func": "note", "args": ["forged"], "kwargs": {}}'


@pytest.fixture
def client(new_client: NewClient) -> AmqpRpcClient:
    """A client that signs."""
    return new_client(**SIGNED)


@pytest.fixture
def server(new_server: NewServer, note: Noting) -> AmqpRpcServer:
    """A server that signs."""
    return new_server(note, connected=True, **SIGNED)


class Foreigner(OriginalClient):
    """Somebody on the broker who publishes what it likes."""

    def send_signed(self, service: str, *, timestamp: int, **properties: Any) -> str:
        """Publish a request with the right key."""
        given = {"reply_to": self.uuid, "message_id": "1", "timestamp": timestamp, **properties}
        signed = Signatures([KEY], service=service).sign_request(given, BODY, routing_key="")
        return self.send(BODY, application_headers=signed.pop("headers"), **signed)

    def send_again(self, message: amqp.Message, routing_key: str = "") -> None:
        """Publish a request as another program has sent it."""
        self.channel.basic_publish(message, self.request_exchange, routing_key)


@pytest.fixture
def foreigner(amqp_channel: amqp.Channel, service: str) -> Foreigner:
    return Foreigner(amqp_channel, service)


def queue_of(service: str) -> str:
    return f"rpc_{service}_request"


# What works.


def test_calls_work_as_without_keys(server: AmqpRpcServer, client: AmqpRpcClient) -> None:
    results = [client.defer.note({"n": n}) for n in range(20)]

    assert [result.get() for result in results] == [{"n": n} for n in range(20)]
    with pytest.raises(WrongRequest, match="No function missing defined"):
        client.call.missing()
    assert server.stats()["untrusted"] == client.stats()["untrusted"] == 0


def test_deadlines_travel_signed(new_server: NewServer, client: AmqpRpcClient) -> None:
    def remaining() -> float | None:
        request = current_request()
        return None if request is None else request.remaining

    new_server(remaining, **SIGNED)

    assert 0 < client.call(expires=10).remaining() <= 10


def test_broadcasts_work_too(new_server: NewServer, new_client: NewClient, note: Noting) -> None:
    new_server(note, cls=AmqpRpcFanoutServer, connected=True, **SIGNED)

    assert new_client(cls=AmqpRpcFanoutClient, **SIGNED).call.note("to all") == "to all"


def test_labels_work_too(server: AmqpRpcServer, client: AmqpRpcClient, label: str) -> None:
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)

    assert client.call(routing_key=label).note("labelled") == "labelled"


def test_it_works_over_memory_too(service: str, note: Noting) -> None:
    with AmqpRpcServer(service, broker_url="memory://", **SIGNED) as server:
        server.add_function(note)
        server.serve()
        with AmqpRpcClient(service, broker_url="memory://", timeout=20, **SIGNED) as client:
            assert client.call.note() == "done"
        with (
            AmqpRpcClient(service, broker_url="memory://", timeout=20) as unsigned,
            pytest.raises(WrongRequest, match="not signed"),
        ):
            unsigned.call.note("unsigned")

    assert note.runs == ["done"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param([OTHER], [OTHER, KEY], id="the servers accept the new key too"),
        pytest.param([OTHER, KEY], [KEY, OTHER], id="all accept both, and the servers sign with the new one"),
        pytest.param([KEY, OTHER], [KEY], id="the servers have the new one only"),
    ],
)
def test_keys_are_changed_while_clients_and_servers_run(
    new_server: NewServer, new_client: NewClient, note: Noting, ours: list[Any], theirs: list[Any]
) -> None:
    new_server(note, signing_keys=theirs)

    assert new_client(signing_keys=ours).call.note() == "done"


# Requests that are refused.


def test_an_unsigned_request_is_refused_and_counted(server: AmqpRpcServer, new_client: NewClient, note: Noting) -> None:
    with pytest.raises(WrongRequest, match="The request is refused: it is not signed"):
        new_client().call.note()

    assert note.runs == []
    assert server.stats()["untrusted"] == 1
    assert server.stats()["wrong_requests"] == server.stats()["requests"] == 0


def test_with_another_key_neither_side_believes_the_other(
    server: AmqpRpcServer, new_client: NewClient, note: Noting
) -> None:
    client = new_client(signing_keys=[OTHER])
    assert client.wait_connected(20)

    with pytest.raises(
        NoResult, match=r"1 reply was ignored: .* it is not signed \(it claims: WrongRequest.*another key"
    ):
        client.call(timeout=2).note()

    assert note.runs == []
    assert server.stats()["untrusted"] == client.stats()["untrusted"] == 1


@pytest.mark.parametrize("altered", ["body", "reply_to", "headers"])
def test_a_request_altered_on_the_way_is_refused(
    new_server: NewServer, client: AmqpRpcClient, foreigner: Foreigner, service: str, note: Noting, altered: str
) -> None:
    client.defer(expires=20).note("mine")
    message = taken(foreigner.channel, queue_of(service))
    if altered == "body":
        message.body = message.body.replace(b"mine", b"ours")
    elif altered == "reply_to":
        message.properties["reply_to"] = foreigner.uuid
    else:
        del message.properties["application_headers"]["x-amphora-deadline"]
    foreigner.send_again(message)

    server = new_server(note, **SIGNED)

    wait_until(lambda: server.stats()["untrusted"] == 1)
    assert note.runs == []


@pytest.mark.parametrize("cls", ["altered", "garbage", "too old"])
def test_the_refusal_of_a_copy_does_not_end_the_call_of_the_genuine_request(
    new_server: NewServer, client: AmqpRpcClient, foreigner: Foreigner, service: str, note: Noting, cls: str
) -> None:
    result = client.defer.note("mine")
    message = taken(foreigner.channel, queue_of(service))
    genuine = message.body, dict(message.properties)
    if cls == "altered":
        message.body = message.body.replace(b"mine", b"ours")
    elif cls == "garbage":
        message = amqp.Message(b"garbage", message_id=genuine[1]["message_id"], reply_to=client.uuid)
    foreigner.send_again(message)
    server = new_server(note, **SIGNED)
    if cls == "too old":
        server._handler._signatures._clock = lambda: time() + 10_000  # type: ignore[union-attr]

    wait_until(lambda: server.stats()["untrusted"] == client.stats()["untrusted"] == 1)

    assert not result.ready()
    assert note.runs == []
    server._handler._signatures._clock = time  # type: ignore[union-attr]
    foreigner.send_again(amqp.Message(genuine[0], **genuine[1]))
    assert result.get() == "mine"


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_request_that_is_moved_to_the_control_queues_is_not_answered(
    new_server: NewServer,
    client: AmqpRpcClient,
    foreigner: Foreigner,
    service: str,
    broker: Broker,
    note: Noting,
    version: str,
) -> None:
    result = client.defer.note("mine")
    message = taken(foreigner.channel, queue_of(service))
    if version == "1":
        # As a client of 1.0.0a1 sends it, or somebody who takes the better signature off.
        del message.properties["application_headers"]["x-amphora-signature-2"]
    server = new_server(note, connected=True, **SIGNED)
    control = f"rpc_{service}_{server.uuid}_control"
    wait_until(lambda: control in broker.queues())

    foreigner.send_again(message, "amphora.control")
    foreigner.send_again(message)

    assert result.get() == "mine"
    # The control queue is in order: this question comes after the other one.
    assert [each.uuid for each in client.inspect.ping(limit=1)] == [server.uuid]
    # What is untrusted is refused unsigned; the rest not at all.
    wait_until(lambda: client.stats()["untrusted"] == (1 if version == "2" else 0))
    assert client.stats()["late_replies"] == 0


@pytest.mark.parametrize("strict", [False, True])
def test_a_request_that_is_moved_to_another_label_does_not_run(
    new_server: NewServer, client: AmqpRpcClient, foreigner: Foreigner, service: str, label: str, strict: bool
) -> None:
    client.create_new_request_queue(label)
    runs: list[str] = []
    client.defer.work()
    message = taken(foreigner.channel, queue_of(service))
    if strict:
        del message.properties["application_headers"]["x-amphora-signature-2"]
    versions = (2,) if strict else (1, 2)
    server = new_server(connected=True, signature_versions=versions, **SIGNED)
    server.add_function(lambda: runs.append("moved"), name="work")
    server.receive_from_queue(label, block=False)

    foreigner.send_again(message, label)

    wait_until(lambda: server.stats()["untrusted"] == 1)
    assert runs == []


def test_a_header_that_decides_something_cannot_be_slipped_in(
    new_server: NewServer, client: AmqpRpcClient, foreigner: Foreigner, service: str, note: Noting
) -> None:
    client.defer.note("mine")
    message = taken(foreigner.channel, queue_of(service))
    message.properties["application_headers"]["x-amphora-deadline"] = int(1000 * time()) + 3_600_000
    foreigner.send_again(message)

    server = new_server(note, **SIGNED)

    wait_until(lambda: server.stats()["untrusted"] == 1)
    assert note.runs == []


# Clients and servers of release 1.0.0a1, which know version 1 only.


def test_a_client_of_1_0_0a1_is_served(new_server: NewServer, new_client: NewClient, note: Noting) -> None:
    server = new_server(note, connected=True, **SIGNED)
    client = new_client(signature_versions=(1,), **SIGNED)

    assert client.call.note() == "done"
    wait_until(lambda: [each.uuid for each in client.inspect.ping(limit=1)] == [server.uuid])
    assert server.stats()["untrusted"] == client.stats()["untrusted"] == 0


def test_a_server_of_1_0_0a1_serves(new_server: NewServer, new_client: NewClient, note: Noting) -> None:
    new_server(note, connected=True, signature_versions=(1,), **SIGNED)
    client = new_client(**SIGNED)

    assert client.call.note() == "done"
    assert client.stats()["untrusted"] == 0


def test_a_server_that_has_left_version_1_behind_refuses_it(
    new_server: NewServer, new_client: NewClient, note: Noting
) -> None:
    new_server(note, connected=True, signature_versions=(2,), **SIGNED)

    assert new_client(signature_versions=(2,), **SIGNED).call.note() == "done"
    assert new_client(**SIGNED).call.note() == "done"
    with pytest.raises(NoResult, match="a signature of version 1 only"):
        new_client(signature_versions=(1,), **SIGNED).call(timeout=2).note()


@pytest.mark.parametrize(("age", "why"), [(1000, "1000 s ago"), (-1000, "s ahead of this server's clock")])
def test_a_request_outside_of_the_window_is_refused(
    server: AmqpRpcServer, foreigner: Foreigner, service: str, note: Noting, age: int, why: str
) -> None:
    foreigner.send_signed(service, timestamp=int(time()) - age)

    message = foreigner.reply()
    reply = message.body.decode()

    assert "application_headers" not in message.properties
    assert "WrongRequest" in reply
    assert "signature_window is 300 s" in reply
    assert note.runs == []
    assert server.stats()["untrusted"] == 1


@pytest.mark.parametrize("window", [2000, None])
def test_the_window_can_be_set(
    new_server: NewServer, foreigner: Foreigner, service: str, note: Noting, window: float | None
) -> None:
    new_server(note, connected=True, signature_window=window, **SIGNED)

    foreigner.send_signed(service, timestamp=int(time()) - 1000)

    assert foreigner.reply().body.decode() in {'{"result": "forged"}', '{"result":"forged"}'}


def test_a_request_that_is_played_again_does_not_run_again(
    new_server: NewServer, client: AmqpRpcClient, foreigner: Foreigner, service: str, note: Noting
) -> None:
    result = client.defer.note("once")
    message = taken(foreigner.channel, queue_of(service))
    for _ in range(3):
        foreigner.send_again(message)

    server = new_server(note, **SIGNED)

    assert result.get() == "once"
    wait_until(lambda: server.stats()["duplicates"] == 2)
    assert note.runs == ["once"]


def test_a_forged_request_with_the_id_of_another_does_not_pass_for_it(
    new_server: NewServer, client: AmqpRpcClient, foreigner: Foreigner, service: str, note: Noting
) -> None:
    client.defer.note("mine")
    message = taken(foreigner.channel, queue_of(service))
    signed = message.properties.pop("application_headers")
    foreigner.send_again(message)
    message.properties["application_headers"] = signed
    foreigner.send_again(message)

    server = new_server(note, **SIGNED)

    wait_until(lambda: note.runs == ["mine"])
    assert server.stats()["untrusted"] == 1


def test_a_refused_request_without_reply_to_is_dropped_and_is_no_dead_letter(
    new_server: NewServer, foreigner: Foreigner, broker: Broker, service: str
) -> None:
    server = new_server(connected=True, delivery_limit=2, **SIGNED)

    foreigner.send(BODY, reply_to=None)

    wait_until(lambda: server.stats()["untrusted"] == 1)
    wait_until(lambda: broker.queues()[queue_of(service)].messages == 0)
    assert server.stats()["running"] == 0
    assert broker.queues()[f"rpc_{service}_dead"].messages == 0


def test_a_receiver_does_not_count_what_is_refused(
    new_server: NewServer, client: AmqpRpcClient, new_client: NewClient, label: str, note: Noting
) -> None:
    client.create_new_request_queue(label)
    unsigned = new_client().defer(routing_key=label).note("unsigned")
    signed = client.defer(routing_key=label).note("signed")

    assert new_server(note, **SIGNED).receive_from_queue(label, max_calls=1, timeout=20) == 1

    assert signed.get() == "signed"
    with pytest.raises(WrongRequest):
        unsigned.get()


# Replies that are refused.


def test_an_unsigned_reply_is_refused_and_counted(new_server: NewServer, client: AmqpRpcClient, note: Noting) -> None:
    new_server(note)

    with pytest.raises(NoResult, match="1 reply was ignored: The reply is refused: it is not signed"):
        client.call(timeout=2).note()

    assert client.stats()["untrusted"] == 1
    assert client.stats()["replies"] == 0


def test_a_reply_altered_on_the_way_is_refused(
    new_server: NewServer, new_client: NewClient, foreigner: Foreigner, service: str, note: Noting
) -> None:
    uuid = f"{service}-client"
    client = new_client(uuid=uuid, **SIGNED)
    result = client.defer.note("1000")
    client.stop()
    new_server(note, **SIGNED)
    message = taken(foreigner.channel, f"rpc_{service}_{uuid}_response")
    message.body = message.body.replace(b"1000", b"2000")
    genuine = message.body.replace(b"2000", b"1000")
    forged = amqp.Message(b'{"result": "forged"}', message_id=message.properties["message_id"])
    for each in (message, forged, amqp.Message(genuine, **message.properties)):
        foreigner.channel.basic_publish(each, f"rpc_{service}_response", uuid)

    client.serve()

    assert result.get() == "1000"
    assert client.stats()["untrusted"] == 2


def test_a_client_without_keys_reads_signed_replies(new_server: NewServer, new_client: NewClient) -> None:
    new_server(**SIGNED)

    with pytest.raises(WrongRequest):
        new_client().call.note()


# What comes again.


def test_a_request_whose_server_lost_its_connection_comes_again(
    start_proxy: Callable[[Broker], Proxy], new_server: NewServer, client: AmqpRpcClient, hold: Holding, broker: Broker
) -> None:
    proxy = start_proxy(broker)
    server = new_server(hold, broker_url=proxy.url, **SIGNED)
    result = client.defer.hold()
    assert hold.began.wait(20)
    # From now on it is too old for any request that was not begun.
    server._handler._signatures._clock = lambda: time() + 10_000  # type: ignore[union-attr]

    proxy.cut()
    wait_until(lambda: server.stats()["duplicates"] == 1, timeout=20)
    hold.let_go.set()

    assert result.get() == "done"
    assert hold.runs == ["done"]
    assert server.stats()["untrusted"] == 0


def test_requests_that_are_sent_again_after_a_reconnect_are_accepted(
    start_proxy: Callable[[Broker], Proxy], server: AmqpRpcServer, new_client: NewClient, broker: Broker
) -> None:
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url, **SIGNED)
    assert client.wait_connected(20)
    proxy.stall()
    results = [client.defer(wait_publish=False, expires=20).note(n) for n in range(10)]

    proxy.cut()
    proxy.resume()

    assert [result.get() for result in results] == list(range(10))
    assert server.stats()["untrusted"] == 0


def test_a_request_that_is_ignored_and_given_back_is_accepted_again(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    runs: list[str] = []

    def work() -> str:
        runs.append("work")
        if len(runs) < 4:
            raise IgnoreRequest
        return "done"

    server = new_server(work, ignore_delay=0.01, **SIGNED)

    assert client.call.work() == "done"
    assert server.stats()["untrusted"] == 0


def test_a_dead_letter_is_told_signed_and_accepted_when_it_is_put_back(
    new_server: NewServer, client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str
) -> None:
    runs: list[str] = []

    def work() -> str:
        runs.append("work")
        if len(runs) < 3:
            raise IgnoreRequest
        return "done"

    server = new_server(work, delivery_limit=2, ignore_delay=0.01, **SIGNED)
    with pytest.raises(DeadLettered):
        client.call.work()
    message = taken(amqp_channel, f"rpc_{service}_dead")

    headers = message.properties["application_headers"]
    amqp_channel.basic_publish(message, f"rpc_{service}_request", headers["x-amphora-routing-key"])

    wait_until(lambda: client.stats()["late_replies"] == 1)
    assert len(runs) == 3
    assert server.stats()["untrusted"] == 0


# Keys are secret.


def test_no_key_is_shown(
    server: AmqpRpcServer, new_client: NewClient, foreigner: Foreigner, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "amphora"):
        client = new_client(signing_keys=[OTHER])
        with pytest.raises(NoResult) as caught:
            client.call(timeout=2).note()
    shown = f"{client!r} {server!r} {caught.value} {client.stats()} {caplog.text}"

    assert "it was altered, or signed with another key" in caplog.text
    for key in (KEY, OTHER.decode()):
        assert key not in shown


@pytest.mark.parametrize("cls", [AmqpRpcClient, AmqpRpcServer])
def test_a_short_key_is_refused_at_once(cls: Any) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        cls("math", signing_keys=["too short"])
