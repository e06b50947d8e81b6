"""Requests that nobody waits for any more are run by nobody."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import amqp
import pytest

import amphora
from amphora import AmqpRpcClient, AmqpRpcServer, NoResult
from amphora.protocol.deadlines import DEADLINE
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding, Noting
from tests.integration.original import OriginalClient, OriginalServer, encode, taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy


@pytest.fixture
def injector(amqp_channel: amqp.Channel, service: str) -> OriginalClient:
    """Sends requests as they are when a clock, or a queue, has taken its time."""
    return OriginalClient(amqp_channel, service)


def note_by(deadline: float, value: Any = "late") -> dict[str, Any]:
    """Give body and properties of a request with a deadline, which the broker itself does not know."""
    return {
        "body": encode({"func": "note", "args": [value], "kwargs": {}}),
        "application_headers": {DEADLINE: int(deadline * 1000)},
    }


def in_queue(broker: Broker, service: str) -> int:
    return broker.queues()[f"rpc_{service}_request"].messages


# What travels.


def test_a_request_says_how_long_it_may_wait_and_until_when(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str
) -> None:
    before = time.time()
    client.defer(expires=60).note()

    message = taken(amqp_channel, f"rpc_{service}_request")

    assert 0 < int(message.properties["expiration"]) <= 60_000
    headers = message.properties["application_headers"]
    assert headers.keys() == {DEADLINE}
    assert before + 60 <= headers[DEADLINE] / 1000 <= time.time() + 60.001


def test_without_expires_nothing_of_it_travels(client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str) -> None:
    client.defer.note()
    client.defer(expires=False).note()

    for _ in range(2):
        message = taken(amqp_channel, f"rpc_{service}_request")
        assert not {"expiration", "application_headers"} & message.properties.keys()


def test_a_server_of_the_original_ignores_it(client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str) -> None:
    server = OriginalServer(amqp_channel, service)
    result = client.defer(expires=True).add(1, 2)

    request = server.request()
    server.answer(request, encode({"result": 3}))

    assert json.loads(request.body) == {"func": "add", "args": [1, 2], "kwargs": {}}
    assert result.get(timeout=20) == 3


# Who drops it.


def test_the_broker_drops_a_request_that_waits_too_long(
    client: AmqpRpcClient, new_server: NewServer, note: Noting, broker: Broker, service: str
) -> None:
    assert client.wait_connected(20)
    with pytest.raises(NoResult):
        client.call(timeout=0.1, expires=True).note("late")
    wait_until(lambda: in_queue(broker, service) == 0)

    new_server(note)

    assert client.call.note("in time") == "in time"
    assert note.runs == ["in time"]


def test_a_server_drops_an_expired_request_and_replies_nothing(
    server: AmqpRpcServer, note: Noting, injector: OriginalClient, broker: Broker, service: str
) -> None:
    injector.send(**note_by(time.time() - 1))

    # Its reply is the first one that comes.
    assert injector.call("note", "in time") == {"result": "in time"}

    assert note.runs == ["in time"]
    assert server.stats()["expired"] == 1
    assert server.stats()["requests"] == 1
    wait_until(lambda: in_queue(broker, service) == 0)


def test_a_request_that_expires_while_it_waits_for_a_free_greenlet_is_not_run(
    new_server: NewServer,
    client: AmqpRpcClient,
    hold: Holding,
    note: Noting,
    alice: str,
    injector: OriginalClient,
    broker: Broker,
    service: str,
) -> None:
    server = new_server(hold, note, concurrency=1, connected=True)
    server.receive_from_queue(alice, block=False)
    held = client.defer.hold()
    assert hold.began.wait(20)
    deadline = time.time() + 0.2
    injector.send(routing_key=alice, **note_by(deadline))
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].unacked == 1)
    wait_until(lambda: time.time() > deadline)

    hold.let_go.set()

    assert held.get(timeout=20) == "done"
    wait_until(lambda: server.stats()["expired"] == 1)
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].messages == 0)
    assert note.runs == []


def test_an_expired_request_does_not_count_for_max_calls(
    new_server: NewServer,
    client: AmqpRpcClient,
    note: Noting,
    alice: str,
    injector: OriginalClient,
    broker: Broker,
    service: str,
) -> None:
    server = new_server(note, connected=True)
    injector.send(routing_key=alice, **note_by(time.time() - 1))
    # It came on a connection of its own: it is to be the first one.
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].messages == 1)
    result = client.defer(routing_key=alice).note("in time")

    assert server.receive_from_queue(alice, max_calls=1, timeout=20) == 1

    assert result.get(timeout=20) == "in time"
    assert server.stats()["expired"] == 1
    assert server.stats()["running"] == 0


def test_a_message_that_is_held_past_its_deadline_is_not_sent(
    new_client: NewClient,
    new_server: NewServer,
    note: Noting,
    broker: Broker,
    start_proxy: Callable[[Broker], Proxy],
) -> None:
    server = new_server(note)
    proxy = start_proxy(broker)
    client = new_client(broker_url=proxy.url)
    assert client.call.note(0) == 0
    wait_until(lambda: client.stats()["outbox"] == 0)
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not client.connected)
    late = client.defer(timeout=0.1, expires=True, wait_publish=False).note(1)
    kept = client.defer(expires=3600, wait_publish=False).note(2)
    with pytest.raises(NoResult):
        late.get()

    proxy.accept()

    assert kept.get(timeout=20) == 2
    wait_until(lambda: client.stats()["outbox"] == 0)
    assert note.runs == [0, 2]
    assert server.stats()["expired"] == 0
    assert client.stats()["without_result"] == 1


def test_a_call_whose_deadline_is_before_its_timeout_ends_when_it_is_known_that_it_was_not_sent(
    new_client: NewClient, broker: Broker, start_proxy: Callable[[Broker], Proxy]
) -> None:
    proxy = start_proxy(broker)
    proxy.refuse()
    client = new_client(broker_url=proxy.url, timeout=3600)
    result = client.defer(expires=0.05, wait_publish=False).note()
    deadline = time.time() + 0.05
    wait_until(lambda: time.time() > deadline)

    proxy.accept()

    with pytest.raises(NoResult, match=r"'note': the deadline .* has passed: it was never sent"):
        result.get(timeout=20)


def test_over_memory_the_server_drops_what_has_expired(
    new_client: NewClient, new_server: NewServer, note: Noting
) -> None:
    client = new_client(broker_url="memory://")
    assert client.wait_connected(20)
    # Time enough for a busy machine to send it.
    client.defer(expires=1).note("late")
    deadline = time.time() + 1
    wait_until(lambda: time.time() > deadline)

    server = new_server(note, broker_url="memory://")

    assert client.call.note("in time") == "in time"
    assert note.runs == ["in time"]
    assert server.stats()["expired"] == 1


# What a function knows.


def test_a_function_can_ask_for_its_request(new_server: NewServer, client: AmqpRpcClient) -> None:
    def ask() -> Any:
        request = amphora.current_request()
        assert request is not None
        return [request.id, request.client, request.function, request.deadline, request.remaining, request.redelivered]

    new_server().add_function(ask, name="ask.me")
    before = time.time()

    request_id, caller, function, deadline, remaining, redelivered = client.call(timeout=60, expires=True).ask.me()

    assert len(request_id) > 30
    assert caller == client.uuid
    assert function == "ask.me"
    assert before + 60 <= deadline <= time.time() + 60.001
    assert 0 < remaining <= 60.001
    assert redelivered is False


def test_each_of_the_functions_that_run_at_the_same_time_has_its_own_request(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    both = Both()
    new_server(both)

    results = [client.defer.both(), client.defer.both()]

    first, second = (result.get(timeout=20) for result in results)
    assert first[0] == first[1]
    assert second[0] == second[1]
    assert first != second


class Both:
    """A function that two calls enter before either leaves; it returns its request's id before and after."""

    __name__ = "both"

    def __init__(self) -> None:
        self.inside = 0

    def __call__(self) -> list[str | None]:
        before = amphora.current_request()
        self.inside += 1
        wait_until(lambda: self.inside == 2)
        after = amphora.current_request()
        assert before is not None
        assert after is not None
        return [before.id, after.id]


# What a function calls in turn.


@pytest.fixture
def inner(new_server: NewServer, new_client: NewClient, unique_name: Callable[[str], str]) -> AmqpRpcClient:
    """A client of another service, whose function gives its deadline."""

    def deadline() -> float | None:
        request = amphora.current_request()
        assert request is not None
        return request.deadline

    name = unique_name("inner")
    new_server(deadline, service_name=name)
    return new_client(service_name=name)


def test_a_deadline_is_passed_on(new_server: NewServer, client: AmqpRpcClient, inner: AmqpRpcClient) -> None:
    def relay() -> list[float]:
        request = amphora.current_request()
        assert request is not None
        assert request.deadline is not None
        return [request.deadline, inner.call.deadline(), inner.defer(timeout=3600).deadline().get(timeout=20)]

    new_server(relay)

    own, called, deferred = client.call(expires=60).relay()

    assert own == called == deferred


def test_without_a_deadline_none_is_passed_on(
    new_server: NewServer, client: AmqpRpcClient, inner: AmqpRpcClient
) -> None:
    new_server().add_function(lambda: inner.call.deadline(), name="relay")

    assert client.call.relay() is None


def test_expires_false_keeps_the_deadline_to_oneself(
    new_server: NewServer, client: AmqpRpcClient, inner: AmqpRpcClient
) -> None:
    new_server().add_function(lambda: inner.call(expires=False).deadline(), name="relay")

    assert client.call(expires=60).relay() is None


def test_a_further_call_after_the_deadline_fails_at_once_and_is_not_sent(
    new_server: NewServer, client: AmqpRpcClient, inner: AmqpRpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relay() -> str:
        later = time.time() + 120
        with monkeypatch.context() as patched:
            patched.setattr("amphora.client.lifetimes.time", lambda: later)
            for caller in (inner.call, inner.defer):
                with pytest.raises(NoResult, match="'deadline': not sent, as the deadline"):
                    caller.deadline()
        return "said so twice"

    new_server(relay)

    assert client.call(expires=60).relay() == "said so twice"
    assert inner.stats()["calls"] == 0


# Deadlines of any size.


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": sys.maxsize, "expires": True},
        {"timeout": sys.float_info.max, "expires": True},
        {"expires": sys.maxsize},
        {"expires": 2**63},
        {"expires": 2**31 / 1000},
        {"expires": 20 * 365 * 86_400},
    ],
)
def test_a_deadline_of_any_size_travels_and_costs_no_other_call_anything(
    server: AmqpRpcServer, client: AmqpRpcClient, options: dict[str, Any]
) -> None:
    before = [client.defer(wait_publish=False).note(i) for i in range(20)]

    late = client.defer(wait_publish=False, **options).note("late")

    after = [client.defer(wait_publish=False).note(i) for i in range(20)]
    assert late.get(timeout=20) == "late"
    assert [each.get(timeout=20) for each in (*before, *after)] == [*range(20), *range(20)]
    # (A reply may come before the confirm of its request, which a quorum queue writes to disk first.)
    assert client.flush(20)
    assert client.stats()["reconnects"] == server.stats()["reconnects"] == 0
    assert client.stats()["outbox"] == 0


@pytest.mark.parametrize("milliseconds", [2**63 - 1, 2**53, 20 * 365 * 86_400_000 + int(time.time() * 1000)])
def test_a_foreign_deadline_of_any_size_is_passed_on(
    new_server: NewServer, injector: OriginalClient, inner: AmqpRpcClient, milliseconds: int
) -> None:
    new_server().add_function(lambda: inner.call.deadline(), name="relay")

    injector.send(
        body=encode({"func": "relay", "args": [], "kwargs": {}}), application_headers={DEADLINE: milliseconds}
    )

    assert json.loads(injector.reply().body)["result"] >= time.time()
    assert inner.call.deadline() is None
    assert inner.stats()["reconnects"] == 0
