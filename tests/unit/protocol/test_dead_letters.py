"""Dead letters: what they keep of the request, and what tells one request from another."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp.serialization import dumps

from amphora.protocol.dead_letters import (
    HELD_DEADLINE,
    TOO_MANY_TRIES,
    dead_letter_properties,
    fitted,
    given_back_properties,
    identity,
    target_of,
)
from amphora.protocol.deadlines import DEADLINE
from amphora.protocol.names import Names

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


# Given back.


def test_a_letter_that_is_given_back_is_the_request_without_what_made_it_a_letter() -> None:
    kept = {
        "message_id": "m",
        "correlation_id": "m",
        "reply_to": "c",
        "content_type": "application/json",
        "timestamp": 1_800_000_000,
        "priority": 3,
    }
    headers = {
        **OF_THE_DEAD_LETTER,
        DEADLINE: 5,
        HELD_DEADLINE: 5,
        "x-amphora-signature": "1:x",
        "X-Amphora-Later": "x",
        "x-death": [{"count": 1}],
        "x-first-death-queue": "q",
        "x-last-death-reason": "expired",
        "x-delivery-count": 3,
        "x-acquired-count": 4,
        "traceparent": "00-1",
        "tenant": "blue",
        "number": 2**62,
    }

    given_back = given_back_properties(
        {**kept, "expiration": "5000", "user_id": "guest", "delivery_mode": 1, "headers": headers}
    )

    assert given_back == {
        **kept,
        "delivery_mode": 2,
        "headers": {"traceparent": "00-1", "tenant": "blue", "number": 2**62},
    }


def test_a_letter_without_other_headers_is_given_back_without_any() -> None:
    assert given_back_properties({"message_id": "m"}) == {"message_id": "m", "delivery_mode": 2}
    assert given_back_properties(dead_letter_of({"headers": {DEADLINE: 5}})) == {"delivery_mode": 2}


ODD_HEADERS = [
    *[
        {"odd": value}
        for value in (2**63, 1.5, Decimal(1), datetime(2026, 1, 1, tzinfo=UTC), [], {}, "\ud800", "\x00é")
    ],
    *[{name: "x"} for name in ("\udcff", "é\x00", "", "n" * 256)],
]


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=ascii)
def test_headers_that_could_not_be_sent_again_are_left_out(headers: dict[str, Any]) -> None:
    assert given_back_properties({"headers": headers}) == {"delivery_mode": 2}
    assert dead_letter_of({"headers": headers})["headers"] == OF_THE_DEAD_LETTER


# Where to.

NAMES = Names("shop")


@pytest.mark.parametrize(
    ("headers", "marked", "target"),
    [
        ({"x-amphora-queue": "q", "x-amphora-routing-key": "k"}, False, ("rpc_shop_request", "k", True)),
        ({"x-amphora-queue": "rpc_bank_request", "x-amphora-routing-key": ""}, False, ("rpc_shop_request", "", True)),
        ({"x-amphora-queue": "rpc_shop_request"}, False, ("rpc_shop_request", "", True)),
        ({"x-first-death-queue": "rpc_shop_request"}, False, ("rpc_shop_request", "", True)),
        ({"x-amphora-queue": "rpc_bank_request"}, False, ("rpc_shop_request", "bank", True)),
        ({"x-amphora-queue": "rpc_shop_queue_red"}, False, ("rpc_shop_request", "red", True)),
        ({"x-amphora-queue": "rpc_shop_1_request"}, False, ("", "rpc_shop_1_request", False)),
        ({"x-amphora-queue": "rpc_shop_1_request"}, True, ("", "rpc_shop_1_request", True)),
        ({"x-amphora-queue": "any other"}, True, ("", "any other", True)),
        ({}, False, ("rpc_shop_request", "", False)),
        ({"x-amphora-queue": 5, "x-amphora-routing-key": 5}, False, ("rpc_shop_request", "", False)),
    ],
)
def test_a_letter_goes_back_by_the_exchange_of_its_service_unless_a_server_says_otherwise(
    headers: dict[str, Any], marked: bool, target: tuple[str, str, bool]
) -> None:
    assert target_of({"headers": headers}, NAMES, marked=marked) == target


@pytest.mark.parametrize("queue", ["any other", "rpc_bank_response", "_request", "rpc_bank_dead"])
def test_a_letter_that_says_it_comes_from_elsewhere_goes_nowhere(queue: str) -> None:
    with pytest.raises(ValueError, match="may be anybody's"):
        target_of({"headers": {"x-amphora-queue": queue}}, NAMES, marked=False)


# Size.


def size_of(properties: Mapping[str, Any]) -> int:
    return sum(len(str(item)) for item in (properties.get("headers") or {}).items())


def test_a_letter_that_fits_stays_as_it_is() -> None:
    letter = dead_letter_of({"headers": {"trace": "x" * 100}})

    assert fitted(letter, room=1000, size=size_of) == letter


def test_the_largest_headers_of_others_go_first() -> None:
    letter = dead_letter_of({"headers": {"small": "x", "large": "x" * 1000, "x-amphora-signature": "x" * 70}})

    headers = fitted(letter, room=500, size=size_of)["headers"]

    assert headers == {**OF_THE_DEAD_LETTER, "small": "x", "x-amphora-signature": "x" * 70}
    assert "large" in letter["headers"]


@pytest.mark.parametrize(("room", "left"), [(250, OF_THE_DEAD_LETTER), (0, {})])
def test_then_those_that_do_not_say_where_it_comes_from_and_then_all(room: int, left: dict[str, Any]) -> None:
    letter = dead_letter_of({"headers": {"other": "x" * 1000, "x-amphora-signature": "x" * 500}})

    assert fitted(letter, room=room, size=size_of)["headers"] == left
