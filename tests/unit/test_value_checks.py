"""Checks of single values: what is taken, what is refused, and that the error names the value as its user does."""

import math
from typing import Any

import pytest

from amphora.value_checks import at_least_one, boolean, concurrency_of, expiry_of, milliseconds, seconds


@pytest.mark.parametrize("value", [0, 1, "no", None])
def test_a_switch_is_true_or_false(value: Any) -> None:
    assert boolean("declare", False) is False
    with pytest.raises(TypeError, match=f"declare must be a bool, not {value!r}"):
        boolean("declare", value)


@pytest.mark.parametrize(("value", "kind"), [(True, TypeError), (1.0, TypeError), ("1", TypeError), (0, ValueError)])
def test_a_count_is_an_int_of_at_least_one(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"concurrency must be .*, not {value!r}"):
        at_least_one("concurrency", value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        (-1, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
    ],
)
def test_a_duration_is_a_finite_number(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="timeout must be"):
        seconds("timeout", value, zero=True)


def test_zero_seconds_are_taken_only_where_they_make_sense() -> None:
    assert seconds("timeout", 0, zero=True) == 0.0
    with pytest.raises(ValueError, match="timeout must be more than 0 s, not 0"):
        seconds("timeout", 0)


# What the broker, or AMQP, can carry: a larger value would close the connection each time it is declared.


@pytest.mark.parametrize(
    ("check", "largest", "text"),
    [
        (concurrency_of, 65_535, "concurrency must be at most 65535"),
        (lambda value: expiry_of("x_expires", value), 2**32 - 1, "x_expires must be at most 4294967295 ms"),
    ],
    ids=["concurrency", "x_expires"],
)
def test_a_number_may_be_as_large_as_the_broker_takes(check: Any, largest: int, text: str) -> None:
    assert check(largest) == largest
    for larger in (largest + 1, 2**62, 2**64):
        with pytest.raises(ValueError, match=text):
            check(larger)


def test_seconds_may_be_as_many_as_the_broker_keeps_a_queue() -> None:
    assert milliseconds("response_queue_expires", 4_294_967) == 4_294_967_000
    for more in (4_294_968, 1e30, math.inf, 10**400):
        with pytest.raises(ValueError, match="response_queue_expires"):
            milliseconds("response_queue_expires", more)
