"""Deadlines as they travel with a request."""

import time
from typing import Any

import pytest

from amphora.protocol.deadlines import DEADLINE, deadline_header, deadline_of, expiration, is_expired


def test_a_deadline_travels_in_milliseconds_and_is_never_earlier_than_meant() -> None:
    header = deadline_header(1_800_000_000.0001)

    assert header == {DEADLINE: 1_800_000_000_001}
    assert deadline_of({"headers": header}) == 1_800_000_000.001


@pytest.mark.parametrize(("seconds", "text"), [(5, "5000"), (0.0015, "2"), (1e-9, "1"), (86_400 * 365, "31536000000")])
def test_the_expiration_is_in_whole_milliseconds_of_which_there_is_at_least_one(seconds: float, text: str) -> None:
    assert expiration(seconds) == text


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"headers": None},
        {"headers": {}},
        {"headers": {"other": 1}},
        *({"headers": {DEADLINE: value}} for value in ("1800000000000", 1.5, None, True, b"1", [1], {})),
    ],
)
def test_a_request_without_a_readable_deadline_has_none_and_never_expires(properties: dict[str, Any]) -> None:
    assert deadline_of(properties) is None
    assert not is_expired(properties)


def test_a_request_is_expired_when_its_deadline_has_passed() -> None:
    now = time.time()

    assert is_expired({"headers": deadline_header(now - 0.01)})
    assert is_expired({"headers": {DEADLINE: -1}})
    assert not is_expired({"headers": deadline_header(now + 60)})
