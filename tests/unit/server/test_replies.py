"""Replies that the broker does not take at once, or never."""

import json

import pytest

from amphora.exceptions import AccessRefused, MessageTooLarge, PublishNacked, Unroutable
from amphora.protocol.signatures import Signatures
from tests.support.eventually import wait_until
from tests.unit.server.handled import Notes, handler_of

MISSING = AccessRefused("no queue")


@pytest.fixture
def notes() -> Notes:
    return Notes()


def work(size: int = 1) -> str:
    return "x" * size


def first_reply(notes: Notes) -> None:
    wait_until(lambda: notes.sent)


def test_a_reply_goes_to_the_response_exchange_with_the_ids_of_its_request(notes: Notes) -> None:
    handler_of(notes, work).deliver(notes.delivery(correlation_id="other"))
    first_reply(notes)

    (message,) = notes.sent

    assert (message.exchange, message.routing_key) == ("rpc_math_response", "client")
    assert (message.properties["message_id"], message.properties["correlation_id"]) == ("m1", "other")


def test_a_reply_that_is_too_large_is_replaced(notes: Notes) -> None:
    notes.largest = 500
    handler_of(notes, work).deliver(notes.delivery("work", 1000))
    first_reply(notes)

    assert json.loads(notes.decide().body)["exception"]["type"] == "MessageTooLarge"


def test_a_reply_that_the_broker_finds_too_large_is_replaced_once(notes: Notes) -> None:
    handler = handler_of(notes, work)
    handler.deliver(notes.delivery())
    first_reply(notes)

    notes.decide(MessageTooLarge("too large"))
    assert json.loads(notes.decide(MessageTooLarge("still too large")).body)["exception"]["type"] == "MessageTooLarge"

    assert notes.settled == [(1, "ack")]
    assert handler.stats()["undeliverable"] == 1


def test_a_reply_that_finds_no_queue_is_sent_again_when_the_queue_is_bound(notes: Notes) -> None:
    handler_of(notes, work).deliver(notes.delivery())
    first_reply(notes)
    notes.decide(Unroutable("no queue"))
    assert (len(notes.actions), notes.sent) == (1, [])

    notes.answer()

    first_reply(notes)
    assert notes.decide().exchange == "rpc_math_response"
    assert notes.settled == [(1, "ack")]


def test_queues_are_looked_for_one_at_a_time(notes: Notes) -> None:
    handler = handler_of(notes, work, concurrency=10)
    for number in range(3):
        handler.deliver(notes.delivery(reply_to=f"rpc_{number}"))
    wait_until(lambda: len(notes.sent) == 3)
    for _ in range(3):
        notes.decide(Unroutable("no queue"))

    for _ in range(3):
        wait_until(lambda: notes.actions)
        assert len(notes.actions) == 1
        notes.answer(MISSING)


def test_a_client_with_a_queue_of_its_own_gets_this_reply_and_the_next_from_the_default_exchange(notes: Notes) -> None:
    handler = handler_of(notes, work)
    handler.deliver(notes.delivery())
    first_reply(notes)
    notes.decide(Unroutable("no queue"))
    notes.answer(MISSING)
    wait_until(lambda: notes.actions)
    notes.answer()

    first_reply(notes)
    message = notes.decide()
    handler.deliver(notes.delivery())
    first_reply(notes)

    assert (message.exchange, message.routing_key) == ("", "client")
    assert notes.decide().exchange == ""
    assert notes.settled == [(1, "ack"), (2, "ack")]


@pytest.mark.parametrize("client", ["rpc_other_request", "0b4cfaee-1c1c-4a3e-9d0e-0f4d7c3ab1d2"])
def test_no_reply_goes_to_the_default_exchange_for_a_queue_of_amphoras_own(notes: Notes, client: str) -> None:
    handler_of(notes, work).deliver(notes.delivery(reply_to=client))
    first_reply(notes)
    notes.decide(Unroutable("no queue"))

    notes.answer(MISSING)

    assert notes.actions == []
    # It is looked for once more, at the response exchange.
    wait_until(lambda: notes.sent)
    assert notes.sent[0].exchange == "rpc_math_response"


def test_where_the_default_exchange_is_not_permitted_it_is_asked_for_once_a_minute(notes: Notes) -> None:
    handler = handler_of(notes, work, concurrency=10)
    for client in ("one", "two"):
        handler.deliver(notes.delivery(reply_to=client))
        first_reply(notes)
        notes.decide(Unroutable("no queue"))
        notes.answer(MISSING)
        if client == "one":
            wait_until(lambda: notes.actions)
            notes.answer(AccessRefused("no permission"))

    assert notes.actions == []
    assert handler.stats()["running"] == 2


def test_an_answer_to_an_untrusted_request_costs_no_lookup(notes: Notes) -> None:
    handler = handler_of(notes, work, signatures=Signatures(["k" * 16], service="math"))
    handler.deliver(notes.delivery())
    first_reply(notes)

    notes.decide(Unroutable("no queue"))

    assert notes.actions == []
    assert notes.settled == [(1, "ack")]


def test_a_reply_that_is_refused_is_sent_again(notes: Notes) -> None:
    handler = handler_of(notes, work)
    handler.deliver(notes.delivery())
    first_reply(notes)
    notes.decide(PublishNacked("full"))
    assert (notes.sent, notes.settled, handler.stats()["running"]) == ([], [], 1)

    first_reply(notes)

    notes.decide()
    assert notes.settled == [(1, "ack")]
