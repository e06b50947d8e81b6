"""`Calls`: each call has one outcome, by the first event that ends it."""

from __future__ import annotations

import gc
import weakref
from math import inf
from typing import Any

import pytest

from amphora.core.calls import Calls, CallState, Ending, PendingCall
from amphora.core.inbox import ONE_REPLY, Answers, Inbox


class Driver:
    """The ports of a machine, which note what they are told.

    Attributes:
        outcomes: How each call ended, by its id, in order.
        alarm_at: The alarm that was asked for last.
    """

    def __init__(self, machine: type[Calls] = Calls) -> None:
        self.outcomes: list[tuple[str, Ending, Any]] = []
        self.accepted: list[str] = []
        self.alarm_at = inf
        self.fails_at: str | None = None
        self.machine = machine(self)

    def decided(self, call: PendingCall) -> None:
        self.accepted.append(call.id)

    def ended(self, call: PendingCall, how: Ending, detail: Any) -> None:
        self.machine.check()
        self.outcomes.append((call.id, how, detail))
        if call.id == self.fails_at:
            raise LookupError("a bug")

    def alarm(self, at: float) -> None:
        self.alarm_at = at

    def open(self, name: str, timeout: float | None = 60.0, inbox: Inbox = ONE_REPLY, now: float = 0.0) -> PendingCall:
        call = PendingCall(name, "f", timeout, None, inbox)
        self.machine.open(call, now)
        self.machine.check()
        return call


@pytest.fixture
def driver() -> Driver:
    return Driver()


# One outcome.


def test_the_first_reply_ends_a_call(driver: Driver) -> None:
    call = driver.open("a")

    driver.machine.reply(call, "first", 1.0)
    driver.machine.reply(call, "second", 1.0)

    assert driver.outcomes == [("a", Ending.REPLIED, "first")]
    assert (call.state, driver.machine.pending) == (CallState.ENDED, {})


def test_a_confirm_is_noted_and_the_call_goes_on(driver: Driver) -> None:
    call = driver.open("a")
    call.decided = object()

    driver.machine.confirmed(call)
    driver.machine.confirmed(call)

    assert driver.accepted == ["a"]
    assert (call.state, call.accepted, driver.outcomes) == (CallState.ACCEPTED, True, [])


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_refusal_ends_a_call(driver: Driver, confirmed: bool) -> None:
    call = driver.open("a")
    if confirmed:
        driver.machine.confirmed(call)

    assert driver.machine.refused(call, "why")
    assert not driver.machine.refused(call, "again")

    assert driver.outcomes == [("a", Ending.REFUSED, "why")]
    assert call.accepted is confirmed


def test_what_comes_after_the_end_changes_nothing(driver: Driver) -> None:
    call = driver.open("a")
    driver.machine.forget(call)

    driver.machine.confirmed(call)
    driver.machine.reply(call, "late", 1.0)
    driver.machine.refused(call, "late")
    driver.machine.forget(call)
    driver.machine.stop()
    driver.machine.tick(100.0)

    assert driver.outcomes == [("a", Ending.FORGOTTEN, None)]
    assert call.state is CallState.ENDED


def test_a_stop_ends_every_call_in_the_order_of_their_beginning(driver: Driver) -> None:
    for name, timeout in (("a", 60.0), ("b", None), ("c", 5.0)):
        driver.open(name, timeout)

    driver.machine.stop("why")

    assert driver.outcomes == [(name, Ending.STOPPED, "why") for name in "abc"]
    assert driver.alarm_at == inf


def test_calls_without_a_deadline_can_be_ended_alone(driver: Driver) -> None:
    driver.open("a", 60.0)
    driver.open("b", None)

    driver.machine.stop_endless()

    assert [name for name, _, _ in driver.outcomes] == ["b"]
    assert driver.alarm_at == 60.0


# Inboxes.


def test_answers_are_gathered_until_enough_count(driver: Driver) -> None:
    inbox = Answers(2, lambda answer: answer != "odd")
    call = driver.open("a", inbox=inbox)

    for number, answer in enumerate(("one", "odd", "two", "three")):
        driver.machine.reply(call, answer, float(number))

    assert inbox.answers == [("one", 0.0), ("odd", 1.0), ("two", 2.0)]
    assert driver.outcomes == [("a", Ending.REPLIED, "two")]


def test_answers_without_a_limit_are_gathered_until_the_deadline(driver: Driver) -> None:
    inbox = Answers(None, lambda _: True)
    call = driver.open("a", 5.0, inbox)
    for number in range(100):
        driver.machine.reply(call, number, 1.0)

    driver.machine.tick(5.0)

    assert len(inbox.answers) == 100
    assert driver.outcomes == [("a", Ending.EXPIRED, None)]


def test_an_inbox_of_another_kind_says_when_its_call_is_over(driver: Driver) -> None:
    class UntilTheLast(Inbox):
        def put(self, reply: Any, now: float) -> bool:
            return bool(reply["last"])

    call = driver.open("a", inbox=UntilTheLast())

    for last in (False, False, True):
        driver.machine.reply(call, {"last": last}, 0.0)

    assert driver.outcomes == [("a", Ending.REPLIED, {"last": True})]


# Deadlines.


def test_the_deadline_is_told() -> None:
    driver = Driver()

    assert driver.machine.open(PendingCall("a", "f", 60.0), 7.0) == 67.0
    assert driver.machine.open(PendingCall("b", "f", None), 7.0) is None


def test_a_call_ends_at_its_deadline_and_not_before(driver: Driver) -> None:
    driver.open("a", 5.0)

    driver.machine.tick(4.9)
    assert (driver.outcomes, driver.alarm_at) == ([], 5.0)
    driver.machine.tick(5.0)

    assert driver.outcomes == [("a", Ending.EXPIRED, None)]


def test_calls_with_one_timeout_end_in_the_order_of_their_beginning(driver: Driver) -> None:
    for number, name in enumerate("abc"):
        driver.open(name, 5.0, now=number / 10)

    driver.machine.tick(5.15)

    assert [name for name, _, _ in driver.outcomes] == ["a", "b"]
    assert driver.alarm_at == pytest.approx(5.2)


def test_an_alarm_is_asked_for_the_nearest_deadline(driver: Driver) -> None:
    driver.open("far", 3600.0)
    assert driver.alarm_at == 3600.0
    driver.open("near", 1.0)
    assert driver.alarm_at == 1.0

    driver.machine.tick(1.0)

    assert driver.alarm_at == 3600.0


def test_thousands_of_calls_with_thousands_of_timeouts_all_end(driver: Driver) -> None:
    timeouts = {str(number): 0.01 + (number * 7919 % 3000) / 100 for number in range(3000)}
    for name, timeout in timeouts.items():
        driver.machine.open(PendingCall(name, "f", timeout), 0.0)
    driver.machine.check()

    while driver.alarm_at < inf:
        driver.machine.tick(driver.alarm_at)

    ended = [name for name, _, _ in driver.outcomes]
    assert sorted(ended) == sorted(timeouts)
    assert [timeouts[name] for name in ended] == sorted(timeouts.values())


def test_timeouts_that_no_call_has_any_more_make_room_for_others(driver: Driver) -> None:
    for number in range(1000):
        call = driver.open(str(number), 60.0 + number)
        driver.machine.forget(call)

    assert len(driver.machine._lists) <= 64
    assert driver.machine.next_deadline == inf


@pytest.mark.parametrize("timeout", [1e9, 1e15])
def test_a_timeout_of_many_years_is_no_trouble(driver: Driver, timeout: float) -> None:
    driver.open("eternal", timeout)
    driver.open("near", 1.0)

    driver.machine.tick(1.0)

    assert list(driver.machine.pending) == ["eternal"]


def test_what_comes_of_one_end_may_open_and_end_other_calls() -> None:
    class Busy(Driver):
        def ended(self, call: PendingCall, how: Ending, detail: Any) -> None:
            super().ended(call, how, detail)
            if call.id == "a":
                self.machine.forget(other)
                self.open("again", 1.0, now=5.0)

    driver = Busy()
    driver.open("a", 5.0)
    driver.open("b", 5.0)
    other = driver.open("other", 60.0)

    driver.machine.tick(5.0)

    assert driver.outcomes == [
        ("a", Ending.EXPIRED, None), ("other", Ending.FORGOTTEN, None), ("b", Ending.EXPIRED, None)
    ]  # fmt: skip
    assert driver.alarm_at == 6.0


def test_an_error_at_one_end_costs_no_other_call_its_own(driver: Driver) -> None:
    for name in "abc":
        driver.open(name, 5.0)
    driver.open("later", 9.0)
    driver.fails_at = "b"

    with pytest.raises(LookupError):
        driver.machine.tick(5.0)
    assert driver.alarm_at <= 5.0
    driver.machine.tick(5.0)

    assert [name for name, _, _ in driver.outcomes] == ["a", "b", "c"]
    assert driver.alarm_at == 9.0


# Nothing left behind.


class Reply:
    """Something that can be watched."""


def test_an_ended_call_is_not_kept_alive(driver: Driver) -> None:
    call = driver.open("a")
    driver.machine.reply(call, None, 0.0)
    reply = Reply()
    call.message = reply
    known = weakref.ref(reply)

    del call, reply
    driver.outcomes.clear()
    gc.collect()

    assert known() is None
