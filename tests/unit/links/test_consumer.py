"""The subscriptions, on a connection that agrees to everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amqp.exceptions import ChannelError, PreconditionFailed

from amphora.brokers import BrokerAddress
from amphora.links.consumer import Consumer
from amphora.links.subscription import Subscription
from amphora.links.topology import Topology
from amphora.settings import LinkSettings


class NotingChannel:
    """A channel that notes which queues are consumed from, and which consumers are cancelled."""

    #: None once the broker has closed it.
    connection: Any = "open"

    def __init__(self) -> None:
        self.consumers: dict[str, Callable[..., None]] = {}
        self.consumed: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.on_closed: Callable[[ChannelError], None]

    def basic_qos(self, prefetch_size: int, prefetch_count: int, apply_global: bool) -> None:
        """Agree."""

    def basic_consume(self, queue: str, consumer_tag: str, **options: Any) -> None:
        self.consumed[queue] = consumer_tag

    def basic_cancel(self, consumer_tag: str) -> None:
        self.cancelled.append(consumer_tag)


class NotingConnection:
    """A connection whose last channel is the one that is consumed on."""

    def __init__(self) -> None:
        self.deliveries: NotingChannel

    def channel(self) -> NotingChannel:
        self.deliveries = NotingChannel()
        return self.deliveries


@pytest.fixture
def consumer() -> Consumer:
    settings = LinkSettings((BrokerAddress("memory"),))
    return Consumer("test", settings, Topology([]), ack_on_delivery=False, on_fatal=pytest.fail)


def subscribe(consumer: Consumer, queue: str) -> Subscription:
    return consumer.subscribe(queue, prefetch=1, deliver=pytest.fail, own=True)


@pytest.fixture
def connection(consumer: Consumer) -> Any:
    connection = NotingConnection()
    consumer.attach(connection)
    yield connection
    consumer.detach()


def test_a_subscription_consumes_and_its_end_cancels_that(consumer: Consumer, connection: NotingConnection) -> None:
    channel = connection.deliveries
    subscription = subscribe(consumer, "Alice")
    consumer.work()
    tag = channel.consumed["Alice"]

    consumer.cancel(subscription)
    consumer.work()

    assert channel.cancelled == [tag]
    assert subscription.cancelled.is_set()


def test_a_new_channel_takes_up_every_subscription_once(consumer: Consumer, connection: NotingConnection) -> None:
    subscribe(consumer, "Alice")
    consumer.work()
    subscribe(consumer, "Bob")

    connection.deliveries.on_closed(PreconditionFailed("unknown delivery tag"))
    consumer.work()

    assert sorted(connection.deliveries.consumed) == ["Alice", "Bob"]
    assert len(connection.deliveries.consumers) == 2


@pytest.mark.parametrize("first", ["channel", "subscription"])
def test_a_subscription_that_ends_together_with_its_channel_is_cancelled(
    consumer: Consumer, connection: NotingConnection, first: str
) -> None:
    channel = connection.deliveries
    subscription = subscribe(consumer, "Alice")
    consumer.work()

    steps = [
        lambda: channel.on_closed(PreconditionFailed("unknown delivery tag")),
        lambda: consumer.cancel(subscription),
    ]
    for step in steps if first == "channel" else reversed(steps):
        step()
    consumer.work()

    assert subscription.cancelled.is_set()
    assert connection.deliveries is not channel
    assert connection.deliveries.consumed == {}
    assert connection.deliveries.cancelled == []
