"""The life of a link: its table, its invariants under any order of events, and planted bugs that these find."""

import math
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import amphora.core.link as core_link
from amphora.core.link import STEADY, Kind, LinkMachine, LinkOptions, State
from amphora.core.suspicion import LIMIT

DELAY, DELAY_MAX = 0.1, 1.0
OWNED = {
    State.CONNECTING,
    State.ATTACHING,
    State.ATTACHED,
    State.BACKING_OFF,
    State.DRAINING,
    State.CLOSING,
}
CULPRIT = b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00"


class Ports:
    """Records what the machine says, and checks the machine whenever it is called."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.owners: set[int] = set()
        self.attached_now = False
        self.alarms: list[float] = []
        self.machine: LinkMachine | None = None

    def say(self, what: str) -> None:
        self.said.append(what)
        if self.machine is not None:
            self.machine.check()

    def spawn(self, owner: int) -> None:
        assert not self.owners, "two owners"
        self.owners.add(owner)
        self.say("spawn")

    def wake(self) -> None:
        self.say("wake")

    def disconnect(self, attached: bool) -> None:
        if attached:
            assert self.attached_now, "detached twice, or before it was attached"
            self.attached_now = False
        self.say("disconnect")

    def end_owner(self) -> None:
        self.owners.clear()
        self.say("end_owner")

    def forget(self) -> None:
        self.owners.clear()
        self.attached_now = False
        self.say("forget")

    def alarm(self, at: float) -> None:
        self.alarms.append(at)
        self.say("alarm")

    def attached(self) -> None:
        self.say("attached")

    def stopped(self) -> None:
        self.say("stopped")

    def fatal(self, error: object) -> None:
        self.say("fatal")


def machine_with(
    ports: Ports,
    kind: type[LinkMachine] = LinkMachine,
    *,
    addresses: int = 1,
    jitter: Callable[[], float] = lambda: 1.0,
) -> LinkMachine:
    ports.machine = kind(LinkOptions(addresses, DELAY, DELAY_MAX, jitter), ports)
    return ports.machine


# -- the table ------------------------------------------------------------------------------


def machine_in(state: State, ports: Ports) -> LinkMachine:
    """A machine that was brought into a state by events."""
    machine = machine_with(ports)
    if state is State.STOPPED:
        return machine
    machine.start(0.0)
    if state is State.CONNECTING:
        return machine
    if state is State.BACKING_OFF:
        machine.lost(1, Kind.TEMPORARY, None, 0.0)
        machine.tick(0.0)
        machine.lost(1, Kind.TEMPORARY, None, 0.0)
        return machine
    if state is State.REFUSED:
        machine.lost(1, Kind.PERMANENT, "no", 0.0)
        return machine
    if state is State.DEAD:
        ports.end_owner()
        machine.owner_ended(1, 0.0)
        return machine
    machine.connected(1, 0.0)
    ports.attached_now = True
    if state is State.ATTACHING:
        return machine
    machine.ready(1, 0.0)
    if state is State.ATTACHED:
        return machine
    machine.stop(5.0, 0.0)
    if state is State.CLOSING:
        machine.drained(1)
    return machine


EVENTS: dict[str, Callable[[LinkMachine], object]] = {
    "start": lambda machine: machine.start(1.0),
    "connected": lambda machine: machine.connected(machine.owner, 1.0),
    "ready": lambda machine: machine.ready(machine.owner, 1.0),
    "lost": lambda machine: machine.lost(machine.owner, Kind.TEMPORARY, None, 1.0),
    "refused": lambda machine: machine.lost(machine.owner, Kind.PERMANENT, "no", 1.0),
    "tick": lambda machine: machine.tick(100.0),
    "early tick": lambda machine: machine.tick(0.0),
    "stop": lambda machine: machine.stop(6.0, 1.0),
    "drained": lambda machine: machine.drained(machine.owner),
    "closed": lambda machine: machine.closed(machine.owner, 1.0),
    "owner_ended": lambda machine: machine.owner_ended(machine.owner, 1.0),
    "abort": lambda machine: machine.abort(),
    "forked": lambda machine: machine.forked(),
}
RUNNING = ("CONNECTING", "ATTACHING", "ATTACHED", "BACKING_OFF")


def rows() -> dict[tuple[str, str], str]:
    """The table of the docstring: what follows on a state and an event."""
    text = core_link.__doc__ or ""
    lines = text.split("\n\n")
    body = next(each for each in lines if each.startswith("====")).splitlines()[3:-1]
    table: dict[tuple[str, str], str] = {}
    for line in body:
        states, event, after, _ = (each.strip() for each in re.split(r"\s{2,}", line + "  -")[:4])
        table |= {(state, event_name(event)): after for state in named(states)}
        if "REFUSED" in after:
            table |= {(state, "refused"): "REFUSED" for state in named(states)}
    for state in ("ATTACHED", "DRAINING", "CLOSING"):
        table[state, "refused"] = table[state, "lost"]
    return table


def named(states: str) -> list[str]:
    if states == "CONNECTING ... ATTACHED":
        return list(RUNNING[:3])
    everything = [each.name for each in State]
    if states.startswith("any"):
        return [each for each in everything if each not in states]
    return states.split(", ")


def event_name(text: str) -> str:
    return "tick" if text.startswith("tick") else text


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", State)
def test_each_state_and_event_does_what_the_table_says(state: State, event: str) -> None:
    ports = Ports()
    machine = machine_in(state, ports)
    assert machine.state is state

    EVENTS[event](machine)

    after = rows().get((state.name, event), "same").split(", ")[0]
    assert machine.state.name == (state.name if after == "same" else after)
    machine.check()


# -- single behaviors -----------------------------------------------------------------------


def test_a_start_while_it_stops_connects_again_after_that() -> None:
    ports = Ports()
    machine = machine_in(State.DRAINING, ports)

    machine.start(1.0)
    assert machine.state is State.DRAINING
    machine.tick(5.0)

    assert machine.state is State.CONNECTING
    assert machine.owner == 2


def test_the_last_of_stop_start_and_stop_decides() -> None:
    machine = machine_in(State.DRAINING, Ports())

    machine.start(1.0)
    machine.stop(9.0, 1.0)
    machine.tick(5.0)

    assert machine.state is State.STOPPED


def test_an_owner_that_has_ended_is_replaced_after_the_back_off() -> None:
    ports = Ports()
    machine = machine_in(State.ATTACHED, ports)

    ports.end_owner()
    machine.owner_ended(1, 1.0)
    assert not machine.running
    assert ports.alarms == [machine.next_deadline]
    machine.tick(machine.next_deadline)

    assert machine.state is State.CONNECTING
    assert ports.owners == {2}


def test_what_a_former_owner_says_changes_nothing() -> None:
    ports = Ports()
    machine = machine_in(State.DEAD, ports)
    machine.tick(machine.next_deadline)
    before = machine.state

    for event in (
        lambda: machine.connected(1, 2.0),
        lambda: machine.ready(1, 2.0),
        lambda: machine.lost(1, Kind.PERMANENT, "no", 2.0),
        lambda: machine.drained(1),
        lambda: machine.closed(1, 2.0),
        lambda: machine.owner_ended(1, 2.0),
    ):
        event()

    assert machine.state is before
    assert machine.unexpected == 5


def test_a_local_failure_is_final_only_at_every_address() -> None:
    machine = machine_with(Ports(), addresses=2)
    machine.start(0.0)

    machine.lost(1, Kind.LOCAL, "tls", 0.0)
    assert machine.state is State.BACKING_OFF
    machine.tick(1.0)
    machine.lost(1, Kind.LOCAL, "tls", 1.0)

    assert machine.state is State.REFUSED


def test_a_connection_that_lasted_resets_the_back_off_unless_a_message_broke_it() -> None:
    def failures(lasted: float, culprit: bytes | None) -> int:
        ports = Ports()
        machine = machine_in(State.ATTACHED, ports)
        machine.failures = 5
        machine.lost(1, Kind.TEMPORARY, None, lasted, culprit=culprit)
        return machine.failures

    assert failures(STEADY, None) == 1
    assert failures(STEADY / 2, None) == 6
    assert failures(STEADY, CULPRIT) == 6


def test_a_message_that_breaks_connections_in_a_row_is_told_once() -> None:
    ports = Ports()
    machine = machine_in(State.ATTACHED, ports)
    told = []
    for number in range(LIMIT + 1):
        now = 100.0 * number
        if number:
            machine.tick(now)
            machine.connected(1, now)
            ports.attached_now = True
            machine.ready(1, now)
        told.append(machine.lost(1, Kind.TEMPORARY, None, now + 2, culprit=CULPRIT))

    assert told == [False, False, True, False]
    assert machine.suspicion.is_suspect(CULPRIT)


# -- any order of events --------------------------------------------------------------------


class Lives(RuleBasedStateMachine):
    """A link between a user, a broker and the time; the model counts owners and attempts."""

    kind: type[LinkMachine] = LinkMachine
    ADDRESSES = 2

    def __init__(self) -> None:
        super().__init__()
        self.ports = Ports()
        rng = random.Random(1)
        self.machine = machine_with(self.ports, self.kind, addresses=self.ADDRESSES, jitter=rng.random)
        self.now = 0.0
        self.wanted = False
        self.stop_by = math.inf
        self.blamed = 0

    def state_is(self, *states: State) -> bool:
        return self.machine.state in states

    # -- the user

    @rule()
    def start(self) -> None:
        self.machine.start(self.now)
        self.wanted = True

    @rule(timeout=st.sampled_from([0.0, 0.5, 5.0]))
    def stop(self, timeout: float) -> None:
        self.machine.stop(self.now + timeout, self.now)
        self.wanted = False
        self.stop_by = min(self.stop_by, self.now + timeout)
        assert not self.machine.running

    @rule()
    def abort(self) -> None:
        self.machine.abort()
        self.wanted = False
        assert self.state_is(State.STOPPED, State.REFUSED)

    @rule()
    def fork(self) -> None:
        self.machine.forked()
        self.wanted = False
        assert self.machine.state is State.STOPPED

    # -- the owner

    @precondition(lambda self: self.state_is(State.CONNECTING))
    @rule()
    def connected(self) -> None:
        self.machine.connected(self.machine.owner, self.now)
        self.ports.attached_now = True

    @precondition(lambda self: self.state_is(State.ATTACHING))
    @rule()
    def ready(self) -> None:
        self.machine.ready(self.machine.owner, self.now)

    @precondition(lambda self: self.state_is(*OWNED - {State.BACKING_OFF}))
    @rule(kind=st.sampled_from(Kind), culprit=st.booleans())
    def lost(self, kind: Kind, culprit: bool) -> None:
        steady = self.state_is(State.ATTACHED)
        suspect = self.machine.suspicion.is_suspect(CULPRIT)
        told = self.machine.lost(
            self.machine.owner, kind, "error", self.now, culprit=CULPRIT if culprit and not suspect else None
        )
        if culprit and not suspect:
            self.blamed += 1
            assert told == (self.blamed == LIMIT)
        if self.machine.state is State.REFUSED:
            assert not steady
            self.wanted = False
        else:
            assert not self.machine.running or self.machine.state is not State.ATTACHED

    @rule()
    def come_to_be_attached(self) -> None:
        self.start()
        for _ in range(4):
            if self.machine.next_deadline < math.inf:
                self.advance_to_the_deadline()
            if self.state_is(State.CONNECTING):
                self.connected()
            if self.state_is(State.ATTACHING):
                self.ready()
        assert self.state_is(State.ATTACHED), "L3: it does not come to be attached"

    @precondition(lambda self: self.state_is(State.ATTACHED))
    @rule(culprit=st.booleans())
    def flap(self, culprit: bool) -> None:
        """Connections that break at once, as often as the machine lets them be made at one moment."""
        attempts = 0
        while self.state_is(State.ATTACHED) and attempts < 10:
            self.lost(Kind.TEMPORARY, culprit)
            self.holds()
            self.machine.tick(self.now)
            if self.state_is(State.CONNECTING):
                attempts += 1
                self.connected()
                self.ready()
        # L7: a round at once, and no more at the same moment.
        assert attempts <= self.ADDRESSES, "attempts without a back-off"

    @precondition(lambda self: self.state_is(State.ATTACHED))
    @rule()
    def handled(self) -> None:
        self.machine.suspicion.clear(CULPRIT)
        self.blamed = 0

    @precondition(lambda self: self.state_is(State.DRAINING))
    @rule()
    def drained(self) -> None:
        self.machine.drained(self.machine.owner)

    @precondition(lambda self: self.state_is(State.CLOSING))
    @rule()
    def closed(self) -> None:
        self.machine.closed(self.machine.owner, self.now)

    @precondition(lambda self: bool(self.ports.owners))
    @rule()
    def owner_ends(self) -> None:
        ended = self.machine.owner
        self.ports.owners.clear()
        self.machine.owner_ended(ended, self.now)
        assert not self.machine.is_owner(ended), "an owner that has ended is taken for alive"

    @rule(back=st.integers(1, 3), what=st.sampled_from(["connected", "ready", "lost", "drained", "closed", "ended"]))
    def former_owner_speaks(self, back: int, what: str) -> None:
        machine, former, before = self.machine, self.machine.owner - back, self.machine.state
        speak: dict[str, Callable[[], Any]] = {
            "connected": lambda: machine.connected(former, self.now),
            "ready": lambda: machine.ready(former, self.now),
            "lost": lambda: machine.lost(former, Kind.PERMANENT, "error", self.now),
            "drained": lambda: machine.drained(former),
            "closed": lambda: machine.closed(former, self.now),
            "ended": lambda: machine.owner_ended(former, self.now),
        }
        speak[what]()
        assert machine.state is before

    # -- time

    @rule(seconds=st.floats(0.0, 3.0))
    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.machine.tick(self.now)

    @precondition(lambda self: self.machine.next_deadline < math.inf)
    @rule()
    def advance_to_the_deadline(self) -> None:
        self.now = max(self.now, self.machine.next_deadline)
        self.machine.tick(self.now)
        assert self.machine.next_deadline > self.now

    # -- what always holds

    @invariant()
    def holds(self) -> None:
        machine, state = self.machine, self.machine.state
        machine.check()
        # L2
        assert len(self.ports.owners) == (state in OWNED), f"{len(self.ports.owners)} owners while {state}"
        # L3
        if state is not State.REFUSED:
            stopping = state in (State.DRAINING, State.CLOSING)
            assert self.wanted == (machine.running or state is State.DEAD or (stopping and machine._again))
        if state in (State.DRAINING, State.CLOSING):
            assert self.now < self.stop_by, "not stopped in time"
            assert machine.next_deadline in self.ports.alarms
        else:
            self.stop_by = math.inf
        if state is State.DEAD:
            assert machine.next_deadline in self.ports.alarms
        # L4
        assert self.ports.attached_now == (state in (State.ATTACHING, State.ATTACHED, State.DRAINING, State.CLOSING)), (
            "the worker was not told"
        )


SETTINGS = settings(
    max_examples=500,
    stateful_step_count=30,
    phases=[Phase.generate],
    derandomize=True,
    report_multiple_bugs=False,
    deadline=None,
)

TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class IgnoresTheEndOfItsOwner(LinkMachine):
    __slots__ = ()

    def owner_ended(self, owner: int, now: float) -> None:
        pass


class StopClearsAgain(LinkMachine):
    __slots__ = ()

    def _to_stopped(self) -> None:
        self._again = False
        super()._to_stopped()


class FlappingResetsTheBackOff(LinkMachine):
    __slots__ = ()

    def _to_backing_off(self, now: float, *, guilty: bool) -> None:
        if self.state is State.ATTACHED:
            self.failures = 0
        super()._to_backing_off(now, guilty=guilty)


class KeepsTheOwnerOfAnAbort(LinkMachine):
    """Two owners after a fast restart."""

    __slots__ = ()

    def abort(self) -> None:
        self.state = State.STOPPED
        self.next_deadline = math.inf
        self._again = False


class ListensToFormerOwners(LinkMachine):
    __slots__ = ()

    def lost(self, owner: int, kind: Kind, error: object, now: float, *, culprit: bytes | None = None) -> bool:
        return super().lost(self.owner, kind, error, now, culprit=culprit)


class DrainsWithoutAnEnd(LinkMachine):
    __slots__ = ()

    def tick(self, now: float) -> None:
        if self.state not in (State.DRAINING, State.CLOSING):
            super().tick(now)


class ForgetsToDetach(LinkMachine):
    __slots__ = ()

    def owner_ended(self, owner: int, now: float) -> None:
        if self.is_owner(owner) and self.state is State.ATTACHING:
            self.state = State.CONNECTING
        super().owner_ended(owner, now)


class BlamesAtMostTwice(LinkMachine):
    __slots__ = ()

    def ready(self, owner: int, now: float) -> None:
        self.suspicion.clear(CULPRIT)
        super().ready(owner, now)


@pytest.mark.parametrize(
    "planted",
    [
        IgnoresTheEndOfItsOwner,
        StopClearsAgain,
        FlappingResetsTheBackOff,
        KeepsTheOwnerOfAnAbort,
        ListensToFormerOwners,
        DrainsWithoutAnEnd,
        ForgetsToDetach,
        BlamesAtMostTwice,
    ],
)
def test_planted_bugs_are_found(planted: type[LinkMachine]) -> None:
    broken = type("Broken", (Lives,), {"kind": planted})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=SETTINGS)
