"""`PendingCalls`: deadlines kept, and nothing left behind."""

import gc
import weakref
from collections.abc import Iterator
from time import monotonic

import gevent
import pytest
from gevent.event import Event

from amphora.client.pending_calls import PendingCall, PendingCalls
from amphora.exceptions import BrokerUnreachable, NoResult
from tests.support.eventually import wait_until


class Expired:
    """Keeps which calls have expired, and when."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.times: dict[str, float] = {}

    def __call__(self, call: PendingCall) -> None:
        self.ids.append(call.id)
        self.times[call.id] = monotonic()


@pytest.fixture
def expired() -> Expired:
    return Expired()


@pytest.fixture
def pending(expired: Expired) -> Iterator[PendingCalls]:
    calls = PendingCalls(expired)
    yield calls
    calls.pop_all()


def add(pending: PendingCalls, name: str, timeout: float | None) -> PendingCall:
    call = PendingCall(name, "function", timeout)
    pending.add(call)
    return call


# Calls.


def test_a_call_is_pending_until_it_is_popped(pending: PendingCalls) -> None:
    call = add(pending, "a", 60)

    assert len(pending) == 1
    assert pending.pop("a") is call
    assert (len(pending), pending.pop("a")) == (0, None)


@pytest.mark.parametrize("call_id", [None, "", "unknown"])
def test_an_unknown_reply_finds_no_call(pending: PendingCalls, call_id: str | None) -> None:
    add(pending, "a", None)

    assert pending.pop(call_id) is None
    assert len(pending) == 1


def test_all_calls_can_be_ended_at_once(pending: PendingCalls) -> None:
    calls = [add(pending, "a", 60), add(pending, "b", None), add(pending, "c", 5)]

    assert pending.pop_all() == calls
    assert len(pending) == 0


def test_endless_calls_can_be_ended_alone(pending: PendingCalls) -> None:
    add(pending, "a", 60)
    endless = add(pending, "b", None)

    assert pending.pop_all(only_endless=True) == [endless]
    assert len(pending) == 1


def test_an_accepted_call_wakes_who_waits_for_the_brokers_word() -> None:
    call = PendingCall("a", "function", 60)
    call.decided = Event()

    call.accept()

    assert call.accepted
    assert call.decided.is_set()
    assert not call.result.ready()


def test_a_refused_call_wakes_everybody_who_waits() -> None:
    call = PendingCall("a", "function", 60)
    call.decided = Event()
    error = BrokerUnreachable("gone")

    call.refuse(error)

    assert call.decided.is_set()
    assert (call.refused, call.result.exception) == (error, error)


# Deadlines.


def test_the_deadline_is_told(pending: PendingCalls) -> None:
    before = monotonic()

    deadline = pending.add(PendingCall("a", "function", 60))

    assert deadline is not None
    assert before + 60 <= deadline <= monotonic() + 60


def test_a_call_without_a_timeout_has_no_deadline(pending: PendingCalls) -> None:
    assert pending.add(PendingCall("a", "function", None)) is None


def test_a_call_expires_after_its_timeout_and_is_not_pending_any_more(pending: PendingCalls, expired: Expired) -> None:
    deadline = pending.add(PendingCall("a", "function", 0.02))

    wait_until(lambda: expired.ids == ["a"])

    assert deadline is not None
    assert expired.times["a"] >= deadline
    assert len(pending) == 0


def test_a_timeout_of_zero_expires_at_the_next_turn(pending: PendingCalls, expired: Expired) -> None:
    add(pending, "a", 0)
    assert expired.ids == []

    wait_until(lambda: expired.ids == ["a"])


def test_an_answered_call_does_not_expire(pending: PendingCalls, expired: Expired) -> None:
    add(pending, "answered", 0.02)
    add(pending, "later", 0.04)

    pending.pop("answered")
    wait_until(lambda: expired.ids)

    assert expired.ids == ["later"]


def test_no_call_expires_before_its_deadline(pending: PendingCalls, expired: Expired) -> None:
    deadlines = {}
    for timeout in (0.08, 0.02, 0.06, 0.04):
        deadlines[f"{timeout}"] = pending.add(PendingCall(f"{timeout}", "function", timeout))

    wait_until(lambda: len(expired.ids) == 4)

    assert [name for name, deadline in deadlines.items() if deadline is None or expired.times[name] < deadline] == []


def test_calls_with_one_timeout_expire_in_the_order_of_their_beginning(pending: PendingCalls, expired: Expired) -> None:
    for name in "abc":
        add(pending, name, 0.02)

    wait_until(lambda: len(expired.ids) == 3)

    assert expired.ids == ["a", "b", "c"]


def test_a_nearer_deadline_does_not_wait_for_a_far_one(pending: PendingCalls, expired: Expired) -> None:
    add(pending, "far", 3600)
    add(pending, "near", 0.02)

    wait_until(lambda: expired.ids == ["near"])

    assert len(pending) == 1


def test_thousands_of_calls_with_thousands_of_timeouts_all_expire(pending: PendingCalls, expired: Expired) -> None:
    calls = [add(pending, f"{number}", 0.01 + (number * 7919 % 3000) / 100_000) for number in range(3000)]

    wait_until(lambda: len(expired.ids) == len(calls))

    assert sorted(expired.ids) == sorted(call.id for call in calls)
    assert len(pending) == 0


def test_what_is_done_about_an_expired_call_may_add_and_answer_others() -> None:
    ended = []

    def on_expired(call: PendingCall) -> None:
        ended.append(call.id)
        calls.pop("answered")
        if call.id == "a":
            add(calls, "again", 0.01)

    calls = PendingCalls(on_expired)
    for name in ("a", "answered", "b"):
        add(calls, name, 0.02)

    wait_until(lambda: "again" in ended)

    assert ended == ["a", "b", "again"]


@pytest.mark.parametrize("timeout", [1e9, 1e15])
def test_a_timeout_of_many_years_is_no_trouble(pending: PendingCalls, expired: Expired, timeout: float) -> None:
    add(pending, "eternal", timeout)
    add(pending, "near", 0.01)

    wait_until(lambda: expired.ids == ["near"])

    assert len(pending) == 1


def test_waiters_get_the_error_of_an_expired_call() -> None:
    pending = PendingCalls(lambda call: call.refuse(NoResult("too late")))
    call = add(pending, "a", 0.01)

    with gevent.Timeout(10), pytest.raises(NoResult, match="too late"):
        call.result.get()


# Nothing left behind.


def test_answered_calls_leave_nothing_behind(pending: PendingCalls) -> None:
    for number in range(1000):
        add(pending, "call", 60 + number)
        pending.pop("call")

    # One empty list of deadlines is kept, so that a client with one timeout does not make it anew each time.
    assert len(pending) == 0
    assert len(pending._deadlines) <= 1


def test_expired_calls_leave_nothing_behind(pending: PendingCalls, expired: Expired) -> None:
    for number in range(100):
        add(pending, f"{number}", 0.01 + number / 10_000)

    wait_until(lambda: len(expired.ids) == 100)

    assert len(pending._deadlines) <= 1


def test_an_answered_call_is_not_kept_alive() -> None:
    pending = PendingCalls(lambda _: None)
    call = add(pending, "a", 60)
    result = weakref.ref(call.result)

    pending.pop("a")
    del call
    gc.collect()

    assert result() is None


@pytest.mark.expects_errors("LookupError")
def test_an_error_at_one_deadline_costs_no_other_call_its_own() -> None:
    ended: list[str] = []

    def on_expired(call: PendingCall) -> None:
        if call.id == "1":
            raise LookupError("a bug")
        ended.append(call.id)

    pending = PendingCalls(on_expired)
    for number, timeout in enumerate((0.01, 0.01, 0.05), 1):
        pending.add(PendingCall(str(number), "f", timeout))

    wait_until(lambda: ended == ["2", "3"], timeout=5)


def test_what_ends_the_program_at_one_deadline_costs_no_other_call_its_own() -> None:
    ended: list[str] = []

    def end(call: PendingCall) -> None:
        ended.append(call.id)
        if call.id == "a":
            # As `sys.exit` in the handler of a signal.
            raise SystemExit(3)

    pending = PendingCalls(end)
    for name in ("a", "b", "c"):
        add(pending, name, 0)

    with pytest.raises(SystemExit):
        gevent.sleep(1)

    assert ended == ["a", "b", "c"]
