"""Header tables that no library writes, through a real broker: none breaks a connection or is lost on its way."""

import json
import os
from random import Random
from typing import Any
from uuid import uuid4

import amqp
import pytest

from amphora import AmqpRpcServer, DeadLetters
from amphora.driver import stock, transport
from amphora.driver.frames import parse_header
from chaos.header_tables import header_of, random_table
from tests.integration.conftest import NewClient, NewServer
from tests.integration.original import OriginalClient, OriginalServer, taken
from tests.integration.test_driver import connected
from tests.support.broker import Broker
from tests.support.eventually import wait_until

GOOD = b'{"func": "add", "args": [1, 2], "kwargs": {}}'

#: Random tables for each test (settable); `python -m chaos.header_tables` gives the parser many more.
COUNT = int(os.environ.get("HEADER_TABLES", "200"))

NANOSECONDS = b"\x02atT" + (2**62).to_bytes(8, "big")


class Raw(amqp.Message):
    """A message whose header is given as bytes.

    Args:
        body: The body.
        header: The payload of its content header.
    """

    def __init__(self, body: bytes, header: bytes) -> None:
        super().__init__(body)
        self.header = header

    def _serialize_properties(self) -> bytes:
        return self.header[12:]


def add(x: int, y: int) -> int:
    return x + y


def tables(seed: int) -> list[bytes]:
    rng = Random(seed)
    return [NANOSECONDS, *(random_table(rng) for _ in range(COUNT))]


@pytest.fixture(params=["direct", "stock"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[transport.Transport]:
    """Have all endpoints of a test use one transport."""
    monkeypatch.setenv("AMPHORA_STOCK_TRANSPORT", "1" if request.param == "stock" else "0")
    return stock.Transport if request.param == "stock" else transport.Transport


@pytest.fixture
def peer(amqp_channel: amqp.Channel, service: str) -> OriginalClient:
    return OriginalClient(amqp_channel, service)


def never_reconnected(*endpoints: Any) -> bool:
    return all(each.stats()["reconnects"] == 0 for each in endpoints)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_requests_with_any_headers_do_not_break_a_server(
    new_server: NewServer, amqp_channel: amqp.Channel, service: str, new_client: NewClient, queue_type: str
) -> None:
    server = new_server(add, queue_type=queue_type, connected=True)
    client = new_client(queue_type=queue_type)
    exchange = f"rpc_{service}_request"

    for table in tables(1):
        amqp_channel.basic_publish(Raw(GOOD, header_of(table, message_id=str(uuid4()))), exchange, "")

    assert client.call.add(1, 2) == 3
    wait_until(lambda: server.stats()["requests"] + server.stats()["expired"] == COUNT + 2)
    assert never_reconnected(server)


def test_replies_with_any_headers_do_not_break_a_client(
    new_client: NewClient, amqp_channel: amqp.Channel, service: str
) -> None:
    client = new_client()
    hostile = OriginalServer(amqp_channel, service)

    for table in tables(2):
        result = client.defer.add(1, 2)
        request = hostile.request()
        header = header_of(table, message_id=request.properties["message_id"], reply_to="")
        amqp_channel.basic_publish(Raw(b'{"result": 3}', header), hostile.response_exchange, client.uuid)
        assert result.get(timeout=20) == 3

    assert never_reconnected(client)


def test_returned_messages_with_any_headers_do_not_break_a_connection(
    broker: Broker, kind: type[transport.Transport]
) -> None:
    returned: list[str | None] = []
    sent = []
    with connected(broker, kind) as connection:
        channel = connection.channel()
        channel.on_return = lambda *what: returned.append(what[-1])
        for number, table in enumerate(tables(3)):
            header = header_of(table, message_id=f"{number}")
            _, properties = parse_header(header, 0, len(header))
            channel.publish("", "no such queue", properties, b"", mandatory=True, at_once=False)
            sent.append(f"{number}")
        while len(returned) < len(sent):
            connection.pump()

    assert returned == sent


def test_dead_letters_with_any_headers_are_read_and_given_back(
    broker: Broker, new_server: NewServer, amqp_channel: amqp.Channel, service: str, peer: OriginalClient
) -> None:
    server = new_server(add, delivery_limit=3, connected=True)
    dead = f"rpc_{service}_dead"
    for table in tables(4):
        header = header_of(table, message_id=str(uuid4()), reply_to="")
        amqp_channel.basic_publish(Raw(b"not JSON", header), peer.request_exchange, "")
    wait_until(lambda: broker.queues()[dead].messages + server.stats()["expired"] == COUNT + 1)
    server.stop()
    kept = broker.queues()[dead].messages

    with DeadLetters(service, broker_url=broker.url) as letters:
        for letter in list(letters.letters()):
            letters.requeue(letter)

    queues = broker.queues()
    assert (queues[dead].messages, queues[peer.request_exchange].messages) == (0, kept)
    assert never_reconnected(server)


@pytest.mark.parametrize("delivery_limit", [0, 3])
@pytest.mark.expects_errors("it is set aside", "unexpected error, connecting anew")
def test_a_message_that_breaks_three_connections_is_set_aside(
    monkeypatch: pytest.MonkeyPatch,
    new_server: NewServer,
    amqp_channel: amqp.Channel,
    peer: OriginalClient,
    service: str,
    delivery_limit: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    read = parse_header
    failed: list[None] = []

    def broken(data: bytes, start: int, end: int) -> tuple[int, dict[str, Any]]:
        """Fail at some messages, as a parser does that somebody has got wrong."""
        if b"x-boom" in data[start:end]:
            failed.append(None)
            raise OverflowError("boom")
        return read(data, start, end)

    monkeypatch.setattr(transport, "parse_header", broken)
    monkeypatch.setattr(stock, "parse_header", broken)
    server: AmqpRpcServer = new_server(add, delivery_limit=delivery_limit, connected=True)

    peer.send(GOOD, application_headers={"x-boom": 1}, message_id="poison")

    wait_until(lambda: server.stats()["dropped"] == 1)
    assert peer.call("add", 1, 2) == {"result": 3}
    assert len(failed) == 3
    assert any("is set aside" in record.getMessage() for record in caplog.records)
    if delivery_limit:
        assert json.loads(taken(amqp_channel, f"rpc_{service}_dead").body) == json.loads(GOOD)
    else:
        assert amqp_channel.queue_declare(peer.request_exchange, passive=True).message_count == 0
