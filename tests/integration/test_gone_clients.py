"""Replies that nobody takes hold nobody else up."""

import json
import logging
import time

import amqp
import gevent
import pytest

from amphora import AmqpRpcClient
from tests.integration.conftest import NewServer
from tests.integration.functions import Holding, Noting
from tests.integration.original import OriginalClient
from tests.support.broker import Broker
from tests.support.eventually import wait_until

REQUEST = json.dumps({"func": "note", "args": ["value"], "kwargs": {}}).encode()


@pytest.mark.parametrize("signed", [False, True])
def test_two_thousand_requests_of_clients_that_are_gone_hold_nobody_up(
    new_server: NewServer,
    client: AmqpRpcClient,
    note: Noting,
    amqp_channel: amqp.Channel,
    service: str,
    signed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = new_server(note, connected=True, concurrency=100)
    assert client.call.note("first") == "first"
    peer = OriginalClient(amqp_channel, service)
    reply_to = "gone" if signed else None
    for number in range(2000):
        peer.send(REQUEST, reply_to=reply_to or f"rpc_gone_{number}")

    began = time.monotonic()
    assert client.call(timeout=60).note("after") == "after"
    took = time.monotonic() - began

    wait_until(lambda: len(note.runs) == 2002, 60)
    wait_until(lambda: server.stats()["running"] == 0, 60)
    assert took < 10
    assert server.stats()["undeliverable"] == 2000
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) < 10


def test_a_full_response_queue_of_a_dead_client_does_not_stop_others(
    new_server: NewServer, client: AmqpRpcClient, note: Noting, amqp_channel: amqp.Channel, service: str
) -> None:
    server = new_server(note, connected=True, concurrency=4)
    peer = OriginalClient(amqp_channel, service)
    full = f"rpc_{service}_full_response"
    amqp_channel.queue_declare(
        full, durable=True, auto_delete=False, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    amqp_channel.queue_bind(full, f"rpc_{service}_response", "full")
    for _ in range(3):
        peer.send(REQUEST, reply_to="full")
    wait_until(lambda: len(note.runs) == 3)

    assert [client.call(timeout=20).note(number) for number in range(20)] == list(range(20))

    wait_until(lambda: server.stats()["running"] == 2)
    amqp_channel.queue_purge(full)
    wait_until(lambda: server.stats()["running"] < 2, 40)


def test_a_last_try_with_a_full_response_queue_does_not_keep_others_from_theirs(
    new_server: NewServer, broker: Broker, amqp_channel: amqp.Channel, service: str, note: Noting
) -> None:
    full = f"rpc_{service}_full_response"
    peer = OriginalClient(amqp_channel, service)
    amqp_channel.queue_declare(
        full, durable=True, auto_delete=False, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
    )
    amqp_channel.queue_bind(full, f"rpc_{service}_response", "full")
    for reply_to in ("full", "full", peer.uuid):
        peer.send(REQUEST, reply_to=reply_to)
    # Each of them comes again, and has its last try.
    with broker.channel() as other:
        for _ in range(3):
            wait_until(lambda: other.basic_get(f"rpc_{service}_request"))

    new_server(note, connected=True, delivery_limit=2)

    assert json.loads(peer.reply().body) == {"result": "value"}
    assert len(note.runs) == 3


def test_first_requests_run_beside_last_tries_that_wait(
    new_server: NewServer,
    client: AmqpRpcClient,
    broker: Broker,
    service: str,
    hold: Holding,
    note: Noting,
    alice: str,
) -> None:
    results = [client.defer.hold(number) for number in range(6)]
    with broker.channel() as other:
        for _ in results:
            wait_until(lambda: other.basic_get(f"rpc_{service}_request"))

    # As many as there are slots, and more.
    server = new_server(hold, note, connected=True, concurrency=3, delivery_limit=2)
    assert hold.began.wait(20)
    server.receive_from_queue(alice, block=False)

    assert [client.call(routing_key=alice, timeout=20).note(number) for number in range(5)] == list(range(5))

    assert len(hold.runs) == 1
    hold.let_go.set()
    assert [result.get(timeout=30) for result in results] == list(range(6))


class Yielding(logging.Handler):
    """Lets the event loop turn, and fails then."""

    def emit(self, record: logging.LogRecord) -> None:
        gevent.sleep(0.01)
        raise ValueError("a log server that is gone")


def test_a_log_handler_that_yields_and_fails_costs_no_slot(
    new_server: NewServer,
    client: AmqpRpcClient,
    note: Noting,
    amqp_channel: amqp.Channel,
    service: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler, logger = Yielding(), logging.getLogger("amphora")
    logger.addHandler(handler)
    request.addfinalizer(lambda: logger.removeHandler(handler))
    server = new_server(note, connected=True, concurrency=2)
    peer = OriginalClient(amqp_channel, service)
    for number in range(20):
        peer.send(REQUEST, reply_to=f"rpc_gone_{number}")
        peer.send(b"not JSON", reply_to=None)

    assert [client.call(timeout=20).note(number) for number in range(5)] == list(range(5))

    wait_until(lambda: server.stats()["running"] == 0, 20)
    assert server.stats()["undeliverable"] == 20


def test_a_reply_that_is_larger_than_all_that_is_remembered_is_not_made_twice(
    new_server: NewServer, client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str
) -> None:
    runs: list[int] = []

    def lengthen(size: int) -> str:
        runs.append(size)
        return "x" * size

    server = new_server(lengthen, connected=True, remember_bytes=10_000)
    peer = OriginalClient(amqp_channel, service)
    body = json.dumps({"func": "lengthen", "args": [20_000], "kwargs": {}}).encode()
    for _ in range(2):
        peer.send(body, message_id="the same")
        wait_until(lambda: server.stats()["requests"] == 1 and server.stats()["running"] == 0)

    wait_until(lambda: server.stats()["duplicates"] == 1)
    assert runs == [20_000]
    assert client.call.lengthen(1) == "x"
