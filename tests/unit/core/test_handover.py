"""Tasks for a hub thread: every future gets exactly one outcome, whatever happens in whatever order."""

import sys
from collections.abc import Iterator

import pytest
from gevent.monkey import get_original
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from amphora.core.handover import Handover, HubState


class Ledgers(RuleBasedStateMachine):
    """Threads, a hub and futures; the model has one dict of futures with the number of their outcomes."""

    kind: type[Handover[int]] = Handover

    def __init__(self) -> None:
        super().__init__()
        self.handover = self.kind()
        self.outcomes: dict[int, int] = {}
        self.waiting: list[int] = []
        self.begun: list[int] = []
        self.number = 0

    @rule()
    def submit(self) -> None:
        self.number += 1
        was_empty = not self.waiting
        wake = self.handover.submit(self.number)
        assert (wake is None) == (self.handover.state is not HubState.RUNNING)
        if wake is not None:
            assert wake == was_empty
            self.outcomes[self.number] = 0
            self.waiting.append(self.number)

    @precondition(lambda self: self.handover.state is not HubState.ENDED)
    @rule()
    def take_all(self) -> None:
        assert self.handover.take_all() == self.waiting
        self.begun += self.waiting
        self.waiting.clear()

    @rule()
    def adopt(self) -> None:
        self.number += 1
        if self.handover.adopt(self.number):
            self.outcomes[self.number] = 0
            self.begun.append(self.number)
        else:
            assert self.handover.state is HubState.ENDED

    @precondition(lambda self: bool(self.begun))
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.begun))
        self.outcomes[task] += self.handover.done(task)
        assert self.outcomes[task] == 1

    @precondition(lambda self: bool(self.begun or self.waiting))
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.begun + self.waiting))
        kill = self.handover.abandon(task)
        assert not kill or task in self.begun
        if self.outcomes[task] == 0:
            # Its thread has gone: that is its outcome.
            assert kill == (task in self.begun)
            self.outcomes[task] = 1
        if task in self.waiting:
            self.waiting.remove(task)
            self.begun.append(task)

    @rule()
    def stop(self) -> None:
        self.handover.stop()
        assert self.handover.state is not HubState.RUNNING

    @precondition(lambda self: self.number > 3)
    @rule()
    def end(self) -> None:
        for task in self.handover.end():
            self.outcomes[task] += 1
        self.begun += self.waiting
        self.waiting.clear()
        assert all(count == 1 for count in self.outcomes.values()), "a future without an outcome"

    @invariant()
    def holds(self) -> None:
        self.handover.check()
        assert all(count <= 1 for count in self.outcomes.values()), "a second outcome"
        assert len(self.handover) == sum(count == 0 for count in self.outcomes.values())


SETTINGS = settings(
    max_examples=500, phases=[Phase.generate], derandomize=True, report_multiple_bugs=False, deadline=None
)
TestLedgers = Ledgers.TestCase


class TakesTasksWhileItStops(Handover[int]):
    __slots__ = ()

    def submit(self, task: int) -> bool | None:
        if self.state is HubState.STOPPING:
            self._ledger[task] = None
            return True
        return super().submit(task)


class ForgetsDeferredResults(Handover[int]):
    __slots__ = ()

    def adopt(self, task: int) -> bool:
        return self.state is not HubState.ENDED


class CompletesTwice(Handover[int]):
    __slots__ = ()

    def done(self, task: int) -> bool:
        super().done(task)
        return True


class EndsOnlyWhatHasBegun(Handover[int]):
    __slots__ = ()

    def end(self) -> list[int]:
        waiting = self._inbox
        return [task for task in super().end() if task not in waiting]


@pytest.mark.parametrize(
    "planted", [TakesTasksWhileItStops, ForgetsDeferredResults, CompletesTwice, EndsOnlyWhatHasBegun]
)
def test_planted_bugs_are_found(planted: type[Handover[int]]) -> None:
    broken = type("Broken", (Ledgers,), {"kind": planted})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=SETTINGS)


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching_often")
def test_no_task_slips_in_behind_the_end() -> None:
    start_new_thread = get_original("_thread", "start_new_thread")
    allocate_lock = get_original("_thread", "allocate_lock")
    for _ in range(20):
        handover: Handover[tuple[int, int]] = Handover()
        lock = allocate_lock()
        accepted: list[tuple[int, int]] = []
        joins = [allocate_lock() for _ in range(4)]

        def submit(thread: int, joined: object, handover=handover, lock=lock, accepted=accepted) -> None:  # type: ignore[no-untyped-def]
            for number in range(200):
                with lock:
                    if handover.submit((thread, number)) is not None:
                        accepted.append((thread, number))
            joined.release()  # type: ignore[attr-defined]

        for number, joined in enumerate(joins):
            joined.acquire()
            start_new_thread(submit, (number, joined))
        with lock:
            handover.take_all()
        with lock:
            left = handover.end()
        for joined in joins:
            joined.acquire()
        assert sorted(left) == sorted(accepted)
        handover.check()
