"""`DeadLetters`: what was given up is looked at, given back and dropped, and nothing is lost on the way."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import amqp
import pytest

from amphora import AmqpRpcServer, DeadLetters, IgnoreRequest, Unroutable
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until


class Bury(Protocol):
    """Make dead letters of `ship` with these numbers."""

    def __call__(self, *numbers: int, **options: Any) -> AmqpRpcServer: ...


@pytest.fixture
def runs() -> list[int]:
    return []


@pytest.fixture
def bury(new_client: NewClient, new_server: NewServer, runs: list[int]) -> Bury:
    def make(*numbers: int, **options: Any) -> AmqpRpcServer:
        def ship(number: int) -> int:
            runs.append(number)
            if runs.count(number) <= 2:
                raise IgnoreRequest
            return number

        server = new_server(ship, connected=True, delivery_limit=2, ignore_delay=0, **options)
        client = new_client(**options)
        for number in numbers:
            client.defer.ship(number)
            wait_until(lambda: server.queue_status()[f"rpc_{server.service_name}_dead"].messages > 0)
        wait_until(lambda: server.stats()["dead_lettered"] == len(numbers), 60)
        client.stop()
        return server

    return make


@pytest.fixture
def dead(broker: Broker, service: str) -> Iterator[Callable[..., DeadLetters]]:
    made = []

    def make(**options: Any) -> DeadLetters:
        made.append(DeadLetters(service, broker_url=broker.url, **options))
        made[-1].serve()
        assert made[-1].wait_connected(60)
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_letters_that_are_only_looked_at_stay_in_their_order(bury: Bury, dead: Callable[..., DeadLetters]) -> None:
    server = bury(1, 2, 3)
    looking = dead()

    letters = list(looking.letters())
    looking.stop()

    assert [(each.function, each.args, each.kwargs) for each in letters] == [("ship", (n,), {}) for n in (1, 2, 3)]
    assert {(each.queue, each.reason, each.tries) for each in letters} == {
        (f"rpc_{server.service_name}_request", "delivery_limit", 2)
    }
    again = dead()
    wait_until(lambda: again.status().messages == 3)
    assert [each.args for each in again.letters()] == [(1,), (2,), (3,)]


def test_a_letter_that_is_given_back_runs_and_one_that_is_dropped_is_gone(
    bury: Bury, dead: Callable[..., DeadLetters], runs: list[int]
) -> None:
    bury(1, 2, 3, signing_keys=["a key for this service"])
    hands = dead(signing_keys=["a key for this service"])

    for letter in hands.letters():
        if letter.args == (1,):
            hands.requeue(letter)
        elif letter.args == (2,):
            hands.drop(letter)
    hands.stop()

    wait_until(lambda: runs.count(1) == 3)
    again = dead()
    wait_until(lambda: again.status().messages == 1)
    assert [each.args for each in again.letters()] == [(3,)]


def test_a_letter_whose_queue_is_gone_stays_where_it_is(
    dead: Callable[..., DeadLetters], amqp_channel: amqp.Channel, service: str
) -> None:
    amqp_channel.queue_declare(f"rpc_{service}_dead", durable=True, auto_delete=False)
    message = amqp.Message(b"no request", application_headers={"x-amphora-queue": f"rpc_{service}_nowhere"})
    amqp_channel.basic_publish(message, routing_key=f"rpc_{service}_dead")
    hands = dead()
    wait_until(lambda: hands.status().messages == 1)

    (letter,) = hands.letters()
    with pytest.raises(Unroutable, match="nowhere"):
        hands.requeue(letter)
    hands.stop()

    assert letter.function is None
    again = dead()
    wait_until(lambda: again.status().messages == 1)
    assert again.purge() == 1
    assert list(again.letters()) == []


def test_a_service_without_dead_letters_has_none(dead: Callable[..., DeadLetters]) -> None:
    hands = dead()

    assert hands.status() is None
    assert hands.purge() == 0
    assert list(hands.letters()) == []
