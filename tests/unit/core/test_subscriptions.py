"""Each row of the table of subscriptions, and random sequences of events against a model of the broker."""

from __future__ import annotations

from math import inf
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from amphora.core.delivery_lanes import DeliveryLanes
from amphora.core.subscriptions import Kind, Lane, Method, Options, State, SubscriptionCommand, Subscriptions, Wish

S = State


class Ports:
    """Notes what is told."""

    def __init__(self) -> None:
        self.settled_as: dict[Wish, bool] = {}
        self.over: list[Wish] = []
        self.alarms: list[float] = []

    def settled(self, wish: Wish, *, missing: bool) -> None:
        self.settled_as[wish] = missing

    def ended(self, wish: Wish) -> None:
        self.over.append(wish)

    def alarm(self, at: float) -> None:
        self.alarms.append(at)


class Bench:
    """A machine with a clock, whose commands are answered by hand."""

    def __init__(self, label_lanes: int = 32) -> None:
        self.ports = Ports()
        self.machine: Subscriptions[Wish] = Subscriptions(Options(label_lanes), self.ports)
        self.now = 100.0

    def add(self, kind: Kind, *, private: bool = False) -> Wish:
        wish = Wish(kind, private=private)
        self.machine.add(wish, self.now)
        return wish

    def attach(self) -> None:
        self.machine.attach(self.now)

    def commands(self) -> list[SubscriptionCommand]:
        found = []
        while (command := self.machine.next_command(self.now)) is not None:
            self.machine.check()
            found.append(command)
        return found

    def methods(self) -> list[str]:
        return [command.method.value for command in self.commands()]

    def agree(self) -> None:
        """Answer every command until there are none left."""
        while commands := self.commands():
            for command in commands:
                if command.method is not Method.CLOSE:
                    self.machine.done(command, self.now)
                self.machine.check()

    def only(self) -> SubscriptionCommand:
        [command] = self.commands()
        return command

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.machine.tick(self.now)
        self.machine.check()

    def wait_until_due(self) -> float:
        """Go on to the next time at which something is due, before which nothing is asked; return the seconds."""
        before, due = self.now, self.machine.next_deadline
        if due > before:
            self.wait((due - before) / 2)
            assert self.commands() == []
        self.now = max(due, before)
        self.machine.tick(self.now)
        self.machine.check()
        return round(self.now - before, 3)

    def consuming(self, kind: Kind, *, private: bool = False) -> Wish:
        wish = self.add(kind, private=private)
        if not self.machine.attached:
            self.attach()
        self.agree()
        assert wish.state is S.CONSUMING
        return wish


@pytest.fixture
def bench() -> Bench:
    return Bench()


# From the wish to the consumer.


def test_an_own_queue_is_declared_with_the_topology_and_then_consumed_from(bench: Bench) -> None:
    wish = bench.add(Kind.OWN)
    bench.attach()
    declare = bench.only()
    assert (declare.method, wish.state) == (Method.DECLARE, S.DECLARING)
    bench.machine.done(declare, bench.now)
    consume = bench.only()
    assert (consume.method, wish.state, wish.tag) == (Method.CONSUME, S.STARTING, consume.tag)
    bench.machine.done(consume, bench.now)
    assert (wish.state, bench.machine.consuming, bench.ports.settled_as) == (S.CONSUMING, True, {wish: False})


def test_a_label_queue_is_looked_for_and_then_consumed_from(bench: Bench) -> None:
    wish = bench.add(Kind.LABEL)
    bench.attach()
    assert bench.methods() == ["declare", "look"]
    assert wish.state is S.LOOKING


def test_an_optional_queue_is_declared_by_itself(bench: Bench) -> None:
    wish = bench.add(Kind.OPTIONAL)
    bench.attach()
    assert bench.methods() == ["declare", "declare"]
    assert wish.state is S.DECLARING


def test_every_label_and_optional_queue_has_a_lane_of_its_own_until_there_are_too_many() -> None:
    bench = Bench(label_lanes=2)
    labels = [bench.add(Kind.LABEL) for _ in range(4)]
    others = [bench.add(Kind.OPTIONAL), bench.add(Kind.OWN), bench.add(Kind.OWN)]
    bench.attach()
    bench.agree()

    lanes = [wish.lane for wish in labels]
    assert lanes[:2] == lanes[2:]
    assert len({*lanes, *(wish.lane for wish in others)}) == 4


def test_no_lane_is_shared_where_the_broker_allows_one_consumer_on_each_channel() -> None:
    bench = Bench(label_lanes=2)
    bench.machine.keep_apart()
    labels = [bench.add(Kind.LABEL) for _ in range(4)]
    bench.attach()
    bench.agree()

    assert len({wish.lane for wish in labels}) == 4


# What is missing or refused.


def test_a_missing_queue_is_looked_for_again_after_pauses_that_double(bench: Bench) -> None:
    wish = bench.add(Kind.LABEL)
    bench.attach()
    bench.machine.done(bench.commands()[0], bench.now)
    looks = [bench.machine._looking]
    pauses = []
    for _ in range(7):
        assert looks[-1] is not None
        bench.machine.refused(looks[-1], bench.now, missing=True, closed=False)
        assert (wish.state, bench.ports.settled_as[wish]) == (S.MISSING, True)
        pauses.append(bench.wait_until_due())
        looks.append(bench.only())
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_a_queue_that_may_not_be_looked_for_is_tried_less_and_less_often(bench: Bench) -> None:
    bench.add(Kind.LABEL)
    bench.attach()
    declare, look = bench.commands()
    bench.machine.done(declare, bench.now)
    for _ in range(12):
        bench.machine.refused(look, bench.now, missing=False, closed=False)
        pause = bench.wait_until_due()
        look = bench.only()
    assert pause == pytest.approx(30.0)


@pytest.mark.parametrize("how", ["refused", "timed_out"])
def test_an_optional_queue_is_done_without_for_a_while_that_outlasts_the_connection(bench: Bench, how: str) -> None:
    wish = bench.add(Kind.OPTIONAL)
    bench.attach()
    topology, optional = bench.commands()
    bench.machine.done(topology, bench.now)
    if how == "refused":
        bench.machine.refused(optional, bench.now, missing=False, closed=False)
    else:
        bench.machine.timed_out(optional, bench.now)
    assert (wish.state, bench.ports.settled_as) == (S.WITHOUT, {wish: True})
    bench.machine.lost()
    bench.attach()
    assert bench.methods() == ["declare"]
    bench.wait(61)
    again = [command for command in bench.commands() if command.wish is wish]
    bench.machine.refused(again[0], bench.now, missing=False, closed=False)
    bench.wait(100)
    assert bench.commands() == []
    bench.wait(21)
    assert [command.wish for command in bench.commands()] == [wish]


def test_a_topology_that_is_refused_is_declared_again_after_pauses_that_double(bench: Bench) -> None:
    wish = bench.add(Kind.OWN)
    bench.attach()
    pauses = []
    for number in range(8):
        bench.machine.refused(bench.only(), bench.now, missing=False, closed=False)
        assert (wish.state, bench.machine.declare_failures) == (S.WANTED, number + 1)
        bench.machine.check_topology(bench.now)
        pauses.append(bench.wait_until_due())
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    bench.agree()
    assert (wish.state, bench.machine.declare_failures) == (S.CONSUMING, 0)


def test_a_label_queue_that_goes_between_the_look_and_the_consumer_is_missing(bench: Bench) -> None:
    own = bench.consuming(Kind.OWN)
    label = bench.add(Kind.LABEL)
    bench.machine.done(bench.only(), bench.now)
    bench.machine.refused(bench.only(), bench.now, missing=True, closed=True)
    assert (label.state, own.state) == (S.MISSING, S.CONSUMING)


def test_an_argument_that_is_refused_is_left_out_and_the_queue_consumed_from_at_once(bench: Bench) -> None:
    wish = bench.add(Kind.OWN)
    bench.attach()
    bench.machine.done(bench.only(), bench.now)
    bench.machine.argument_refused(bench.only(), bench.now)
    bench.machine.check()
    bench.agree()
    assert wish.state is S.CONSUMING


def test_without_a_free_channel_label_queues_share_one(bench: Bench) -> None:
    first, second = bench.consuming(Kind.LABEL), bench.add(Kind.LABEL)
    bench.machine.done(bench.only(), bench.now)
    bench.machine.no_lane(bench.only(), bench.now)
    bench.wait(0)
    bench.agree()
    assert second.state is S.CONSUMING
    assert second.lane is first.lane


def test_without_any_channel_for_it_a_label_queue_is_tried_again_a_second_later(bench: Bench) -> None:
    own = bench.consuming(Kind.OWN)
    label = bench.add(Kind.LABEL)
    bench.machine.done(bench.only(), bench.now)
    bench.machine.no_lane(bench.only(), bench.now)
    bench.wait(0.9)
    assert (bench.commands(), label.state, own.state) == ([], S.MISSING, S.CONSUMING)
    bench.wait(0.1)
    assert bench.methods() == ["look"]


# Answers that do not come.


def test_an_own_queue_that_hangs_is_tried_on_another_lane_and_then_declared_again_if_it_is_private(
    bench: Bench,
) -> None:
    wish = bench.add(Kind.OWN, private=True)
    bench.attach()
    bench.machine.done(bench.only(), bench.now)
    lanes = [wish.lane]
    bench.machine.timed_out(bench.only(), bench.now)
    assert wish.state is S.WANTED
    bench.wait(0.5)
    bench.machine.done(bench.only(), bench.now)
    lanes.append(wish.lane)
    bench.machine.timed_out(bench.only(), bench.now)
    assert wish.state is S.RECREATING
    recreate = bench.only()
    assert recreate.method is Method.RECREATE
    bench.machine.done(recreate, bench.now)
    bench.wait(1)
    bench.agree()
    assert wish.state is S.CONSUMING
    assert len({*lanes, wish.lane}) == 3


def test_a_private_queue_at_which_connections_end_in_an_internal_error_is_declared_again(bench: Bench) -> None:
    wish = bench.add(Kind.OWN, private=True)
    for _ in range(2):
        bench.attach()
        bench.machine.done(bench.only(), bench.now)
        assert bench.only().method is Method.CONSUME
        bench.machine.lost(internal_error=True)
    bench.attach()
    bench.machine.done(bench.only(), bench.now)
    assert bench.only().method is Method.RECREATE
    # Not forgotten where the connection is lost before the answer.
    bench.machine.lost()
    bench.attach()
    bench.machine.done(bench.only(), bench.now)
    recreate = bench.only()
    assert recreate.method is Method.RECREATE
    bench.machine.done(recreate, bench.now)
    bench.wait(1)
    bench.agree()
    assert wish.state is S.CONSUMING


@pytest.mark.parametrize(("private", "internal_error"), [(True, False), (False, True)])
def test_connections_that_are_lost_otherwise_cost_no_queue(bench: Bench, private: bool, internal_error: bool) -> None:
    bench.add(Kind.OWN, private=private)
    for _ in range(5):
        bench.attach()
        bench.machine.done(bench.only(), bench.now)
        assert bench.only().method is Method.CONSUME
        bench.machine.lost(internal_error=internal_error)


def test_an_own_queue_of_others_that_hangs_is_never_deleted(bench: Bench) -> None:
    wish = bench.add(Kind.OWN)
    bench.attach()
    for _ in range(5):
        for command in bench.commands():
            if command.method is Method.CONSUME:
                bench.machine.timed_out(command, bench.now)
            else:
                assert command.method is Method.DECLARE
                bench.machine.done(command, bench.now)
        bench.wait(30)
    assert wish.state is not S.RECREATING


@pytest.mark.parametrize("kind", [Kind.LABEL, Kind.OPTIONAL])
def test_a_consumer_that_hangs_costs_its_own_lane(bench: Bench, kind: Kind) -> None:
    own, label = bench.consuming(Kind.OWN), bench.consuming(Kind.LABEL)
    lanes = own.lane, label.lane
    hanging = bench.add(kind)
    bench.machine.done(bench.only(), bench.now)
    bench.machine.timed_out(bench.only(), bench.now)
    assert hanging.state is (S.MISSING if kind is Kind.LABEL else S.WITHOUT)
    assert (own.state, label.state) == (S.CONSUMING, S.CONSUMING)
    assert (own.lane, label.lane) == lanes


# The broker's cancel.


def test_an_own_queue_that_was_deleted_is_declared_again_at_once_if_it_had_lasted(bench: Bench) -> None:
    wish = bench.consuming(Kind.OWN)
    bench.now += 2
    assert wish.tag is not None
    bench.machine.canceled_by_broker(wish, wish.tag, bench.now)
    assert (wish.state, wish.tag) == (S.CANCELED, None)
    bench.wait(0)
    assert bench.methods() == ["declare"]


def test_an_own_queue_that_is_deleted_again_and_again_is_declared_twice_a_second(bench: Bench) -> None:
    wish = bench.consuming(Kind.OWN)
    pauses = []
    for _ in range(8):
        assert wish.tag is not None
        bench.machine.canceled_by_broker(wish, wish.tag, bench.now)
        pauses.append(bench.wait_until_due())
        bench.agree()
        assert wish.state is S.CONSUMING
    assert pauses == [0.5] * 8


def test_a_label_queue_that_was_deleted_is_looked_for_half_a_second_later_and_never_consumed_from_at_once(
    bench: Bench,
) -> None:
    wish = bench.consuming(Kind.LABEL)
    bench.now += 60
    assert wish.tag is not None
    bench.machine.canceled_by_broker(wish, wish.tag, bench.now)
    assert [command.method for command in bench.commands()] == [Method.CLOSE]
    bench.wait(0.4)
    assert bench.commands() == []
    bench.wait(0.1)
    assert bench.methods() == ["look"]


def test_a_cancel_of_a_former_consumer_changes_nothing(bench: Bench) -> None:
    wish = bench.consuming(Kind.LABEL)
    former = wish.tag
    assert former is not None
    bench.machine.canceled_by_broker(wish, former, bench.now)
    bench.wait(1)
    bench.agree()
    bench.machine.canceled_by_broker(wish, former, bench.now)
    assert wish.state is S.CONSUMING


# The end of a wish.


def test_the_end_of_a_wish_cancels_its_consumer(bench: Bench) -> None:
    wish = bench.consuming(Kind.OWN)
    tag = wish.tag
    bench.machine.cancel(wish, bench.now)
    cancel = bench.only()
    assert (cancel.method, cancel.tag, wish.state) == (Method.CANCEL, tag, S.CANCELING)
    bench.machine.done(cancel, bench.now)
    assert bench.ports.over == [wish]


def test_a_wish_that_ends_while_its_consumer_starts_is_cancelled_after_that(bench: Bench) -> None:
    wish = bench.add(Kind.OWN)
    bench.attach()
    bench.machine.done(bench.only(), bench.now)
    consume = bench.only()
    bench.machine.cancel(wish, bench.now)
    assert (bench.commands(), bench.ports.over) == ([], [])
    bench.machine.done(consume, bench.now)
    bench.machine.done(bench.only(), bench.now)
    assert bench.ports.over == [wish]


@pytest.mark.parametrize("how", ["closed", "lost", "time", "refused"])
def test_a_cancellation_ends_whatever_happens(bench: Bench, how: str) -> None:
    wish = bench.consuming(Kind.LABEL)
    bench.machine.cancel(wish, bench.now)
    cancel = bench.only()
    assert cancel.lane is not None
    if how == "closed":
        bench.machine.channel_closed(cancel.lane, bench.now)
    elif how == "lost":
        bench.machine.lost()
    elif how == "time":
        bench.wait(5)
    else:
        bench.machine.refused(cancel, bench.now, missing=False, closed=True)
    assert bench.ports.over == [wish]


@pytest.mark.parametrize("state", ["WANTED", "LOOKING", "MISSING", "CANCELED", "WITHOUT", "DECLARING"])
def test_a_wish_without_a_consumer_ends_at_once(bench: Bench, state: str) -> None:
    wish = bench.add(Kind.OPTIONAL if state in ("WITHOUT", "DECLARING") else Kind.LABEL)
    if state == "CANCELED":
        bench.attach()
        bench.agree()
        assert wish.tag is not None
        bench.machine.canceled_by_broker(wish, wish.tag, bench.now)
    elif state != "WANTED":
        bench.attach()
        [command] = [each for each in bench.commands() if each.wish is wish]
        if state in ("MISSING", "WITHOUT"):
            bench.machine.refused(command, bench.now, missing=True, closed=False)
    assert wish.state is State[state]
    bench.machine.cancel(wish, bench.now)
    assert bench.ports.over == [wish]
    bench.agree()
    assert (wish.state, bench.ports.over) == (S.ENDED, [wish])


# Channels and connections.


def test_the_end_of_one_lane_changes_nothing_on_the_others(bench: Bench) -> None:
    wishes = [bench.consuming(kind) for kind in (Kind.OWN, Kind.LABEL, Kind.LABEL, Kind.OPTIONAL)]
    before = [(wish.state, wish.tag, wish.lane) for wish in wishes]
    assert wishes[1].lane is not None
    bench.machine.channel_closed(wishes[1].lane, bench.now)
    assert [(wish.state, wish.tag, wish.lane) for wish in wishes if wish is not wishes[1]] == before[:1] + before[2:]
    assert wishes[1].state is S.MISSING
    bench.wait(0.5)
    assert bench.methods() == ["look"]


def test_an_own_channel_that_is_closed_again_and_again_is_opened_less_and_less_often(bench: Bench) -> None:
    wish = bench.consuming(Kind.OWN)
    pauses = []
    for _ in range(9):
        assert wish.lane is not None
        bench.machine.channel_closed(wish.lane, bench.now)
        pauses.append(
            bench.wait_until_due() if wish.state is S.WANTED and not bench.machine._declare_due <= bench.now else 0
        )
        bench.agree()
        assert wish.state is S.CONSUMING
    assert pauses == [0, 0, 1, 2, 4, 8, 16, 30, 30]


def test_a_lane_that_nothing_needs_is_closed_once_its_deliveries_are_settled(bench: Bench) -> None:
    wish = bench.consuming(Kind.LABEL)
    lane = wish.lane
    assert lane is not None
    bench.machine.delivered(lane)
    bench.machine.cancel(wish, bench.now)
    bench.machine.done(bench.only(), bench.now)
    assert bench.commands() == []
    assert bench.machine.settle(lane)
    close = bench.only()
    assert (close.method, close.lane) == (Method.CLOSE, lane)


def test_a_new_connection_takes_up_everything(bench: Bench) -> None:
    wishes = [bench.consuming(kind) for kind in (Kind.OWN, Kind.LABEL, Kind.OPTIONAL)]
    former = bench.add(Kind.LABEL)
    look = bench.only()
    bench.machine.lost()
    assert {wish.state for wish in (*wishes, former)} == {S.WANTED}
    bench.attach()
    # Of the former connection.
    bench.machine.refused(look, bench.now, missing=True, closed=False)
    bench.agree()
    assert {wish.state for wish in (*wishes, former)} == {S.CONSUMING}


def test_a_check_declares_the_topology_once_and_disturbs_nobody(bench: Bench) -> None:
    wish = bench.consuming(Kind.OWN)
    bench.machine.check_topology(bench.now)
    bench.machine.check_topology(bench.now)
    [command] = bench.commands()
    bench.machine.check_topology(bench.now)
    bench.machine.done(command, bench.now)
    assert (wish.state, command.method) == (S.CONSUMING, Method.DECLARE)


# Random sequences of events.

KINDS = st.sampled_from(list(Kind))


class Model(RuleBasedStateMachine):
    """A broker with queues, consumers and channels, which answers, refuses, hangs, closes and cancels at random."""

    machine_class: type[Subscriptions[Wish]] = Subscriptions

    @initialize()
    def begin(self) -> None:
        self.now = 100.0
        self.ports = Ports()
        self.machine = self.machine_class(Options(label_lanes=2), self.ports)
        self.wishes: list[Wish] = []
        self.pending: list[SubscriptionCommand] = []
        #: What the broker has: live consumers by tag, each with its lane and wish.
        self.consumers: dict[str, tuple[Lane | None, Wish]] = {}
        self.dead_lanes: set[int] = set()
        self.kept: list[Lane] = []
        self.tried: dict[tuple[int, Method], float] = {}
        self.looked: dict[int, bool] = {}
        #: Wishes whose cancellation was not answered for a while.
        self.late: set[Wish] = set()

    @rule(kind=KINDS, private=st.booleans())
    def add(self, kind: Kind, private: bool) -> None:
        if len(self.wishes) < 6:
            wish = Wish(kind, private=private)
            self.wishes.append(wish)
            self.machine.add(wish, self.now)

    @rule(number=st.integers(0, 5))
    def cancel(self, number: int) -> None:
        if number < len(self.wishes):
            self.machine.cancel(self.wishes[number], self.now)

    @rule()
    @precondition(lambda self: not self.machine.attached)
    def attach(self) -> None:
        self.machine.attach(self.now)
        self.tried.clear()

    @rule()
    @precondition(lambda self: self.machine.attached)
    def lose(self) -> None:
        self.pending.clear()
        self.consumers.clear()
        self.tried.clear()
        self.machine.lost()

    @rule()
    def check_topology(self) -> None:
        self.machine.check_topology(self.now)

    @rule()
    def take(self) -> None:
        while (command := self.machine.next_command(self.now)) is not None:
            self._begin(command)
            self.machine.check()

    def _begin(self, command: SubscriptionCommand) -> None:
        lane, wish = command.lane, command.wish
        if command.method is Method.CLOSE:
            assert lane is not None
            assert not lane.unsettled, "closed with deliveries on it"
            assert not any(each is lane for each, _ in self.consumers.values())
            return
        assert lane is None or id(lane) not in self.dead_lanes, "a command on a closed channel"
        channel = [each for each in self.pending if each.lane is lane and (lane or _room(each) == _room(command))]
        assert not channel, "two methods at a time on one channel"
        if command.method is Method.CONSUME:
            assert wish is not None
            assert wish.state is State.STARTING
            assert command.tag not in self.consumers
            if wish.kind is Kind.LABEL:
                assert self.looked.pop(id(wish), False), "consumed from without a look"
        if command.method is Method.RECREATE:
            assert wish is not None
            assert wish.private
        if wish is not None and wish.failures:
            last = self.tried.get((id(wish), command.method), -inf)
            assert self.now - last >= 0.05 - 1e-9 or wish.failures == 0, "repeated without a pause"
        self.pending.append(command)

    @rule(kind=KINDS, private=st.booleans())
    def consume(self, kind: Kind, private: bool) -> None:
        """Get as far as a consumer at once, as the other rules rarely do."""
        self.add(kind, private)
        if not self.machine.attached:
            self.attach()
        for _ in range(20):
            self.take()
            if not self.pending:
                break
            self.agree(0)

    def _answer(self, number: int) -> SubscriptionCommand | None:
        if not self.pending:
            return None
        return self.pending.pop(number % len(self.pending))

    @rule(number=st.integers(0, 9))
    def agree(self, number: int) -> None:
        command = self._answer(number)
        if command is None:
            return
        wish = command.wish
        if command.method is Method.CONSUME:
            assert wish is not None
            self.consumers[command.tag] = (command.lane, wish)
        elif command.method is Method.CANCEL:
            self.consumers.pop(command.tag, None)
        elif command.method is Method.LOOK:
            self.looked[id(wish)] = True
        self.machine.done(command, self.now)

    @rule(number=st.integers(0, 9), missing=st.booleans(), closed=st.booleans())
    def refuse(self, number: int, missing: bool, closed: bool) -> None:
        command = self._answer(number)
        if command is None:
            return
        if command.wish is not None:
            self.tried[id(command.wish), command.method] = self.now
        self.consumers.pop(command.tag, None)
        closed = closed and command.lane is not None
        if closed:
            self._close(command.lane)
        self.machine.refused(command, self.now, missing=missing, closed=closed)

    @rule(number=st.integers(0, 9))
    def hang(self, number: int) -> None:
        command = self._answer(number)
        if command is not None:
            self._close(command.lane)
            self.machine.timed_out(command, self.now)

    @rule()
    def refuse_all_and_ask_again(self) -> None:
        self.take()
        while self.pending:
            self.refuse(0, False, False)
        self.take()

    @rule(times=st.integers(1, 3))
    def hang_when_consuming(self, times: int) -> None:
        for _ in range(times):
            self.take()
            for command in list(self.pending):
                number = self.pending.index(command)
                if command.method is Method.CONSUME:
                    self.hang(number)
                else:
                    self.agree(number)
            self.take()
            self.wait_until_due()

    @rule(number=st.integers(0, 9))
    @precondition(lambda self: any(each.method is Method.CONSUME for each in self.pending))
    def have_no_channel(self, number: int) -> None:
        opening = [each for each in self.pending if each.method is Method.CONSUME]
        command = opening[number % len(opening)]
        if not any(lane is command.lane for lane, _ in self.consumers.values()):
            self.pending.remove(command)
            self._close(command.lane)
            self.machine.no_lane(command, self.now)

    @rule(number=st.integers(0, 9))
    @precondition(lambda self: self.consumers)
    def cancel_by_broker(self, number: int) -> None:
        tag = list(self.consumers)[number % len(self.consumers)]
        _, wish = self.consumers.pop(tag)
        self.machine.canceled_by_broker(wish, tag, self.now)

    @rule(number=st.integers(0, 9))
    @precondition(lambda self: self.consumers)
    def close_channel(self, number: int) -> None:
        lane, _ = list(self.consumers.values())[number % len(self.consumers)]
        assert lane is not None
        others = {
            wish: (wish.state, wish.tag)
            for each, wish in self.consumers.values()
            if each is not lane and each is not None
        }
        busy = lane.busy
        self._close(lane)
        if busy is None:
            self.machine.channel_closed(lane, self.now)
        else:
            self.pending.remove(busy)
            self.machine.refused(busy, self.now, missing=False, closed=True)
        for wish, before in others.items():
            assert (wish.state, wish.tag) == before, "U3"

    def _close(self, lane: Lane | None) -> None:
        if lane is None:
            return
        self.dead_lanes.add(id(lane))
        self.kept.append(lane)
        self.consumers = {tag: found for tag, found in self.consumers.items() if found[0] is not lane}

    @rule(number=st.integers(0, 9))
    @precondition(lambda self: self.consumers)
    def deliver(self, number: int) -> None:
        lane, wish = list(self.consumers.values())[number % len(self.consumers)]
        if lane is not None and lane.kind is not Kind.OWN and wish.state is not State.ENDED:
            self.machine.delivered(lane)

    @rule(number=st.integers(0, 9))
    def settle(self, number: int) -> None:
        lanes = [lane for lane in self.machine._lanes.live if lane.unsettled]
        if lanes:
            self.machine.settle(lanes[number % len(lanes)])

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 5.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.late |= {wish for wish in self.wishes if wish.state is State.CANCELING}
        self.now += seconds
        self.machine.tick(self.now)

    @rule()
    def wait_until_due(self) -> None:
        if self.machine.next_deadline < inf:
            self.wait(max(0.0, self.machine.next_deadline - self.now))

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.machine.check()
        assert len(self.ports.over) == len(set(self.ports.over)), "ended twice"
        live = {wish for _, wish in self.consumers.values()}
        for wish in self.wishes:
            assert (wish.state is State.ENDED) == (wish in self.ports.over)
            tags = [tag for tag, (_, each) in self.consumers.items() if each is wish]
            # (One whose cancellation was not answered in time may go on until its lane ends.)
            assert wish.state in (State.ENDED, State.CANCELING) or len(tags) <= 1, "U1"
            if wish.state is State.CONSUMING:
                assert wish in live, "deaf"
            if wish.state is State.ENDED:
                assert not tags or wish in self.late, "not cancelled"
        if self.machine.attached:
            waiting = [wish for wish in self.wishes if wish.due < inf]
            if waiting or self.machine._declare_due < inf:
                assert self.machine.next_deadline <= min(
                    [wish.due for wish in waiting] + [self.machine._declare_due]
                ), "no alarm"

    def teardown(self) -> None:
        """When faults stop, everything is consumed from within two minutes."""
        if not hasattr(self, "machine"):
            return
        if not self.machine.attached:
            self.machine.attach(self.now)
        self.tried.clear()
        for _ in range(200):
            while True:
                self.take()
                if not self.pending:
                    break
                self.agree(0)
            for wish in self.wishes:
                if wish.state is State.CONSUMING:
                    continue
            if self.machine.next_deadline > self.now + 700:
                break
            self.wait_until_due()
            self.machine.check()
        assert {wish.state for wish in self.wishes} <= {State.CONSUMING, State.ENDED}


def _room(command: SubscriptionCommand) -> str:
    """Say which channel a command without a lane has."""
    return (
        "looks" if command.method is Method.LOOK or (command.wish and command.wish.kind is Kind.OPTIONAL) else "control"
    )


QUICK = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_random_events_never_break_an_invariant() -> None:
    run_state_machine_as_test(Model, settings=QUICK)


# Planted bugs, each of which the random events find.


class ConsumesAtOnceAfterACancel(Subscriptions[Wish]):
    def canceled_by_broker(self, wish: Wish, tag: str, now: float) -> None:
        if wish.tag == tag and wish.state is State.CONSUMING:
            self._lanes.leave(wish)
            self._start(wish)
        else:
            super().canceled_by_broker(wish, tag, now)


class _OneLane(DeliveryLanes[Wish]):
    def _lane_for(self, wish: Wish) -> Lane:
        if self._own is None or not self._own.live:
            self._own = self._new(Kind.OWN)
        return self._own


class SharesTheMainLane(Subscriptions[Wish]):
    def __init__(self, options: Options, ports: Any) -> None:
        super().__init__(options, ports)
        self._lanes = _OneLane(options.label_lanes)


class TriesOptionalQueuesWithoutEnd(Subscriptions[Wish]):
    def _retreat(self, wish: Wish, now: float, *, missing: bool) -> None:
        if wish.kind is Kind.OPTIONAL:
            self._want(wish, now)
        else:
            super()._retreat(wish, now, missing=missing)


class ForgetsTheTimer(Subscriptions[Wish]):
    def _retreat(self, wish: Wish, now: float, *, missing: bool) -> None:
        super()._retreat(wish, now, missing=missing)
        if wish.kind is Kind.LABEL:
            wish.due = inf


class KeepsATagOfALostChannel(Subscriptions[Wish]):
    def channel_closed(self, lane: Lane, now: float) -> None:
        self._lanes.drop(lane)


class EndsTwice(Subscriptions[Wish]):
    def cancel(self, wish: Wish, now: float) -> None:
        super().cancel(wish, now)
        if wish.state is State.CANCELING:
            self._ports.ended(wish)


class _ClosedTooEarly(DeliveryLanes[Wish]):
    def close_if_idle(self, lane: Lane) -> bool:
        self._idle.append(lane)
        return True

    def _next_close(self) -> SubscriptionCommand | None:
        while self._idle:
            lane = self._idle.popleft()
            if lane.live and lane.wishes:
                return SubscriptionCommand(Method.CLOSE, None, lane)
        return None


class ClosesALaneWithDeliveries(Subscriptions[Wish]):
    def __init__(self, options: Options, ports: Any) -> None:
        super().__init__(options, ports)
        self._lanes = _ClosedTooEarly(options.label_lanes)

    def delivered(self, lane: Lane) -> None:
        pass


class DeletesQueuesOfOthers(Subscriptions[Wish]):
    def _retreat(self, wish: Wish, now: float, *, missing: bool) -> None:
        private, wish.private = wish.private, True
        super()._retreat(wish, now, missing=missing)
        wish.private = private


class ForgetsToCancel(Subscriptions[Wish]):
    def cancel(self, wish: Wish, now: float) -> None:
        if wish.state is State.CONSUMING:
            self._end(wish)
        else:
            super().cancel(wish, now)


PLANTED = [
    ConsumesAtOnceAfterACancel,
    SharesTheMainLane,
    TriesOptionalQueuesWithoutEnd,
    ForgetsTheTimer,
    KeepsATagOfALostChannel,
    EndsTwice,
    ClosesALaneWithDeliveries,
    DeletesQueuesOfOthers,
    ForgetsToCancel,
]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda each: each.__name__)
def test_random_events_find_a_planted_bug(planted: type[Subscriptions[Wish]]) -> None:
    class Planted(Model):
        machine_class = planted

    without_shrinking: Any = settings(QUICK, max_examples=500, phases=[Phase.generate])
    with pytest.raises(Exception):  # noqa: B017, PT011  (whichever assertion comes first)
        run_state_machine_as_test(Planted, settings=without_shrinking)
