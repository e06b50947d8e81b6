"""Queues whose process does not answer, as when the node of a queue is down on RabbitMQ 4."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent

from amphora.core.subscriptions import State
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy


@contextmanager
def silent(broker: Broker, queue: str) -> Iterator[None]:
    """Have a queue's process answer nothing for a while."""
    found = (
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), Pid = amqqueue:get_pid(Q)'
    )
    broker.eval(f"{found}, sys:suspend(Pid).")
    try:
        yield
    finally:
        broker.eval(f"{found}, sys:resume(Pid).")


def test_a_control_queue_that_does_not_answer_costs_no_connection(
    broker: Broker,
    service: str,
    new_server: NewServer,
    new_client: NewClient,
    hold: Holding,
    start_proxy: Callable[[Broker], Proxy],
) -> None:
    proxy = start_proxy(broker)
    server = new_server(hold, broker_url=proxy.url, connected=True, connect_timeout=1)
    client = new_client()
    with silent(broker, f"rpc_{service}_{server.uuid}_control"):
        proxy.cut()
        wait_until(lambda: not server.connected)
        wait_until(lambda: server.connected, 20)
        reconnects = server.stats()["reconnects"]
        held = client.defer.hold()
        assert hold.began.wait(20)
        # Longer than the limit of one answer.
        later = time.monotonic() + 2
        wait_until(lambda: time.monotonic() > later or not server.connected)
        hold.let_go.set()

        assert held.get(timeout=20) == "done"
        assert server.stats()["reconnects"] == reconnects
        assert server.stats()["requests"] == 1
        assert server.health().ready


def test_a_label_queue_that_does_not_answer_costs_no_request_of_others_and_is_served_when_it_answers(
    broker: Broker, new_server: NewServer, new_client: NewClient, service: str, alice: str
) -> None:
    server = new_server(abs, connected=True, connect_timeout=1)
    client = new_client()
    queue = client._names.label_queue(alice)
    with silent(broker, queue):
        server.receive_from_queue(alice, block=False)
        [wish] = [each for each in server._consumer._machine.wishes if each.queue == queue]
        wait_until(lambda: wish.state is State.MISSING, 20)

        assert [client.call(timeout=20).abs(-number) for number in range(20)] == list(range(20))
        assert server.stats()["reconnects"] == 0

    assert client.call(routing_key=alice, timeout=20).abs(-1) == 1


def test_a_removed_label_queue_costs_no_request_of_other_queues(
    broker: Broker, new_server: NewServer, new_client: NewClient, unique_name: Callable[[str], str]
) -> None:
    runs: Counter[int] = Counter()

    def work(number: int) -> int:
        runs[number] += 1
        gevent.sleep(0.2)
        return number

    options = {"queue_type": "quorum"}
    server = new_server(work, connected=True, concurrency=10, **options)
    new_server(work, connected=True, concurrency=10, **options)
    client = new_client(**options)
    label = unique_name("label")
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)
    results = [client.defer(wait_publish=False).work(number) for number in range(60)]
    wait_until(lambda: len(runs) > 10)

    client.remove_request_queue(label)

    assert [result.get(timeout=60) for result in results] == list(range(60))
    # Now and then the broker itself fails over the removed queue and ends the connection (541, INTERNAL_ERROR).
    if server.stats()["reconnects"] == 0:
        assert set(runs.values()) == {1}
