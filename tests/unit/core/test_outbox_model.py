"""The outbox against a model of the broker: any order of events, and every bug that was planted is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from amphora.core.lanes import Lanes
from amphora.core.limiter import Limiter, Ticket, TicketState
from amphora.core.messages import ChannelCommand, Outcome, OutgoingMessage, State
from amphora.core.outbox import Outbox
from amphora.core.outbox_confirms import Confirms
from amphora.core.outbox_losses import Losses
from amphora.core.outbox_places import Places
from amphora.core.window import Window
from amphora.exceptions import AmqpRpcException
from tests.support.interrupting import Interrupt, interrupted_at
from tests.unit.core.outbox_model import Model

KEYS = st.sampled_from("ab")
IDS = st.sampled_from(("id", "other"))
LITTLE = st.integers(1, 4)


class OutboxMachine(RuleBasedStateMachine):
    """Everything that may happen to an outbox, in any order."""

    new_outbox: Callable[..., Outbox] = Outbox
    new_limiter: Callable[..., Limiter] = Limiter

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.tickets: list[Ticket] = []
        self.admitted: list[Ticket] = []

    @initialize(
        count=st.sampled_from((4, 1_000)), patience=st.sampled_from((0.0, 30.0, 30.0)), connected=st.integers(0, 3)
    )
    def begin(self, count: int, patience: float, connected: int) -> None:
        self.model = Model(type(self).new_outbox, type(self).new_limiter, count=count, patience=patience)
        if connected:
            self.connect()

    # -- owners

    @rule(
        key=KEYS,
        message_id=IDS,
        expires_in=st.sampled_from((None, None, None, 0.01, 5.0)),
        kind=st.sampled_from(("", "", "", "", "poison", "unencodable", "stubborn", "restorable")),
    )
    def submit(self, key: str, message_id: str, expires_in: float | None, kind: str) -> None:
        flags: dict[str, Any] = {kind: True} if kind else {}
        message = self.model.new_message(key, message_id=message_id, expires_in=expires_in, **flags)
        self.model.submit(message)
        self.model.check()

    @rule(keys=st.lists(KEYS, min_size=2, max_size=6))
    def submit_several(self, keys: list[str]) -> None:
        for key in keys:
            self.model.submit(self.model.new_message(key))
        self.model.turn()

    @rule(key=KEYS, line=st.integers(1, 40))
    def submit_but_an_exception_is_raised_at_a_line(self, key: str, line: int) -> None:
        message = self.model.new_message(key)
        self.model.checking = False
        try:
            with interrupted_at(line):
                self.model.submit(message)
        except Interrupt:
            # The driver's next turn finds it torn.
            self.model.checking = True
        self.model.checking = True

    @rule(key=st.sampled_from((None, None, "key")), holds=st.one_of(st.none(), KEYS))
    def add_a_command(self, key: str | None, holds: str | None) -> None:
        self.model.add_command(key=key, holds=holds)
        self.model.check()

    @precondition(lambda self: self.model.pending)
    @rule(index=st.integers(0, 50))
    def withdraw(self, index: int) -> None:
        message = list(self.model.pending.values())[index % len(self.model.pending)]
        was_idle = message.state in (State.QUEUED, State.HELD)
        was_torn = self.model.outbox._places.torn
        assert self.model.outbox.withdraw(message) == was_idle or was_torn
        self.model.check()

    @precondition(lambda self: self.model.pending)
    @rule(index=st.integers(0, 50))
    def a_reply_arrives(self, index: int) -> None:
        message = list(self.model.pending.values())[index % len(self.model.pending)]
        if message.sent:
            message.arrived = True

    @rule()
    def flush(self) -> None:
        waited_for = dict(self.model.pending)
        ended: list[None] = []

        def on_empty() -> None:
            assert not ended
            ended.append(None)
            left = [each for number, each in waited_for.items() if number in self.model.pending]
            assert not left, "a flush ends when all before it is settled"

        if not self.model.outbox.flush(on_empty).left:
            assert not waited_for

    @rule(really=st.integers(0, 9))
    def refuse_all(self, really: int) -> None:
        if really:
            return
        self.model.running = None
        self.model.outbox.refuse_all(AmqpRpcException("refused"))
        self.model.running = None
        for ticket in self.tickets:
            assert ticket.state is not TicketState.WAITING
        self.model.check()

    # -- room

    @rule(size=LITTLE)
    def wait_for_room(self, size: int) -> None:
        limiter = self.model.limiter
        fits, waiting = limiter.admits(size), bool(limiter.line)
        ticket: Ticket

        def on_change() -> None:
            if ticket_of and ticket_of[0].state is TicketState.ADMITTED:
                before = self.tickets[: self.tickets.index(ticket_of[0])]
                assert all(each.state is not TicketState.WAITING for each in before), "in the order of arrival"

        ticket_of: list[Ticket] = []
        ticket = limiter.wait(size, endless=True, on_change=on_change)
        ticket_of.append(ticket)
        self.tickets.append(ticket)
        assert (ticket.state is TicketState.ADMITTED) == fits
        assert not (waiting and ticket.state is TicketState.ADMITTED)

    @precondition(lambda self: self.tickets)
    @rule(index=st.integers(0, 50), redeem=st.booleans())
    def end_a_ticket(self, index: int, redeem: bool) -> None:
        ticket = self.tickets.pop(index % len(self.tickets))
        limiter = self.model.limiter
        if redeem and ticket.state is TicketState.ADMITTED:
            limiter.redeem(ticket)
            self.model.submit(self.model.new_message(size=ticket.size))
            if limiter.line:
                limiter.admit()
        else:
            limiter.abandon(ticket)
        held = [each for each in self.tickets if each.state is TicketState.ADMITTED]
        assert limiter.reserved == len(held)
        assert limiter.reserved_size == sum(each.size for each in held)

    # -- connection and channel

    @precondition(lambda self: not self.model.connected)
    @rule()
    def connect(self) -> None:
        self.model.connect()
        self.model.turn()

    @precondition(lambda self: self.model.connected)
    @rule(how=st.sampled_from((None, None, None, "protocol error")))
    def lose(self, how: str | None) -> None:
        suspects = list(self.model.outbox.in_flight.values())
        if how is not None and self.model.running is None and len(suspects) == 1:
            # It would be guilty; only bad ones are in this model.
            how = how if suspects[0].properties["poison"] else None
        if self.model.running is not None and self.model.running.lane is not None:
            how = None
        self.model.lose(how)
        self.model.check()

    @precondition(lambda self: self.model.channel is not None)
    @rule()
    def the_exchange_is_missing(self) -> None:
        channel = self.model.channel
        assert channel is not None
        if self.model.outbox._places.missing < 2:
            self.model._close_channel()
            self.model.outbox.closed_by_missing_exchange(channel.epoch, "missing")
            self.model.turn()

    @precondition(lambda self: any(each.size > 2 for each in self.model.outbox.in_flight.values()))
    @rule()
    def a_message_is_too_large(self) -> None:
        channel = self.model.channel
        assert channel is not None
        self.model._close_channel()
        self.model.outbox.closed_by_size(channel.epoch, 2, "too large")
        self.model.turn()

    @rule(size=st.sampled_from((3, 4)), key=KEYS)
    def submit_a_large_message(self, size: int, key: str) -> None:
        self.model.submit(self.model.new_message(key, size=size))

    @rule()
    def turn(self) -> None:
        self.model.turn()

    @rule(seconds=st.sampled_from((0.01, 0.06, 0.2, 1.1, 31.0)))
    def advance(self, seconds: float) -> None:
        self.model.now += seconds
        self.model.turn()

    @precondition(lambda self: self.model.running is not None)
    @rule(well=st.booleans())
    def end_the_command(self, well: bool) -> None:
        self.model.end_command(well=well)
        self.model.check()
        self.model.turn()

    @precondition(lambda self: self.model.running is not None)
    @rule()
    def the_command_takes_long(self) -> None:
        self.model.take_long()
        self.model.check()
        self.model.turn()

    @precondition(lambda self: self.model.overdue)
    @rule(index=st.integers(0, 10), well=st.booleans())
    def end_a_command_that_took_long(self, index: int, well: bool) -> None:
        self.model.end_command(well=well, overdue=index)
        self.model.check()
        self.model.turn()

    @precondition(lambda self: self.model.connected)
    @rule(blocked=st.booleans())
    def block(self, blocked: bool) -> None:
        self.model.outbox.blocked = blocked

    # -- the broker

    @precondition(lambda self: self.model.unprocessed)
    @rule(most=LITTLE, then_turn=st.booleans())
    def process(self, most: int, then_turn: bool) -> None:
        self.model.process(most)
        self.model.check()
        if then_turn:
            self.model.turn()

    @precondition(lambda self: self.model.channel is not None and self.model.channel.verdicts)
    @rule(index=st.integers(0, 10), multiple=st.booleans(), then_turn=st.booleans())
    def confirm(self, index: int, multiple: bool, then_turn: bool) -> None:
        self.model.confirm(index, multiple=multiple)
        self.model.check()
        if then_turn:
            self.model.turn()

    @precondition(lambda self: self.model.unprocessed)
    @rule(key=KEYS, acks=st.integers(0, 2))
    def some_are_nacked(self, key: str, acks: int) -> None:
        """The queue of one routing key is lost while messages to it are in flight, of which it has some."""
        model = self.model
        model.process(acks)
        if model.channel is not None:
            model.channel.refuses.add(("exchange", key))
        model.process(10)
        for _ in range(3):
            model.confirm(-1, multiple=False)
            model.check()

    @precondition(lambda self: self.model.unprocessed)
    @rule(key=KEYS, multiple=st.booleans())
    def all_are_returned(self, key: str, multiple: bool) -> None:
        self.model.routeless.add(("exchange", key))
        self.model.process(10)
        self.model.confirm(-1, multiple=multiple)
        self.model.check()

    @precondition(lambda self: self.model.closed_channels)
    @rule()
    def confirm_late(self) -> None:
        before = dict(self.model.outcomes)
        self.model.confirm_late()
        assert self.model.outcomes == before, "a former channel settles nothing"

    @rule(key=KEYS, takes=st.booleans())
    def a_route_comes_or_goes(self, key: str, takes: bool) -> None:
        lane = ("exchange", key)
        (self.model.routeless.discard if takes else self.model.routeless.add)(lane)

    @precondition(lambda self: self.model.channel is not None)
    @rule(key=KEYS, lasting=st.booleans())
    def a_queue_loses_its_leader(self, key: str, lasting: bool) -> None:
        lane = ("exchange", key)
        assert self.model.channel is not None
        self.model.channel.refuses.add(lane)
        if lasting:
            self.model.refused.add(lane)

    @precondition(lambda self: self.model.refused)
    @rule()
    def all_leaders_are_elected(self) -> None:
        # Channels go on to refuse until they are closed.
        self.model.refused.clear()

    def teardown(self) -> None:
        for ticket in self.tickets:
            self.model.limiter.abandon(ticket)
        self.model.settle_everything()
        assert len(self.model.outcomes) == sum(bool(message.order) for message in self.model.messages)


def run(machine: type[OutboxMachine], examples: int, steps: int = 50) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_order_of_events_keeps_the_promises() -> None:
    run(OutboxMachine, 50)


# Planted bugs: each of them was, or could have been, in an outbox.


class CountsBeforeItEncodes(Outbox):
    def _send(self, message: OutgoingMessage, now: float) -> None:
        if message.properties["unencodable"]:
            self._places.next_tag += 1
        super()._send(message, now)


class _ConfirmsOneTooMany(Confirms):
    __slots__ = ()

    def confirmed(self, tag: int, multiple: bool, acked: bool, now: float) -> None:
        super().confirmed(tag + 1 if multiple else tag, multiple, acked, now)


class ConfirmsOneTooMany(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._confirms.__class__ = _ConfirmsOneTooMany


class _AppendsWhatComesBack(Places):
    __slots__ = ()

    def merge(self) -> None:
        self.queue.extend(self.back)
        self.back.clear()
        self.update()


class AppendsWhatComesBack(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places.__class__ = _AppendsWhatComesBack


class GivesANewPlaceToWhatIsPublishedAgain(Outbox):
    def _accept_again(self, message: OutgoingMessage) -> None:
        message.order = self._places.order = self._places.order + 1
        super()._accept_again(message)


class KeepsTheChannelAfterNacks(Outbox):
    def _on_alarm(self, now: float) -> None:
        for message in self._places.lanes.due(now):
            self._places.come_back(message)


class KeepsTheRoom(Outbox):
    def withdraw(self, message: OutgoingMessage) -> bool:
        withdrawn = super().withdraw(message)
        if withdrawn:
            self._limiter.take(message.size)
        return withdrawn


class BelievesFormerChannels(Outbox):
    def confirmed(self, epoch: int, tag: int, multiple: bool, acked: bool, now: float) -> None:
        super().confirmed(self.epoch, tag, multiple, acked, now)


class _LetsMessagesOvertakeCommands(Places):
    __slots__ = ()

    def update(self) -> None:
        super().update()
        self.ready = self.ready or (self.running is not None and self.channel.value == "open" and not self.torn)


class LetsMessagesOvertakeCommands(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places.__class__ = _LetsMessagesOvertakeCommands


class LetsMessagesOvertakeWhatTheyWaitFor(Outbox):
    def overdue(self, command: ChannelCommand) -> bool:
        holds, command.holds = command.holds, None
        was_running = super().overdue(command)
        command.holds = holds
        return was_running


class ForgetsTheCommandsThatTakeLong(Outbox):
    def lost(self, protocol_error: Any = None) -> None:
        self._places.overdue.clear()
        super().lost(protocol_error)


class _SuspectsEverybody(Losses):
    __slots__ = ()

    def _suspect(self, detail: Any, *, lane_wide: bool = False) -> None:
        for message in self._places.in_flight.values():
            self._places.telling.append((message, Outcome.REJECTED, detail))
        self._places.in_flight.clear()
        self.lose_channel()


class SuspectsEverybody(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._losses.__class__ = _SuspectsEverybody


class _ForgetsThatItIsTorn(Places):
    __slots__ = ()

    def tear(self) -> None:
        pass


class ForgetsThatItIsTorn(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places.__class__ = _ForgetsThatItIsTorn


class ForgetsWhatIsHeld(Outbox):
    def lost(self, protocol_error: Any = None) -> None:
        self._places.lanes.held.clear()
        super().lost(protocol_error)


class ForgetsTheRunningCommand(Outbox):
    def lost(self, protocol_error: Any = None) -> None:
        self._places.running = None
        super().lost(protocol_error)


class _ClearingLanes(Lanes):
    def taken(self, message: OutgoingMessage) -> None:
        super().taken(message)
        self.held.pop(message.lane, None)


class LetsAnAckClearALane(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places.lanes = _ClearingLanes()


class _NarrowWindow(Window):
    def suspect(self, in_flight: Any) -> OutgoingMessage | None:
        guilty = super().suspect(in_flight)
        if self.limit is not None:
            self.limit = 0
        return guilty


class NeverSendsSuspectsAgain(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.window = self._places.window = _NarrowWindow()


class _WideWindow(Window):
    def suspect(self, in_flight: Any) -> OutgoingMessage | None:
        guilty = super().suspect(in_flight)
        self.limit = None
        return guilty


class NeverFindsTheGuilty(Outbox):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.window = self._places.window = _WideWindow()


#: Each with a seed that finds it soon: with others, some take hundreds of examples.
BUGS = [
    (CountsBeforeItEncodes, 1),
    (ConfirmsOneTooMany, 7),
    (AppendsWhatComesBack, 1),
    (GivesANewPlaceToWhatIsPublishedAgain, 4),
    (KeepsTheChannelAfterNacks, 1),
    (KeepsTheRoom, 1),
    (BelievesFormerChannels, 1),
    (LetsMessagesOvertakeCommands, 1),
    (LetsMessagesOvertakeWhatTheyWaitFor, 1),
    (ForgetsTheCommandsThatTakeLong, 1),
    (SuspectsEverybody, 1),
    (ForgetsThatItIsTorn, 1),
    (ForgetsWhatIsHeld, 4),
    (ForgetsTheRunningCommand, 1),
    (LetsAnAckClearALane, 2),
    (NeverSendsSuspectsAgain, 1),
    (NeverFindsTheGuilty, 1),
]


def finds(bug: type[Any], attribute: str, number: int) -> None:
    machine = seed(number)(type("Machine", (OutboxMachine,), {attribute: bug}))
    with pytest.raises((AssertionError, IndexError, KeyError, ValueError)):
        run(machine, 500)


@pytest.mark.parametrize(("bug", "number"), BUGS)
def test_a_planted_bug_is_found(bug: type[Outbox], number: int) -> None:
    finds(bug, "new_outbox", number)


class StealsReservations(Limiter):
    def admits(self, size: int) -> bool:
        return self.count < self.max_count


class ForgetsReservations(Limiter):
    def abandon(self, ticket: Ticket) -> None:
        if ticket.state is TicketState.WAITING:
            super().abandon(ticket)


class AdmitsTheLastFirst(Limiter):
    def admit(self) -> None:
        self.line.reverse()
        super().admit()


@pytest.mark.parametrize(
    ("bug", "number"), [(StealsReservations, 1), (ForgetsReservations, 1), (AdmitsTheLastFirst, 2)]
)
def test_a_planted_bug_of_the_limiter_is_found(bug: type[Limiter], number: int) -> None:
    finds(bug, "new_limiter", number)
