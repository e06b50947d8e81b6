"""What the driver hands over of a message that a real broker delivers, with both transports."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from amqp.exceptions import PreconditionFailed

from amphora.driver import stock, transport
from amphora.driver.incoming_message import IncomingMessage
from tests.support.broker import Broker

TRANSPORTS = [pytest.param(transport.Transport, id="direct"), pytest.param(stock.Transport, id="stock")]


@contextmanager
def connected(broker: Broker, kind: type[transport.Transport]) -> Iterator[Any]:
    """Connect to a broker with one of the transports; this greenlet is the owner."""
    client = kombu.Connection(broker.url, transport=kind, heartbeat=30)
    connection = client.transport.establish_connection()
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture(params=TRANSPORTS)
def connection(request: pytest.FixtureRequest, broker: Broker) -> Iterator[Any]:
    with connected(broker, request.param) as made:
        yield made


@pytest.mark.parametrize("routing_key", ["", "key", "schlüssel"])
def test_a_delivery_says_where_it_was_published(
    connection: Any, unique_name: Callable[[str], str], routing_key: str
) -> None:
    exchange, queue = unique_name("exchange"), unique_name("queue")
    deliveries: list[IncomingMessage] = []
    channel = connection.channel()
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    channel.queue_declare(queue, exclusive=True)
    channel.queue_bind(queue, exchange)
    channel.consumers["tag"] = deliveries.append
    channel.basic_consume(queue, consumer_tag="tag")

    channel.publish(exchange, routing_key, {}, b"small", mandatory=True, at_once=True)
    channel.publish("", queue, {}, bytes(300_000), mandatory=True, at_once=True)
    while len(deliveries) < 2:
        connection.pump()

    assert [(each.exchange, each.routing_key) for each in deliveries] == [(exchange, routing_key), ("", queue)]


@pytest.mark.parametrize("before", ["", "a"])
def test_an_error_whose_text_is_cut_in_the_middle_of_a_character_is_understood(
    broker: Broker, connection: Any, before: str
) -> None:
    if broker.release >= (4, 3):
        pytest.skip("RabbitMQ 4.3 cannot send such a text itself: it ends the connection with an INTERNAL_ERROR")
    queue = before + "ü" * 100
    channel = connection.channel()
    channel.queue_declare(queue, exclusive=True)

    with pytest.raises(PreconditionFailed):
        channel.queue_declare(queue, exclusive=True, arguments={"x-expires": 100_000})

    assert connection.connected


def test_a_routing_key_that_is_not_utf_8_does_not_break_a_connection(
    connection: Any, unique_name: Callable[[str], str]
) -> None:
    exchange, queue = unique_name("exchange"), unique_name("queue")
    deliveries: list[IncomingMessage] = []
    returned: list[Any] = []
    channel = connection.channel()
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    channel.queue_declare(queue, exclusive=True)
    channel.queue_bind(queue, exchange)
    channel.consumers["tag"] = deliveries.append
    channel.basic_consume(queue, consumer_tag="tag")
    channel.on_return = lambda *what: returned.append(what)

    channel.publish(exchange, "\udcff", {}, b"", mandatory=True, at_once=True)
    channel.publish("", "\udcff", {"message_id": "id"}, b"", mandatory=True, at_once=True)
    while not (deliveries and returned):
        connection.pump()

    assert deliveries[0].routing_key == "\udcff"
    assert returned == [("312 NO_ROUTE", "", "\udcff", "id")]


def test_the_cancellation_of_a_consumer_whose_queue_is_deleted_is_answered(
    connection: Any, unique_name: Callable[[str], str]
) -> None:
    queue, cancelled = unique_name("queue"), []
    channel, other = connection.channel(), connection.channel()
    channel.queue_declare(queue)
    channel.basic_consume(queue, consumer_tag="tag", on_cancel=cancelled.append)

    other.queue_delete(queue)
    while not cancelled:
        connection.pump()

    # RabbitMQ 3.10 to 4.2 close the connection where the answer is `basic.cancel-ok`.
    channel.queue_declare(queue, exclusive=True)
    assert connection.connected
