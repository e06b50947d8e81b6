"""A bounded outbox while the broker is away: full is said, order is kept, nothing is dropped."""

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from amphora import AmqpRpcClient, Backlogged
from tests.acceptance.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy

StartProxy = Callable[[Broker], Proxy]


class Journal:
    """A function that writes down the order in which it is run."""

    __name__ = "write"

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, number: int, padding: str = "") -> int:
        self.numbers.append(number)
        gevent.sleep(0)
        return number


def away(proxy: Proxy, client: AmqpRpcClient) -> None:
    """Take the broker away from a client whose outbox is empty."""
    # A reply may come before the confirm of its request.
    wait_until(lambda: client.stats()["outbox"] == 0)
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not client.connected)


@pytest.mark.parametrize(
    ("limits", "padding"),
    [({"outbox_max_count": 10}, ""), ({"outbox_max_bytes": 11_000}, "x" * 1000)],
    ids=["by count", "by bytes"],
)
def test_a_full_outbox_lets_callers_wait_for_room_and_tells_those_who_waited_too_long(
    broker: Broker,
    start_proxy: StartProxy,
    new_client: NewClient,
    new_server: NewServer,
    limits: dict[str, Any],
    padding: str,
) -> None:
    proxy, journal = start_proxy(broker), Journal()
    new_server(broker.url, journal, concurrency=1)
    client = new_client(proxy.url, **limits)
    assert client.call.write(0) == 0
    away(proxy, client)
    held = [client.defer(wait_publish=False).write(number, padding) for number in range(1, 11)]

    began = time.monotonic()
    with pytest.raises(Backlogged, match=r"no room for one more .* not connected"):
        client.defer(wait_publish=False, timeout=0.2).write(98, padding)
    with pytest.raises(Backlogged):
        client.call(timeout=0.2).write(99, padding)
    assert time.monotonic() - began < 10
    waiting = [gevent.spawn(client.defer(wait_publish=False).write, number, padding) for number in range(11, 31)]
    gevent.sleep(0)
    assert not any(greenlet.ready() for greenlet in waiting)
    proxy.accept()

    held += [greenlet.get(timeout=20) for greenlet in waiting]
    assert [result.get(timeout=20) for result in held] == list(range(1, 31))
    assert journal.numbers == list(range(31))


def test_a_caller_that_gives_up_waiting_for_room_leaves_no_trace(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, journal = start_proxy(broker), Journal()
    new_server(broker.url, journal)
    client = new_client(proxy.url, outbox_max_count=1)
    assert client.call.write(0) == 0
    away(proxy, client)
    held = client.defer(wait_publish=False).write(1)

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        client.defer.write(2)
    waiting = gevent.spawn(client.defer.write, 3)
    gevent.sleep(0)
    proxy.accept()

    assert held.get(timeout=20) == 1
    assert waiting.get(timeout=20).get(timeout=20) == 3
    assert journal.numbers == [0, 1, 3]


def test_requests_run_in_the_order_of_the_calls_through_reconnects(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, journal = start_proxy(broker), Journal()
    new_server(broker.url, journal, concurrency=1)
    client = new_client(proxy.url, reconnect_delay_max=0.1)
    results = []

    def call() -> None:
        for number in range(2000):
            results.append(client.defer(wait_publish=False).write(number))
            if number % 10 == 0:
                gevent.sleep(0.001)

    calling = gevent.spawn(call)
    for _ in range(5):
        seen = len(results)
        wait_until(lambda seen=seen: len(results) >= min(seen + 200, 2000))
        proxy.cut_after(10_000).wait(5)
    calling.get(timeout=30)

    assert [result.get(timeout=30) for result in results] == list(range(2000))
    assert journal.numbers == list(range(2000))
    assert proxy.accepted > 2
