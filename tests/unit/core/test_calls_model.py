"""Pending calls under any order of events, against a dict of what may end each."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from amphora.core.calls import Calls, CallState, Ending, PendingCall
from amphora.core.inbox import ONE_REPLY, Answers, Inbox

indexes = st.integers(0, 50)

#: Few timeouts that many calls share, and many that each has alone: more than there are lists for.
timeouts = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 60.0]), st.integers(1, 300).map(lambda tenth: tenth / 10))


class Model(RuleBasedStateMachine):
    """What the broker, callers and time do; the outcomes are noted by the test alone."""

    machine_type: type[Calls] = Calls

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.alarm_at = inf
        self.calls: list[PendingCall] = []
        self.deadlines: dict[str, float] = {}
        self.wanted: dict[str, int] = {}
        self.expected: dict[str, Ending] = {}
        self.told: Counter[str] = Counter()
        self.how: dict[str, Ending] = {}
        self.decisions: Counter[str] = Counter()
        self.machine = self.machine_type(self)

    # -- ports ------------------------------------------------------------------------------

    def decided(self, call: PendingCall) -> None:
        self.decisions[call.id] += 1

    def ended(self, call: PendingCall, how: Ending, detail: Any) -> None:
        self.told[call.id] += 1
        self.how[call.id] = how
        assert call.state is CallState.ENDED
        assert call.id not in self.machine.pending
        if how is Ending.EXPIRED:
            assert self.deadlines[call.id] <= self.now, "a call has ended before its deadline"
        self.machine.check()

    def alarm(self, at: float) -> None:
        self.alarm_at = at

    # -- rules ------------------------------------------------------------------------------

    @rule(number=st.integers(1, 80), timeout=timeouts, enough=st.sampled_from([None, 1, 2]), gathers=st.booleans())
    def open(self, number: int, timeout: float | None, enough: int | None, gathers: bool) -> None:
        # Many at a time, with timeouts a little apart: more than there are lists for.
        for each in range(number):
            name = str(len(self.calls))
            own = None if timeout is None else timeout if each % 2 else timeout + each / 7
            inbox: Inbox = Answers(enough, lambda _: True) if gathers else ONE_REPLY
            call = PendingCall(name, "f", own, None, inbox)
            call.decided = object()
            self.calls.append(call)
            self.deadlines[name] = inf if own is None else self.now + own
            self.wanted[name] = (enough or 10**9) if gathers else 1
            self.machine.open(call, self.now)

    def _any(self, index: int) -> PendingCall | None:
        # The latest ones most often: others may have ended.
        return self.calls[-1 - index % len(self.calls)] if self.calls else None

    def _expect(self, call: PendingCall, how: Ending) -> None:
        self.expected.setdefault(call.id, how)

    @rule(index=indexes)
    def reply(self, index: int) -> None:
        call = self._any(index)
        if call is not None:
            if call.id not in self.expected:
                self.wanted[call.id] -= 1
                if self.wanted[call.id] == 0:
                    self._expect(call, Ending.REPLIED)
            self.machine.reply(call, "reply", self.now)

    @rule(index=indexes)
    def confirm(self, index: int) -> None:
        call = self._any(index)
        if call is not None:
            before = self.decisions[call.id]
            self.machine.confirmed(call)
            assert self.decisions[call.id] <= 1
            if call.id in self.expected:
                assert self.decisions[call.id] == before

    @rule(index=indexes)
    def refuse(self, index: int) -> None:
        call = self._any(index)
        if call is not None:
            pending = call.id not in self.expected
            self._expect(call, Ending.REFUSED)
            assert self.machine.refused(call, "no") is pending

    @rule(index=indexes)
    def forget(self, index: int) -> None:
        call = self._any(index)
        if call is not None:
            self._expect(call, Ending.FORGOTTEN)
            self.machine.forget(call)

    @rule()
    def stop(self) -> None:
        for call in self.calls:
            self._expect(call, Ending.STOPPED)
        self.machine.stop()
        assert not self.machine.pending

    @rule()
    def stop_endless(self) -> None:
        for call in self.calls:
            if call.timeout is None:
                self._expect(call, Ending.STOPPED)
        self.machine.stop_endless()

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 1.0, 30.0, 100.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass; the driver's timer goes off whenever it is due."""
        until = self.now + seconds
        while self.alarm_at <= until:
            self.now, self.alarm_at = max(self.now, self.alarm_at), inf
            self._expire()
            self.machine.tick(self.now)
        self.now = until
        overdue = [name for name, at in self.deadlines.items() if at < until and name not in self.expected]
        assert not overdue, "a call has outlived its deadline"

    @rule()
    def tick_early(self) -> None:
        self._expire()
        self.machine.tick(self.now)

    def _expire(self) -> None:
        for call in self.calls:
            if self.deadlines[call.id] <= self.now:
                self._expect(call, Ending.EXPIRED)

    # -- what always holds ------------------------------------------------------------------

    @invariant()
    def each_call_has_the_outcome_of_the_first_event_that_ends_it(self) -> None:
        assert self.how == self.expected
        assert all(number == 1 for number in self.told.values()), "a call has two outcomes"
        assert self.machine.pending.keys() == {call.id for call in self.calls} - self.expected.keys()
        self.machine.check()

    @invariant()
    def an_alarm_is_set_in_time(self) -> None:
        nearest = min((self.deadlines[name] for name in self.machine.pending), default=inf)
        assert self.alarm_at <= nearest
        assert self.machine.next_deadline == pytest.approx(nearest)


def find(machine: type[Calls], examples: int) -> None:
    class Run(Model):
        machine_type = machine

    run_state_machine_as_test(
        Run,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_order_of_events_gives_each_call_one_outcome() -> None:
    find(Calls, 150)


# Planted bugs: each must be found.


class _GatherPops(Calls):
    def reply(self, call: PendingCall, reply: Any, now: float) -> None:
        if call.state is not CallState.ENDED:
            call.inbox.put(reply, now)
            self._end(call, Ending.REPLIED, reply)


class _SecondOutcome(Calls):
    def refused(self, call: PendingCall, error: Any) -> bool:
        pending = call.state is not CallState.ENDED
        self._end(call, Ending.REFUSED, error)
        return pending


class _EndedCallFires(Calls):
    def _leave(self, call: PendingCall) -> None:
        due = call.due
        super()._leave(call)
        call.due = due


class _StopEndsOnlyEndless(Calls):
    def stop(self, detail: Any = None) -> None:
        self.stop_endless(detail)


class _EndlessSurvive(Calls):
    def stop_endless(self, detail: Any = None) -> None:
        self._end_all([call for call in self.pending.values() if call.timeout], Ending.STOPPED, detail)


class _NextAlarmForgotten(Calls):
    def tick(self, now: float) -> None:
        announce, self._alarms.announce = self._alarms.announce, lambda _: None  # type: ignore[method-assign]
        super().tick(now)
        self._alarms.announce = announce  # type: ignore[method-assign]


class _DeadlineTooEarly(Calls):
    def tick(self, now: float) -> None:
        super().tick(now + 0.4)


class _ConfirmAfterTheEnd(Calls):
    def confirmed(self, call: PendingCall) -> None:
        call.state = CallState.ACCEPTED
        self._ports.decided(call)


@pytest.mark.parametrize(
    "machine",
    [
        _GatherPops,
        _SecondOutcome,
        _EndedCallFires,
        _StopEndsOnlyEndless,
        _EndlessSurvive,
        _NextAlarmForgotten,
        _DeadlineTooEarly,
        _ConfirmAfterTheEnd,
    ],
)
def test_a_planted_bug_of_calls_is_found(machine: type[Calls]) -> None:
    with pytest.raises((AssertionError, KeyError, AttributeError)):
        find(machine, 300)
