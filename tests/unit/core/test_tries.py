"""The gate, and each row of the table of tries."""

from math import inf
from typing import Any

import pytest

from amphora.core.gate import Gate
from amphora.core.gate import State as GateState
from amphora.core.tries import Attempt, State, Tries

# The gate.


def test_many_are_inside_together() -> None:
    gate: Gate[str] = Gate()

    assert [gate.join(each, exclusive=False) for each in "abc"] == [["a"], ["b"], ["c"]]
    assert gate.state is GateState.OPEN


def test_an_exclusive_member_keeps_all_others_out() -> None:
    gate: Gate[str] = Gate()
    gate.join("a", exclusive=True)
    assert [gate.join("b", exclusive=False), gate.join("c", exclusive=True)] == [[], []]
    assert gate.state is GateState.EXCLUSIVE

    assert gate.leave("a") == ["b"]
    assert gate.state is GateState.WANTED
    assert gate.leave("b") == ["c"]


def test_an_exclusive_member_waits_for_those_inside_and_keeps_later_ones_out() -> None:
    gate: Gate[str] = Gate()
    for each in "ab":
        gate.join(each, exclusive=False)
    gate.join("alone", exclusive=True)
    gate.join("late", exclusive=False)

    assert gate.leave("a") == []
    assert gate.leave("b") == ["alone"]
    assert gate.leave("alone") == ["late"]


def test_who_gives_up_waiting_lets_others_in() -> None:
    gate: Gate[str] = Gate()
    gate.join("a", exclusive=False)
    gate.join("alone", exclusive=True)
    gate.join("late", exclusive=False)

    assert gate.leave("alone") == ["late"]
    assert gate.leave("alone") == []
    assert len(gate) == 2


# Tries.


class Ports:
    """Notes what is asked for.

    Attributes:
        slots: Whether a slot is free.
        can: Whether the broker can be asked.
        unwanted: Suspects that are not to be tried any more.
    """

    def __init__(self) -> None:
        self.slots = True
        self.can = True
        self.unwanted: list[str] = []
        self.said: list[tuple[str, str]] = []

    def ask(self, suspect: str) -> None:
        self.said.append(("ask", suspect))

    def count(self, suspect: str) -> None:
        self.said.append(("count", suspect))

    def wanted(self, suspect: str) -> bool:
        return suspect not in self.unwanted

    def has_slot(self) -> bool:
        return self.slots

    def can_publish(self) -> bool:
        return self.can

    def proceed(self, suspect: str, now: float) -> None:
        self.said.append(("proceed", suspect))

    def give_up(self, suspect: str, now: float) -> None:
        self.said.append(("give up", suspect))

    def hold(self, suspect: str, now: float) -> None:
        self.said.append(("hold", suspect))

    def take(self) -> list[tuple[str, str]]:
        said, self.said = self.said, []
        return said


@pytest.fixture
def ports() -> Ports:
    return Ports()


@pytest.fixture
def tries(ports: Ports) -> Tries[str]:
    return Tries(3, ports)


def in_state(tries: Tries[str], state: State, suspect: str = "s", count: int = 0) -> Attempt[str]:
    """Bring an attempt into a state."""
    if state is State.WAITING:
        in_state(tries, State.RUN, "alone", count=1)
    tries.ask(suspect, suspect, 0.0)
    attempt = tries.attempt_of(suspect)
    assert attempt is not None
    if state is State.ASKING:
        return attempt
    if state is State.TURN:
        tries._ports.slots = False  # type: ignore[attr-defined]
    tries.told(suspect, count if state is not State.LEAVING else 1, 0.0)
    if state in (State.COUNTING, State.WAITING, State.TURN):
        assert attempt.state is state
        return attempt
    tries.counted(suspect, 0.0)
    if state is not State.READY:
        tries.began(suspect)
    if state is State.LEAVING:
        tries.run_ended(suspect, 0.0)
    assert attempt.state is state
    return attempt


@pytest.mark.parametrize("count", [0, 1])
def test_a_try_within_the_limit_is_counted_and_then_made(tries: Tries[str], ports: Ports, count: int) -> None:
    tries.ask("s", "s", 0.0)
    tries.told("s", count, 0.0)
    assert ports.take() == [("ask", "s"), ("count", "s")]

    tries.counted("s", 0.0)

    assert ports.take() == [("proceed", "s")]


@pytest.mark.parametrize("count", [2, 3, 100])
def test_a_try_too_many_is_not_made(tries: Tries[str], ports: Ports, count: int) -> None:
    tries.ask("s", "s", 0.0)

    tries.told("s", count, 0.0)

    assert ports.take()[1:] == [("give up", "s")]
    assert len(tries) == 0


def test_where_the_broker_refuses_to_count_a_try_is_made_uncounted(tries: Tries[str], ports: Ports) -> None:
    in_state(tries, State.RUN, "alone", count=1)
    tries.ask("s", "s", 0.0)
    ports.take()

    tries.refused("s", 0.0)

    assert ports.take() == [("proceed", "s")]
    tries.began("s")
    tries.run_ended("s", 0.0)
    assert tries.attempt_of("s") is None


@pytest.mark.parametrize("state", [State.ASKING, State.COUNTING])
def test_without_an_answer_for_ten_seconds_it_is_held(tries: Tries[str], ports: Ports, state: State) -> None:
    in_state(tries, state)
    ports.take()

    tries.tick(9.9)
    assert ports.take() == []
    tries.tick(10.0)

    assert ports.take() == [("hold", "s")]
    assert len(tries) == 0


@pytest.mark.parametrize("state", [State.ASKING, State.COUNTING])
def test_while_the_broker_cannot_be_asked_nothing_is_given_back(tries: Tries[str], ports: Ports, state: State) -> None:
    attempt = in_state(tries, state)
    ports.take()
    ports.can = False

    tries.tick(10.0)

    assert (ports.take(), attempt.due) == ([], 20.0)


def test_a_try_that_the_broker_does_not_count_is_not_made(tries: Tries[str], ports: Ports) -> None:
    in_state(tries, State.COUNTING)
    ports.take()

    tries.not_counted("s", 0.0)

    assert ports.take() == [("hold", "s")]


def test_it_is_not_counted_before_a_slot_is_free(tries: Tries[str], ports: Ports) -> None:
    in_state(tries, State.TURN)
    assert ports.take() == [("ask", "s")]
    ports.slots = True

    tries.pump(0.0)

    assert ports.take() == [("count", "s")]


def test_what_is_not_wanted_any_more_at_its_turn_is_not_counted(tries: Tries[str], ports: Ports) -> None:
    ports.unwanted.append("s")
    tries.ask("s", "s", 0.0)

    tries.told("s", 0, 0.0)

    assert ports.take() == [("ask", "s"), ("hold", "s")]


def test_a_last_try_is_counted_when_no_other_suspect_runs(tries: Tries[str], ports: Ports) -> None:
    in_state(tries, State.RUN, "first")
    last = in_state(tries, State.ASKING, "last")
    ports.take()
    tries.told("last", 1, 0.0)
    later = in_state(tries, State.ASKING, "later")
    tries.told("later", 0, 0.0)
    assert (last.state, later.state, ports.take()) == (State.WAITING, State.WAITING, [("ask", "later")])

    tries.run_ended("first", 0.0)

    assert (last.state, later.state, ports.take()) == (State.COUNTING, State.WAITING, [("count", "last")])


@pytest.mark.parametrize("settled", [False, True])
def test_a_last_try_keeps_the_gate_until_it_is_settled_or_for_a_second(
    tries: Tries[str], ports: Ports, settled: bool
) -> None:
    in_state(tries, State.LEAVING, "last")
    tries.ask("next", "next", 0.0)
    tries.told("next", 0, 0.0)
    ports.take()

    if settled:
        tries.leave("last", 0.5)
    else:
        tries.tick(0.9)
        assert ports.take() == []
        tries.tick(1.0)

    assert ports.take() == [("count", "next")]


def test_another_try_does_not_keep_the_gate(tries: Tries[str]) -> None:
    in_state(tries, State.RUN)

    tries.run_ended("s", 0.0)

    assert len(tries) == 0


def test_a_first_delivery_that_never_began_is_no_try(tries: Tries[str], ports: Ports) -> None:
    tries.not_begun("s")
    tries.ask("s", "s", 0.0)

    tries.told("s", 2, 0.0)

    assert ports.take() == [("ask", "s"), ("count", "s")]


@pytest.mark.parametrize("state", [State.COUNTING, State.READY])
def test_a_count_whose_try_was_not_made_is_taken_off_again(tries: Tries[str], ports: Ports, state: State) -> None:
    in_state(tries, state)
    tries.leave("s", 0.0)
    ports.take()
    tries.ask("s", "s", 0.0)

    tries.told("s", 2, 0.0)

    assert ports.take() == [("ask", "s"), ("count", "s")]


def test_what_is_finished_is_forgotten(tries: Tries[str], ports: Ports) -> None:
    tries.not_begun("s")
    tries.forget("s")
    tries.ask("s", "s", 0.0)

    tries.told("s", 2, 0.0)

    assert ports.take() == [("ask", "s"), ("give up", "s")]


EVENTS: dict[str, list[Any]] = {
    "told": [0],
    "refused": [],
    "counted": [],
    "not_counted": [],
    "began": [],
    "run_ended": [],
}
LISTED = {
    State.ASKING: {"told", "refused"},
    State.COUNTING: {"counted", "not_counted"},
    State.READY: {"began"},
    State.RUN: {"run_ended"},
}


@pytest.mark.parametrize("state", [each for each in State if each is not State.OUT])
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_the_table_does_not_list_changes_nothing(tries: Tries[str], state: State, event: str) -> None:
    attempt = in_state(tries, state)
    when = [] if event == "began" else [0.0]

    getattr(tries, event)("s", *EVENTS[event], *when)

    assert (attempt.state is not state) == (event in LISTED.get(state, ()))
    assert tries.unexpected == (event not in LISTED.get(state, ()))
    tries.check()


@pytest.mark.parametrize("state", [each for each in State if each is not State.OUT])
def test_whatever_it_waits_for_a_suspect_can_leave(tries: Tries[str], state: State) -> None:
    attempt = in_state(tries, state)

    tries.leave("s", 0.0)

    assert attempt.state is State.OUT
    assert tries.attempt_of("s") is None
    assert attempt.due == inf
    tries.check()
