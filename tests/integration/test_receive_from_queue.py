"""`server.receive_from_queue` over RabbitMQ: how much it takes, when it ends, and what it leaves to others."""

from collections import Counter
from typing import Any

import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.integration.conftest import NewServer
from tests.integration.functions import Holding, Noting
from tests.integration.receiving import received, send
from tests.support.broker import Broker
from tests.support.eventually import wait_until

#: Seconds in which a receive that shall time out begins and takes what is there, on a busy machine too.
LONG_ENOUGH = 3

# max_calls


def test_max_calls_requests_are_handled_and_no_more(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    send(client, alice, 500)

    handled = server.receive_from_queue(alice, max_calls=7, timeout=20)

    assert handled == 7
    assert note.runs == list(range(7))
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].ready == 493)
    assert note.runs == list(range(7))


def test_max_calls_is_exact_while_requests_keep_coming(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    results: list[Any] = []

    def flood() -> None:
        for number in range(1000):
            results.append(client.defer(routing_key=alice, wait_publish=number % 50 == 0).note(number))

    flooding = gevent.spawn(flood)
    counts = [server.receive_from_queue(alice, max_calls=n, timeout=20) for n in (1, 1, 2, 3, 5, 8, 13, 21, 34, 55)]
    flooding.get()

    assert counts == [1, 1, 2, 3, 5, 8, 13, 21, 34, 55]
    assert len(note.runs) == len(set(note.runs)) == 143
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].ready == 857)


def test_requests_in_excess_go_back_and_are_run_by_somebody_else_exactly_once(
    new_server: NewServer, client: AmqpRpcClient, alice: str
) -> None:
    notes = [Noting() for _ in range(3)]
    servers = [new_server(note) for note in notes]
    results = send(client, alice, 300)

    for number in (1, 10, 40):
        servers[0].receive_from_queue(alice, max_calls=number, block=False)
        servers[1].receive_from_queue(alice, max_calls=2 * number, block=False)
    servers[2].receive_from_queue(alice, block=False)

    assert [result.get(timeout=20) for result in results] == list(range(300))
    assert Counter(value for note in notes for value in note.runs) == Counter(range(300))
    assert len(notes[0].runs) <= 51
    assert len(notes[1].runs) <= 102


def test_what_a_finished_receive_left_is_taken_by_the_next(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str
) -> None:
    results = send(client, alice, 90)

    counts = [server.receive_from_queue(alice, max_calls=30, timeout=20) for _ in range(3)]

    assert counts == [30, 30, 30]
    assert [result.get(timeout=20) for result in results] == list(range(90))
    assert sorted(note.runs) == list(range(90))


def test_calls_that_were_taken_are_answered_when_it_returns(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    results = send(client, alice, 3)

    server.receive_from_queue(alice, max_calls=3, timeout=20)

    assert [result.get(timeout=20) for result in results] == [0, 1, 2]
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].messages == 0)


def test_a_call_that_raises_counts(new_server: NewServer, client: AmqpRpcClient, alice: str) -> None:
    def note(value: Any) -> None:
        raise ValueError(value)

    send(client, alice, 2)

    assert new_server(note).receive_from_queue(alice, max_calls=2, timeout=20) == 2


@pytest.mark.parametrize("max_calls", [0, -1, True, "5", 1.5])
def test_max_calls_is_a_positive_whole_number(server: AmqpRpcServer, alice: str, max_calls: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="max_calls"):
        server.receive_from_queue(alice, max_calls=max_calls, timeout=1)


# timeout


def test_a_timeout_before_max_calls_is_gevents_timeout(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str
) -> None:
    send(client, alice, 2)

    with pytest.raises(gevent.Timeout):
        server.receive_from_queue(alice, max_calls=3, timeout=LONG_ENOUGH)

    assert note.runs == [0, 1]


def test_after_a_timeout_nothing_more_is_taken(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    with pytest.raises(gevent.Timeout):
        server.receive_from_queue(alice, max_calls=3, timeout=0.1)

    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].consumers == 0)
    send(client, alice, 1)
    assert broker.queues()[f"rpc_{service}_queue_{alice}"].ready == 1
    assert note.runs == []


def test_a_timeout_without_max_calls_returns_how_many_were_handled(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str
) -> None:
    send(client, alice, 5)

    assert server.receive_from_queue(alice, timeout=LONG_ENOUGH) == 5


# (A quorum queue counts a consumer until its last delivery is settled.)
@pytest.mark.endpoints(queue_type="classic")
def test_a_call_that_runs_when_the_time_is_over_is_finished_and_counted(
    new_server: NewServer, client: AmqpRpcClient, alice: str, hold: Holding, broker: Broker, service: str
) -> None:
    server = new_server(connected=True)
    server.add_function(hold, name="note")
    [result] = send(client, alice, 1)
    receiving = received(server, alice, timeout=LONG_ENOUGH)
    assert hold.began.wait(20)

    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].consumers == 0)

    assert not receiving.ready()
    hold.let_go.set()
    assert receiving.get(timeout=20) == 1
    assert result.get(timeout=20) == 0


def test_a_call_that_runs_when_the_time_is_over_and_completes_max_calls_is_no_timeout(
    new_server: NewServer, client: AmqpRpcClient, alice: str, hold: Holding
) -> None:
    server = new_server(connected=True)
    server.add_function(hold, name="note")
    send(client, alice, 1)
    receiving = received(server, alice, max_calls=1, timeout=LONG_ENOUGH)
    assert hold.began.wait(20)

    # It began before the function did, so that its time is over when this is.
    receiving.join(timeout=LONG_ENOUGH)
    hold.let_go.set()

    assert receiving.get(timeout=20) == 1


def test_the_callers_own_timeout_ends_it(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    with gevent.Timeout(0.2) as own, pytest.raises(gevent.Timeout) as caught:
        server.receive_from_queue(alice)

    assert caught.value is own
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].consumers == 0)


# block


def test_without_block_it_returns_at_once_and_receives_in_the_background(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str
) -> None:
    answer = server.receive_from_queue(alice, block=False)

    assert answer is None
    assert client.call(routing_key=alice).note(5) == 5


def test_without_block_max_calls_is_exact_too(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    send(client, alice, 50)

    server.receive_from_queue(alice, max_calls=5, block=False)

    wait_until(lambda: len(note.runs) == 5)
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].ready == 45)
    assert note.runs == list(range(5))


def test_without_block_it_ends_after_the_timeout_too(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    [result] = send(client, alice, 1)

    server.receive_from_queue(alice, timeout=LONG_ENOUGH, block=False)

    assert result.get(timeout=20) == 0
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].consumers == 0)


def test_stop_receiving_ends_it(server: AmqpRpcServer, client: AmqpRpcClient, alice: str) -> None:
    receiving = received(server, alice)
    assert client.call(routing_key=alice).note(5) == 5

    server.stop_receiving(alice)

    assert receiving.get(timeout=20) == 1


def test_stop_ends_it(server: AmqpRpcServer, client: AmqpRpcClient, alice: str) -> None:
    receiving = received(server, alice)
    assert client.call(routing_key=alice).note(5) == 5

    server.stop()

    assert receiving.get(timeout=20) == 1


def test_prepare_stop_ends_it(server: AmqpRpcServer, client: AmqpRpcClient, alice: str) -> None:
    receiving = received(server, alice)
    assert client.call(routing_key=alice).note(5) == 5

    server.prepare_stop()

    assert receiving.get(timeout=20) == 1
