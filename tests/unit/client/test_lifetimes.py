"""How long a call may take, by its options and by the deadline of the request that it is made for."""

import contextvars
import sys
import time
from typing import Any

import pytest

from amphora.client.lifetimes import Lifetime, lifetime_of
from amphora.driver.incoming_message import IncomingMessage
from amphora.endpoint.current_request import call_deadline, enter_request
from amphora.exceptions import NoResult
from amphora.protocol.deadlines import DEADLINE, LATEST, deadline_header


def for_a_request(deadline: float | None, timeout: float | None, expires: Any) -> Lifetime:
    """Work a lifetime out as it is done within a remote function."""

    def run() -> Lifetime:
        properties = {} if deadline is None else {"headers": deadline_header(deadline)}
        enter_request(IncomingMessage(None, 1, False, properties, b""), "outer")
        return lifetime_of("inner", timeout, expires)

    return contextvars.copy_context().run(run)


@pytest.mark.parametrize("expires", [None, False])
def test_a_call_has_no_deadline_unless_it_is_asked_for(expires: Any) -> None:
    assert lifetime_of("f", 5.0, expires) == (5.0, None)
    assert for_a_request(None, 5.0, expires) == (5.0, None)


@pytest.mark.parametrize(("expires", "within"), [(True, 5), (2, 2), (0.5, 0.5), (60, 60)])
def test_expires_is_the_timeout_or_seconds(expires: Any, within: float) -> None:
    before = time.time()

    timeout, deadline = lifetime_of("f", 5.0, expires)

    assert timeout == 5.0
    assert deadline is not None
    assert before + within <= deadline <= time.time() + within


def test_seconds_need_no_timeout() -> None:
    timeout, deadline = lifetime_of("f", None, 2)

    assert timeout is None
    assert deadline is not None


@pytest.mark.parametrize(("timeout", "expires"), [(5.0, 0), (5.0, -1), (5.0, float("inf")), (None, True)])
def test_a_lifetime_that_makes_no_sense_is_refused(timeout: float | None, expires: Any) -> None:
    with pytest.raises(ValueError, match="expires"):
        lifetime_of("f", timeout, expires)


@pytest.mark.parametrize("expires", ["5", [], object()])
def test_anything_but_a_bool_or_seconds_is_refused(expires: Any) -> None:
    with pytest.raises(TypeError, match="expires"):
        lifetime_of("f", 5.0, expires)


@pytest.mark.parametrize(
    ("timeout", "expires"), [(None, None), (None, 3600), (3600.0, None), (3600.0, True), (3600.0, 3600)]
)
def test_within_a_request_its_deadline_is_passed_on_and_bounds_the_timeout(timeout: float | None, expires: Any) -> None:
    outer = float(int(time.time()) + 60)

    bounded, deadline = for_a_request(outer, timeout, expires)

    assert deadline == outer
    assert bounded is not None
    assert 0 < bounded <= 60


def test_a_shorter_lifetime_than_that_of_the_outer_request_stands() -> None:
    timeout, deadline = for_a_request(time.time() + 3600, 5.0, True)

    assert timeout == 5.0
    assert deadline is not None
    assert deadline <= time.time() + 5


def test_a_call_after_the_deadline_of_the_outer_request_fails_at_once() -> None:
    with pytest.raises(NoResult, match="'inner': not sent, as the deadline of the request"):
        for_a_request(time.time() - 1, 5.0, None)


def test_expires_false_passes_no_deadline_on() -> None:
    assert for_a_request(time.time() - 1, 5.0, False) == (5.0, None)


def test_a_deadline_set_for_calls_is_passed_on_and_bounds_the_timeout_within_its_block_only() -> None:
    deadline = time.time() + 60

    with call_deadline(deadline):
        timeout, passed_on = lifetime_of("f", 3600.0, None)

    assert passed_on == deadline
    assert timeout is not None
    assert 0 < timeout <= 60
    assert lifetime_of("f", 3600.0, None) == (3600.0, None)


def test_the_earliest_of_several_deadlines_holds() -> None:
    now = time.time()

    with call_deadline(now + 60), call_deadline(now + 90), call_deadline(None):
        assert lifetime_of("f", None, None)[1] == now + 60
        # Whole milliseconds: as headers have it.
        assert for_a_request(float(int(now) + 30), None, None)[1] == float(int(now) + 30)
        assert for_a_request(float(int(now) + 90), None, None)[1] == now + 60
    with call_deadline(now - 1), pytest.raises(NoResult):
        lifetime_of("f", None, None)


@pytest.mark.parametrize("expires", [sys.maxsize, sys.float_info.max, True])
def test_a_deadline_of_any_size_is_clipped(expires: Any) -> None:
    timeout, deadline = lifetime_of("f", float(sys.maxsize), expires)

    assert timeout == float(sys.maxsize)
    assert deadline == LATEST


@pytest.mark.parametrize("limit", [float("inf"), sys.float_info.max, sys.maxsize])
def test_a_deadline_of_any_size_that_is_set_for_calls_is_clipped(limit: float) -> None:
    with call_deadline(limit):
        assert lifetime_of("f", 5.0, None) == (5.0, LATEST)


def test_a_deadline_set_for_calls_is_a_number() -> None:
    with pytest.raises(ValueError, match="nan"), call_deadline(float("nan")):
        pass


def test_an_inherited_deadline_of_any_size_is_clipped() -> None:
    def run() -> Lifetime:
        enter_request(IncomingMessage(None, 1, False, {"headers": {DEADLINE: 2**63 - 1}}, b""), "outer")
        return lifetime_of("inner", 5.0, None)

    assert contextvars.copy_context().run(run) == (5.0, LATEST)
