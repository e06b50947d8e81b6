"""How many requests a server runs at once, and how many the broker sends it ahead."""

from collections.abc import Callable
from typing import Any

import pytest
from gevent.event import Event

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until


class Counting:
    """A remote function that counts how many of it run at once, and returns when it is let go."""

    __name__ = "work"

    def __init__(self) -> None:
        self.order: list[Any] = []
        self.running = 0
        self.most = 0
        self.let_go = Event()

    def __call__(self, value: Any = None) -> Any:
        self.order.append(value)
        self.running += 1
        self.most = max(self.most, self.running)
        assert self.let_go.wait(30)
        self.running -= 1
        return value


@pytest.fixture
def work() -> Counting:
    return Counting()


def send(client: AmqpRpcClient, count: int, **options: Any) -> list[Any]:
    """Send requests, and wait until the broker has them all."""
    results = [client.defer(wait_publish=False, **options).work(number) for number in range(count)]
    wait_until(lambda: client.stats()["outbox"] == 0)
    return results


def prefetch_of(broker: Broker, queue: str) -> list[int]:
    """Return the prefetch count of each consumer of a queue, as the broker sees it."""
    counts: list[int] = broker.eval(f"""
        {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
        [Prefetch || {{_, _, _, Prefetch, _, _, _, _}} <- rabbit_amqqueue:consumers(Q)]
    """)
    return counts


def test_no_more_than_concurrency_run_at_once(
    new_server: NewServer, client: AmqpRpcClient, work: Counting, broker: Broker, service: str
) -> None:
    new_server(work, concurrency=3)
    results = send(client, 50)

    wait_until(lambda: work.running == 3)
    assert broker.queues()[f"rpc_{service}_request"].unacked == 3
    work.let_go.set()

    assert [result.get(timeout=20) for result in results] == list(range(50))
    assert work.most == 3


def test_with_a_concurrency_of_one_requests_run_one_after_another_in_order(
    new_server: NewServer, client: AmqpRpcClient, work: Counting
) -> None:
    work.let_go.set()
    new_server(work, concurrency=1)

    for result in send(client, 100):
        result.get(timeout=20)

    assert work.order == list(range(100))
    assert work.most == 1


def test_as_many_as_concurrency_do_run_at_once(new_server: NewServer, client: AmqpRpcClient, work: Counting) -> None:
    new_server(work, concurrency=250)

    send(client, 250)

    wait_until(lambda: work.running == 250)
    work.let_go.set()


@pytest.mark.parametrize("concurrency", [1, 7, 1000])
def test_the_prefetch_count_follows_concurrency(
    new_server: NewServer, broker: Broker, service: str, concurrency: int
) -> None:
    new_server(concurrency=concurrency, connected=True)

    assert prefetch_of(broker, f"rpc_{service}_request") == [concurrency]


def test_the_default_is_a_hundred(new_server: NewServer, broker: Broker, service: str) -> None:
    new_server(connected=True)

    assert prefetch_of(broker, f"rpc_{service}_request") == [100]


def test_the_prefetch_count_of_a_label_queue_follows_concurrency_and_max_calls(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, unique_name: Callable[[str], str], service: str
) -> None:
    label = unique_name("user")
    client.create_new_request_queue(label)
    server = new_server(concurrency=7)

    for max_calls in (None, 3, 50):
        server.receive_from_queue(label, max_calls=max_calls, block=False)

    wait_until(lambda: sorted(prefetch_of(broker, f"rpc_{service}_queue_{label}")) == [3, 7, 7])


def test_a_second_server_gets_its_share(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    first, second = Counting(), Counting()
    new_server(first, concurrency=5)
    results = send(client, 200)
    wait_until(lambda: first.running == 5)

    second.let_go.set()
    new_server(second, concurrency=5)

    wait_until(lambda: len(second.order) == 195)
    first.let_go.set()
    assert [result.get(timeout=20) for result in results] == list(range(200))
    assert len(first.order) == 5


def test_label_queues_count_too(
    new_server: NewServer,
    client: AmqpRpcClient,
    work: Counting,
    unique_name: Callable[[str], str],
    broker: Broker,
    service: str,
) -> None:
    labels = [unique_name("user") for _ in range(3)]
    server = new_server(work, concurrency=4)
    for label in labels:
        client.create_new_request_queue(label)
        server.receive_from_queue(label, block=False)

    results = [result for label in labels for result in send(client, 20, routing_key=label)] + send(client, 20)
    wait_until(lambda: all(broker.queues()[f"rpc_{service}_queue_{label}"].unacked == 4 for label in labels))
    wait_until(lambda: work.running == 4)
    work.let_go.set()

    assert [result.get(timeout=20) for result in results] == list(range(20)) * 4
    assert work.most == 4


def test_a_fanout_server_keeps_to_it_too(new_server: NewServer, new_client: NewClient, work: Counting) -> None:
    new_server(work, cls=AmqpRpcFanoutServer, concurrency=3, connected=True)

    results = send(new_client(cls=AmqpRpcFanoutClient), 30)
    wait_until(lambda: work.running == 3)
    work.let_go.set()

    assert [result.get(timeout=20) for result in results] == list(range(30))
    assert work.most == 3


def test_a_request_that_raises_makes_room_for_the_next(new_server: NewServer, client: AmqpRpcClient) -> None:
    def work(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number

    new_server(work, concurrency=1)

    results = send(client, 20)

    assert [result.get(timeout=20) for result in results[::2]] == list(range(0, 20, 2))


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "5"], ids=repr)
def test_concurrency_is_a_positive_whole_number(new_server: NewServer, concurrency: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="concurrency"):
        new_server(concurrency=concurrency)
