"""`receive_from_queue` on a consumer that only notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent import Timeout
from gevent.event import Event

from amphora.links.subscription import Subscription
from amphora.server.receiver import Receiver
from amphora.server.receiving import Receiving
from tests.support.eventually import wait_until
from tests.unit.server.handled import Notes, handler_of


class NotingConsumer(Notes):
    """Notes subscriptions, too.

    Attributes:
        subscriptions: Those that are not cancelled.
        cancelled: How many were.
        own: Whether the last one was to the server's own queue.
    """

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: list[Subscription] = []
        self.cancelled = 0
        self.own = False

    def subscribe(self, queue: str, *, prefetch: int, deliver: Callable[..., None], own: bool) -> Subscription:
        subscription = Subscription(queue, prefetch, deliver, own=own)
        self.subscriptions.append(subscription)
        self.own = own
        return subscription

    def cancel(self, subscription: Subscription) -> None:
        self.subscriptions.remove(subscription)
        self.cancelled += 1
        subscription.cancelled.set()


@pytest.fixture
def consumer() -> NotingConsumer:
    return NotingConsumer()


@pytest.fixture
def receiving(consumer: NotingConsumer) -> Receiving:
    given: Any = consumer
    handler = handler_of(consumer, abs)
    return Receiving(given, handler, queue="rpc_math_request", control=None, concurrency=5, stopped=Event())


def receive(receiving: Receiving, receiver: Receiver, **options: Any) -> int | None:
    return receiving.receive(
        receiver, "rpc_Alice_request", **{"timeout": None, "block": True, "wait_for_queue": True, **options}
    )


def test_a_server_takes_from_its_own_queue_once(receiving: Receiving, consumer: NotingConsumer) -> None:
    for _ in range(2):
        receiving.start()

    (own,) = consumer.subscriptions
    assert (own.queue, own.prefetch, consumer.own) == ("rpc_math_request", 5, True)


def test_it_receives_as_many_as_were_asked_for_and_says_how_many(
    receiving: Receiving, consumer: NotingConsumer
) -> None:
    result = gevent.spawn(receive, receiving, Receiver("Alice", 2))
    wait_until(lambda: consumer.subscriptions)
    (subscription,) = consumer.subscriptions
    assert subscription.prefetch == 2

    for _ in range(3):
        subscription.deliver(consumer.delivery("abs", -1))
    for _ in range(2):
        wait_until(lambda: consumer.sent)
        consumer.decide()

    assert result.get(timeout=10) == 2
    assert sorted(consumer.settled) == [(1, "ack"), (2, "ack"), (3, "give back")]
    assert consumer.subscriptions == []


def test_what_was_lost_before_it_began_is_made_up_for(receiving: Receiving, consumer: NotingConsumer) -> None:
    result = gevent.spawn(receive, receiving, Receiver("Alice", 1))
    wait_until(lambda: consumer.subscriptions)
    consumer.subscriptions[0].deliver(consumer.delivery("abs", -1))
    consumer.lose_channel()

    wait_until(lambda: consumer.cancelled >= 1 and consumer.subscriptions)
    consumer.subscriptions[0].deliver(consumer.delivery("abs", -1))
    wait_until(lambda: consumer.sent)
    consumer.decide()

    assert result.get(timeout=10) == 1


@pytest.mark.parametrize("max_calls", [None, 1])
def test_after_its_time_it_takes_no_more(receiving: Receiving, consumer: NotingConsumer, max_calls: int | None) -> None:
    receiver = Receiver("Alice", max_calls)

    if max_calls is None:
        assert receive(receiving, receiver, timeout=0.01) == 0
    else:
        with pytest.raises(Timeout):
            receive(receiving, receiver, timeout=0.01)

    assert consumer.subscriptions == []
    assert receiver.timed_out


def test_the_receivers_of_one_label_are_closed(receiving: Receiving, consumer: NotingConsumer) -> None:
    results = {label: gevent.spawn(receive, receiving, Receiver(label, None)) for label in ("Alice", "Bob")}
    wait_until(lambda: len(consumer.subscriptions) == 2)

    receiving.close("Alice")

    assert results["Alice"].get(timeout=10) == 0
    assert len(consumer.subscriptions) == 1
    receiving.close_all()
    assert results["Bob"].get(timeout=10) == 0


def test_a_queue_that_has_to_exist_and_does_not_is_an_error(receiving: Receiving, consumer: NotingConsumer) -> None:
    result = gevent.spawn(receive, receiving, Receiver("Alice", None), wait_for_queue=False)
    wait_until(lambda: consumer.subscriptions)
    subscription = consumer.subscriptions[0]
    subscription.missing = True
    subscription.settled.set()

    with pytest.raises(ValueError, match="does not exist"):
        result.get(timeout=10)
    assert consumer.subscriptions == []
