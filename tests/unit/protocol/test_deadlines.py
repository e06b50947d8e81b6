"""Deadlines as they travel with a request."""

import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from amphora.driver.frames import encode_header
from amphora.protocol.deadlines import DEADLINE, LATEST, deadline_header, deadline_of, expiration, is_expired

#: Seconds, and times, that pass the checks of arguments or come from another program.
EXTREMES = [sys.maxsize, sys.float_info.max, 2**63 / 1000, 2**31 / 1000, 10 * 365 * 86_400, 1e-300, 0, -(2**63)]


def test_a_deadline_travels_in_milliseconds_and_is_never_earlier_than_meant() -> None:
    header = deadline_header(1_800_000_000.0001)

    assert header == {DEADLINE: 1_800_000_000_001}
    assert deadline_of({"headers": header}) == 1_800_000_000.001


@pytest.mark.parametrize(("seconds", "text"), [(5, "5000"), (0.0015, "2"), (1e-9, "1"), (2_147_483.647, "2147483647")])
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


@pytest.mark.parametrize("deadline", EXTREMES)
def test_any_deadline_can_be_encoded(deadline: float) -> None:
    headers = deadline_header(deadline)

    encode_header(1, {"headers": headers}, 0)
    assert 0 <= headers[DEADLINE] <= LATEST * 1000


@pytest.mark.parametrize("seconds", EXTREMES)
def test_any_duration_gives_an_expiration_that_a_broker_accepts_or_none(seconds: float) -> None:
    limit = expiration(seconds)

    assert limit is None or 1 <= int(limit) < 2**31


@pytest.mark.parametrize("seconds", [2_147_483.648, 86_400 * 365, sys.maxsize])
def test_the_broker_is_not_asked_to_drop_what_may_wait_for_more_than_24_days(seconds: float) -> None:
    assert expiration(seconds) is None


@pytest.mark.parametrize("milliseconds", [2**63 - 1, -(2**63), 2**64 - 1, 10**400, 253_402_300_800_000])
def test_a_foreign_deadline_of_any_size_can_be_passed_on_and_shown(milliseconds: int) -> None:
    deadline = deadline_of({"headers": {DEADLINE: milliseconds}})

    assert deadline is not None
    encode_header(1, {"headers": deadline_header(deadline)}, 0)
    datetime.fromtimestamp(deadline, UTC)
    datetime.fromtimestamp(deadline)
