"""Dead letters: what they keep of the request, and what tells one request from another."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp.serialization import dumps

from amphora.protocol.dead_letters import HELD_DEADLINE, TOO_MANY_TRIES, dead_letter_properties, identity
from amphora.protocol.deadlines import DEADLINE

OF_THE_DEAD_LETTER = {
    "x-amphora-queue": "q",
    "x-amphora-reason": "delivery_limit",
    "x-amphora-tries": 3,
    "x-amphora-routing-key": "k",
}


def dead_letter_of(properties: dict[str, Any]) -> dict[str, Any]:
    return dead_letter_properties(properties, queue="q", reason=TOO_MANY_TRIES, tries=3, routing_key="k")


def test_a_dead_letter_keeps_what_identifies_the_request_and_how_to_read_and_answer_it() -> None:
    kept = {
        "message_id": "m",
        "correlation_id": "m",
        "reply_to": "c",
        "content_type": "application/json",
        "timestamp": 1_800_000_000,
    }

    assert dead_letter_of(kept) == {**kept, "delivery_mode": 2, "headers": OF_THE_DEAD_LETTER}


def test_it_can_neither_expire_nor_be_refused_for_its_user_nor_be_transient() -> None:
    properties = {"expiration": "5000", "user_id": "guest", "delivery_mode": 1, "headers": {DEADLINE: 5}}

    assert dead_letter_of(properties) == {"delivery_mode": 2, "headers": {**OF_THE_DEAD_LETTER, HELD_DEADLINE: 5}}


@pytest.mark.parametrize("value", ["text", "grüße", "", 0, -(2**63), 2**63 - 1, True, None, b"\xff"])
def test_it_keeps_plain_headers_which_can_be_sent_again(value: Any) -> None:
    headers = dead_letter_of({"headers": {"trace": value}})["headers"]

    assert headers == {"trace": value, **OF_THE_DEAD_LETTER}
    assert dumps("F", [headers])


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 1.5, Decimal("1"), datetime(2026, 1, 1, tzinfo=UTC), [], {}, "\ud800"]
)
def test_it_leaves_other_headers_out(value: Any) -> None:
    assert dead_letter_of({"headers": {"other": value}})["headers"] == OF_THE_DEAD_LETTER


def test_a_request_keeps_its_identity_and_no_other_one_has_it() -> None:
    request = {"reply_to": "c", "message_id": "m"}

    assert identity({**request, "headers": {"x-delivery-count": 3}}, b"body") == identity(request, b"body")
    others = [
        (request, b"other"),
        ({**request, "message_id": "n"}, b"body"),
        ({**request, "reply_to": "d"}, b"body"),
        ({"reply_to": "c"}, b"body"),
        ({}, b""),
    ]
    identities = {identity(*other) for other in others} | {identity(request, b"body")}
    assert len(identities) == 6


def test_an_id_of_any_bytes_has_an_identity() -> None:
    assert len(identity({"message_id": "\udcff"}, b"")) == 32
