"""`DeadLetters`: what was given up is looked at, given back and dropped, and nothing is lost on the way."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import amqp
import pytest

from amphora import (
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    BrokerError,
    BrokerUnreachable,
    DeadLettered,
    DeadLetters,
    IgnoreRequest,
    NoResult,
    Unroutable,
    sign_request,
)
from amphora.driver.incoming_message import IncomingMessage
from tests.integration.conftest import NewClient, NewServer
from tests.integration.original import taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy


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
        made.append(DeadLetters(service, **{"broker_url": broker.url, **options}))
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


@pytest.mark.parametrize("served", [True, False])
def test_a_letter_whose_queue_is_gone_stays_where_it_is(
    dead: Callable[..., DeadLetters],
    amqp_channel: amqp.Channel,
    new_server: NewServer,
    service: str,
    label: str,
    served: bool,
) -> None:
    if served:
        new_server(connected=True)
    amqp_channel.queue_declare(f"rpc_{service}_dead", durable=True, auto_delete=False)
    message = amqp.Message(b"no request", application_headers={"x-amphora-queue": f"rpc_{label}_request"})
    amqp_channel.basic_publish(message, routing_key=f"rpc_{service}_dead")
    hands = dead()
    wait_until(lambda: hands.status().messages == 1)

    (letter,) = hands.letters()
    with pytest.raises(Unroutable, match=label) if served else pytest.raises(BrokerError):
        hands.requeue(letter, timeout=5)
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


# What a server has not given up.

KEY = "a key for this service"
SIGNED = {"signing_keys": [KEY]}
SHIP = b'{"func": "ship", "args": [13], "kwargs": {}}'


@pytest.fixture
def quorum(new_server: NewServer, service: str, broker: Broker) -> Callable[..., AmqpRpcServer]:
    """Make a server that signs, whose queue puts what expires among the dead letters."""

    def make(*functions: Any, **options: Any) -> AmqpRpcServer:
        return new_server(*functions, connected=True, queue_type="quorum", delivery_limit=2, **SIGNED, **options)

    return make


@pytest.fixture
def as_outsider(
    broker: Broker, quorum: Callable[..., AmqpRpcServer], service: str, unique_name: Callable[[str], str]
) -> Iterator[Callable[..., None]]:
    """Publish to the request exchange as a user who may do nothing else, and has no key."""
    quorum().stop()
    user = unique_name("outsider")
    broker.add_user(user, "secret", configure="^$", write=f"^rpc_{service}_request$", read="^$")
    with broker.channel(userid=user, password="secret") as channel:

        def publish(body: bytes = SHIP, routing_key: str = "", **properties: Any) -> None:
            message = amqp.Message(body, content_type="application/json", **{"message_id": "1", **properties})
            channel.basic_publish(message, f"rpc_{service}_request", routing_key)

        yield publish
    broker.delete_user(user)


def test_what_an_outsider_has_had_dead_lettered_by_the_broker_is_not_signed(
    quorum: Callable[..., AmqpRpcServer],
    as_outsider: Callable[..., None],
    dead: Callable[..., DeadLetters],
    broker: Broker,
    service: str,
) -> None:
    as_outsider(expiration="1")
    hands = dead(**SIGNED)
    wait_until(lambda: hands.status().messages == 1)

    (letter,) = hands.letters()
    assert letter.function == "ship"
    assert letter.doubt is not None
    assert "anybody may have sent it" in letter.doubt
    with pytest.raises(ValueError, match="of unknown origin"):
        hands.requeue(letter)
    assert broker.queues()[f"rpc_{service}_request"].messages == 0

    # But an operator may have looked at it, and decide otherwise.
    runs: list[int] = []

    def ship(number: int) -> None:
        runs.append(number)

    quorum(ship)
    hands.requeue(letter, unverified=True)
    wait_until(lambda: runs == [13])


@pytest.mark.parametrize("keys", [{}, SIGNED], ids=["unsigned service", "signed service"])
@pytest.mark.parametrize("suffix", ["", "_eu"])
def test_headers_do_not_lead_to_another_service(
    as_outsider: Callable[..., None],
    dead: Callable[..., DeadLetters],
    new_server: NewServer,
    amqp_channel: amqp.Channel,
    broker: Broker,
    service: str,
    unique_name: Callable[[str], str],
    keys: dict[str, Any],
    suffix: str,
) -> None:
    other = f"{service}{suffix}" if suffix else unique_name("other")
    with AmqpRpcServer(other, broker_url=broker.url) as server:
        server.serve()
        assert server.wait_connected(20)
        server.stop()
    as_outsider(expiration="1", application_headers={"x-amphora-queue": f"rpc_{other}_request"})
    hands = dead(**keys)
    wait_until(lambda: hands.status().messages == 1)
    (letter,) = hands.letters()

    with pytest.raises((ValueError, Unroutable)):
        hands.requeue(letter)

    assert broker.queues()[f"rpc_{other}_request"].messages == 0


def test_a_letter_that_was_altered_is_not_signed(
    bury: Bury, dead: Callable[..., DeadLetters], amqp_channel: amqp.Channel, service: str
) -> None:
    bury(1, **SIGNED)
    message = taken(amqp_channel, f"rpc_{service}_dead")
    message.body = message.body.replace(b"1", b"2")
    amqp_channel.basic_publish(message, routing_key=f"rpc_{service}_dead")
    hands = dead(**SIGNED)
    wait_until(lambda: hands.status().messages == 1)

    (letter,) = hands.letters()

    assert letter.doubt is not None
    assert "does not fit" in letter.doubt
    with pytest.raises(ValueError, match="of unknown origin"):
        hands.requeue(letter)


def test_a_signed_request_that_the_broker_has_given_up_is_told_apart(
    quorum: Callable[..., AmqpRpcServer],
    new_client: NewClient,
    dead: Callable[..., DeadLetters],
) -> None:
    quorum().stop()
    client = new_client(queue_type="quorum", delivery_limit=2, **SIGNED)
    with pytest.raises(NoResult):
        client.call(timeout=0.5, expires=True).ship(1)
    hands = dead(**SIGNED)
    wait_until(lambda: hands.status().messages == 1)

    (letter,) = hands.letters()

    assert letter.reason == "expired"
    assert letter.doubt is not None
    assert "a client has signed it" in letter.doubt
    with pytest.raises(ValueError, match="of unknown origin"):
        hands.requeue(letter)


def test_a_signed_letter_is_not_given_back_without_a_key(bury: Bury, dead: Callable[..., DeadLetters]) -> None:
    bury(1, **SIGNED)
    hands = dead()
    (letter,) = hands.letters()

    with pytest.raises(ValueError, match="is signed: without signing_keys"):
        hands.requeue(letter)


def test_a_letter_of_a_label_goes_back_by_its_routing_key(
    dead: Callable[..., DeadLetters], new_client: NewClient, new_server: NewServer, label: str
) -> None:
    runs: list[int] = []

    def ship(number: int) -> int:
        runs.append(number)
        if len(runs) <= 2:
            raise IgnoreRequest
        return number

    options = {**SIGNED, "queue_template": "{namespace}.{label}"}
    server = new_server(ship, connected=True, delivery_limit=2, ignore_delay=0, **options)
    client = new_client(**options)
    client.create_new_request_queue(label, routing_key=f"key of {label}")
    server.receive_from_queue(label, block=False)
    with pytest.raises(DeadLettered):
        client.call(routing_key=f"key of {label}").ship(1)
    hands = dead(**SIGNED)
    wait_until(lambda: hands.status().messages == 1)

    for letter in hands.letters():
        hands.requeue(letter)

    wait_until(lambda: runs == [1, 1, 1])
    assert server.stats()["untrusted"] == 0


@pytest.mark.parametrize(("keys", "unverified"), [({}, True), (SIGNED, False)])
def test_a_letter_of_a_fanout_server_goes_back_to_that_server_alone(
    dead: Callable[..., DeadLetters],
    amqp_channel: amqp.Channel,
    new_server: NewServer,
    service: str,
    keys: dict[str, Any],
    unverified: bool,
) -> None:
    servers = [new_server(cls=AmqpRpcFanoutServer, connected=True, delivery_limit=2, **keys) for _ in range(2)]
    properties: dict[str, Any] = {"message_id": "1", "content_type": "application/json"}
    if keys:
        properties = sign_request([KEY], service, properties, b"unreadable", routing_key="")
    headers = properties.pop("headers", {})
    message = amqp.Message(b"unreadable", application_headers=headers, **properties)
    amqp_channel.basic_publish(message, f"rpc_{service}_request")
    hands = dead(**keys)
    wait_until(lambda: hands.status().messages == 2)

    letter = next(hands.letters())
    assert letter.doubt is None
    if not keys:
        with pytest.raises(ValueError, match="alone say that it comes from"):
            hands.requeue(letter)
    hands.requeue(letter, unverified=unverified)

    wait_until(lambda: sorted(each.stats()["dropped"] for each in servers) == [1, 2])
    again = f"rpc_{service}_{servers[0].uuid}_request", f"rpc_{service}_{servers[1].uuid}_request"
    assert letter.queue in again


def test_dropping_a_letter_whose_connection_broke_is_an_error(
    bury: Bury, dead: Callable[..., DeadLetters], broker: Broker, start_proxy: Callable[[Broker], Proxy]
) -> None:
    bury(1)
    proxy = start_proxy(broker)
    hands = dead(broker_url=proxy.url)
    (letter,) = hands.letters()

    proxy.cut()
    wait_until(lambda: not hands._consumer.is_current(letter._delivery))
    assert hands.wait_connected(20)

    for action in (hands.drop, hands.requeue):
        with pytest.raises(BrokerUnreachable, match="is among the dead letters again"):
            action(letter)
    hands.stop()
    again = dead()
    wait_until(lambda: again.status().messages == 1)


def test_a_message_that_was_set_aside_unread_is_not_marked(
    new_server: NewServer, dead: Callable[..., DeadLetters], service: str
) -> None:
    server = new_server(connected=True, delivery_limit=2, **SIGNED)
    server._handler.set_aside(IncomingMessage(None, 1, True, {}, SHIP, f"rpc_{service}_request", ""))
    hands = dead(**SIGNED)
    wait_until(lambda: hands.status().messages == 1)

    (letter,) = hands.letters()

    assert letter.function == "ship"
    assert letter.doubt is not None
    with pytest.raises(ValueError, match="of unknown origin"):
        hands.requeue(letter)
