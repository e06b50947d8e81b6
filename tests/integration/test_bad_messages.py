"""One bad message fails alone, requests keep their order, whatever the broker says of some of them."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult

from amphora import AmqpRpcClient, MessageRejected
from amphora.core.messages import OutgoingMessage
from amphora.links.own_queue import OwnQueue
from amphora.links.queue_types import Form
from amphora.logs.note_log import flush_notes
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def publish(client: AmqpRpcClient, properties: dict[str, Any], exchange: str) -> AsyncResult[Any]:
    """Publish a message of any properties through a client's outbox; return its outcome."""
    outcome: AsyncResult[Any] = AsyncResult()
    message = OutgoingMessage(exchange, "", properties, b"", lambda _, error: outcome.set(error))
    client._publisher.publish_now(message)
    return outcome


# What the broker closes a channel for.
REFUSED = {"delivery_mode": 2, "expiration": "no number", "message_id": "bad"}


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
@pytest.mark.expects_errors("the broker refuses to take a message")
def test_one_message_that_the_broker_refuses_fails_alone_among_four_hundred_calls(
    service: str, queue_type: str, new_client: NewClient, new_server: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_server(abs, connected=True, queue_type=queue_type)
    client = new_client(queue_type=queue_type)
    assert client.call.abs(-1) == 1
    results = []
    for number in range(400):
        if number == 297:
            bad = publish(client, dict(REFUSED), f"rpc_{service}_request")
        results.append(client.defer(wait_publish=False).abs(-number))

    assert [result.get(timeout=60) for result in results] == list(range(400))
    assert isinstance(bad.get(timeout=10), MessageRejected)
    assert client.call.abs(-5) == 5
    assert client.stats()["reconnects"] == 0
    assert server.stats()["reconnects"] == 0
    flush_notes(5)
    assert "refuses to take a message" in caplog.text
    caplog.clear()


@pytest.mark.expects_errors("the broker refuses to take a message")
def test_several_messages_that_the_broker_refuses_fail_alone(
    service: str, new_client: NewClient, new_server: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    new_server(abs, connected=True)
    client = new_client()
    assert client.call.abs(-1) == 1
    results, bad = [], []
    for number in range(100):
        if number % 33 == 0:
            bad.append(publish(client, dict(REFUSED), f"rpc_{service}_request"))
        results.append(client.defer(wait_publish=False).abs(-number))

    assert [result.get(timeout=60) for result in results] == list(range(100))
    assert [type(each.get(timeout=10)) for each in bad] == [MessageRejected] * 4
    caplog.clear()


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"message_id": "x" * 300}, id="a text that is too long"),
        pytest.param({"headers": {"h": 2**70}}, id="a number that is too large"),
        pytest.param({"headers": {"h": object()}}, id="a value that AMQP has no type for"),
        pytest.param({"headers": {"h": "x" * 200_000}}, id="headers larger than a frame"),
        pytest.param({"timestamp": -1}, id="a negative timestamp"),
    ],
)
@pytest.mark.parametrize("stock", [False, True])
def test_a_message_that_cannot_be_encoded_fails_alone_and_shifts_no_number(
    service: str,
    stock: bool,
    properties: dict[str, Any],
    new_client: NewClient,
    new_server: NewServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if stock:
        monkeypatch.setenv("AMPHORA_STOCK_TRANSPORT", "1")
    new_server(abs, connected=True)
    client = new_client()
    assert client.call.abs(-1) == 1

    bad = [publish(client, dict(properties), f"rpc_{service}_request") for _ in range(3)]
    results = [client.defer(wait_publish=False).abs(-number) for number in range(50)]

    assert [type(each.get(timeout=10)) for each in bad] == [MessageRejected] * 3
    assert [result.get(timeout=20) for result in results] == list(range(50))
    # Each of them has been confirmed, too, and under its own number.
    wait_until(lambda: client.stats()["outbox"] == 0, message="all are confirmed")
    outbox = client._publisher._outbox
    assert outbox.unexpected == 0
    assert client.stats()["reconnects"] == 0


def test_a_command_that_fails_with_anything_ends_as_its_own_error(new_client: NewClient, new_server: NewServer) -> None:
    new_server(abs, connected=True)
    client = new_client()
    assert client.wait_connected(20)

    def declare(channel: Any) -> None:
        channel.queue_declare("q", arguments={"x-expires": 2**70})

    result = client._publisher.run(declare)

    with pytest.raises(Exception, match=r"trouble with the broker|cannot be encoded"):
        result.get(timeout=10)
    assert client.call.abs(-1) == 1
    assert client.stats()["reconnects"] == 0


@pytest.mark.expects_errors("int too large to convert")
def test_a_service_whose_topology_cannot_be_encoded_ends_with_the_error(service: str, broker: Broker) -> None:
    client = AmqpRpcClient(service, broker_url=broker.url)
    for queue in client._publisher._topology._fixed:
        if isinstance(queue, OwnQueue):
            queue.forms = [Form({"x-expires": 2**70}, "classic")]

    with pytest.raises(Exception, match=r"trouble with the broker|cannot be encoded"):
        gevent.spawn(client.serve, nowait=False).get(timeout=20)
