"""The outbox, event by event."""

from __future__ import annotations

import math
from itertools import count
from typing import Any

import pytest

from amphora.core import outbox as outbox_module
from amphora.core.messages import ChannelCommand, Outcome, OutgoingMessage, State
from amphora.core.outbox import Outbox
from amphora.core.outbox_ports import ChannelState
from amphora.exceptions import AmqpRpcException
from tests.support.interrupting import Interrupt, interrupted_at
from tests.unit.core.outbox_model import Model


@pytest.fixture
def model() -> Model:
    """An outbox with an open channel, and a broker behind it."""
    model = Model()
    model.connect()
    model.turn()
    return model


def submit(model: Model, *keys: str, **options: Any) -> list[OutgoingMessage]:
    messages = [model.new_message(key, **options) for key in keys]
    for message in messages:
        model.submit(message)
    return messages


def written(model: Model) -> list[int]:
    """Return the numbers of what was written to the present channel."""
    assert model.channel is not None
    return [model.numbers[id(message)] for message in model.channel.published]


def confirm(model: Model, tag: int, *, multiple: bool = False, acked: bool = True) -> None:
    channel = model.channel
    assert channel is not None
    model.acked.update(id(message) for message in channel.published[:tag])
    model.outbox.confirmed(channel.epoch, tag, multiple, acked, model.now)
    model.check()


# The table of the module's docstring.


class Case:
    """A message in one of the states."""

    def __init__(self, state: str) -> None:
        self.model = model = Model()
        model.connect()
        if state != "QUEUED":
            model.turn()
        self.message = model.new_message("a")
        if state == "NEW":
            return
        model.submit(self.message)
        if state == "RETURNED":
            self.returned()
        elif state == "HELD":
            self.nacked()
        elif state == "SETTLED":
            self.acked()

    def epoch(self) -> int:
        return self.model.outbox.epoch

    def submit(self) -> None:
        if self.message.state in (State.NEW, State.SETTLED):
            self.model.outcomes.clear()
            self.model.submit(self.message)
        else:
            self.model.outbox.submit(self.message, self.model.now)

    def acked(self) -> None:
        self.model.acked.add(id(self.message))
        self.model.outbox.confirmed(self.epoch(), 1, False, True, self.model.now)

    def nacked(self) -> None:
        self.model.outbox.confirmed(self.epoch(), 1, False, False, self.model.now)

    def returned(self) -> None:
        self.model.outbox.returned(self.epoch(), "312 NO_ROUTE", "exchange", "a", "id")

    def lost(self) -> None:
        self.model.lose()

    def closed(self) -> None:
        self.model._close_channel()
        self.model.outbox.closed(self.epoch())

    def withdraw(self) -> None:
        self.model.outbox.withdraw(self.message)

    def refuse_all(self) -> None:
        self.model.outbox.refuse_all(AmqpRpcException("refused"))

    def turn(self) -> None:
        self.model.turn()

    def in_a_minute(self) -> None:
        self.model.now += 0.06
        self.model.turn()


UNCHANGED = None
CONFIRMED, NACKED, UNROUTABLE = Outcome.CONFIRMED, Outcome.NACKED, Outcome.UNROUTABLE
WITHDRAWN, REFUSED = Outcome.WITHDRAWN, Outcome.REFUSED
QUEUED, SENT, RETURNED, HELD = State.QUEUED, State.SENT, State.RETURNED, State.HELD

#: What each event makes of a message in each state: a state, an outcome, or nothing.
TABLE: dict[str, dict[str, State | Outcome | None]] = {
    "NEW": {"submit": SENT, "refuse_all": UNCHANGED},
    "QUEUED": {"turn": SENT, "withdraw": WITHDRAWN, "refuse_all": REFUSED},
    "SENT": {
        "acked": CONFIRMED,
        "nacked": HELD,
        "returned": RETURNED,
        "lost": QUEUED,
        "closed": QUEUED,
        "refuse_all": REFUSED,
    },
    "RETURNED": {"acked": UNROUTABLE, "nacked": HELD, "lost": QUEUED, "closed": QUEUED, "refuse_all": REFUSED},
    "HELD": {"lost": QUEUED, "closed": QUEUED, "in_a_minute": SENT, "withdraw": WITHDRAWN, "refuse_all": REFUSED},
    "SETTLED": {"submit": QUEUED},
}
EVENTS = ("submit", "acked", "nacked", "returned", "lost", "closed", "withdraw", "refuse_all", "turn", "in_a_minute")


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", TABLE)
def test_every_event_in_every_state_does_what_the_table_says(state: str, event: str) -> None:
    case = Case(state)
    before = case.message.state
    expected = TABLE[state].get(event)
    if state == "QUEUED" and event == "in_a_minute":
        expected = SENT

    getattr(case, event)()

    if isinstance(expected, Outcome):
        assert list(case.model.outcomes.values()) == [expected]
        assert case.message.state is State.SETTLED
    else:
        assert case.message.state is (before if expected is UNCHANGED else expected)
    case.model.check()


def test_the_docstring_names_every_state_and_outcome() -> None:
    text = outbox_module.__doc__ or ""

    assert [state.name for state in State if state.name not in text] == ["RUNNING"]
    assert [outcome.name for outcome in Outcome if outcome.name not in text] == []
    assert [state.name for state in ChannelState if state.name not in text] == []


# Numbers.


def test_a_message_that_cannot_be_encoded_uses_no_number(model: Model) -> None:
    submit(model, "a")
    bad = submit(model, "a", unencodable=True)
    submit(model, "a", "a")

    assert written(model) == [1, 3, 4]
    assert model.outcomes == {2: Outcome.UNENCODABLE}
    assert bad[0].state is State.SETTLED
    confirm(model, 3)
    assert model.outcomes == {2: Outcome.UNENCODABLE, 4: CONFIRMED}


def test_an_exception_at_any_line_of_sending_loses_nothing_and_shifts_no_number() -> None:
    """The first message is in flight, the second is interrupted anywhere, the third is sent after it."""
    for line in count(1):
        model = Model()
        model.connect()
        model.turn()
        submit(model, "a")
        second = model.new_message("a")
        try:
            with interrupted_at(line):
                model.submit(second)
        except Interrupt:
            interrupted = True
        else:
            interrupted = False
        submit(model, "a")

        model.settle_everything()

        accepted = [1, 2, 3] if second.order else [1, 3]
        assert model.outcomes == dict.fromkeys(accepted, CONFIRMED)
        if not interrupted:
            return
    raise AssertionError("unreachable")


def test_an_exception_at_any_line_of_a_turn_loses_nothing() -> None:
    for line in count(1):
        model = Model()
        submit(model, "a", "b", "a")
        model.connect()
        model.channel = None
        model._open_channel()
        try:
            with interrupted_at(line):
                model.outbox.next_step(model.now)
        except Interrupt:
            interrupted = True
        else:
            interrupted = False

        model.settle_everything()

        assert model.outcomes == dict.fromkeys((1, 2, 3), CONFIRMED)
        if not interrupted:
            return


@pytest.mark.parametrize("multiple", [False, True])
def test_an_exception_at_any_line_of_a_confirm_settles_nothing_twice(multiple: bool) -> None:
    """Between the last line of the outbox and the first of the owner one outcome may be lost, and no more."""
    untold_at = 0
    for line in count(1):
        model = Model()
        model.connect()
        model.turn()
        submit(model, "a", "b", "a")
        model.acked.update(id(message) for message in model.messages)
        model.checking = False
        try:
            with interrupted_at(line):
                model.outbox.confirmed(model.outbox.epoch, 2, multiple, True, model.now)
        except Interrupt:
            interrupted = True
        else:
            interrupted = False
        model.checking = True

        telling = [message for message, _, _ in model.outbox._places.telling]
        settled = [number for number, each in model.pending.items() if each.state is State.SETTLED]
        untold = [number for number in settled if model.pending[number] not in telling]
        if untold:
            assert len(untold) == 1
            untold_at += 1
            del model.pending[untold[0]]

        # (`settled` of the model fails where a message has a second outcome.)
        model.turn()
        model.process(10)
        while model.channel is not None and model.channel.verdicts:
            model.confirm(0, multiple=False)

        assert model.outbox.channel is ChannelState.OPEN
        assert not model.outbox.in_flight
        if not interrupted:
            break
    assert untold_at <= 4


def test_a_confirm_of_more_than_was_sent_ends_at_what_was_sent(model: Model) -> None:
    submit(model, "a", "a")

    confirm(model, 2**63, multiple=True)

    assert model.outcomes == {1: CONFIRMED, 2: CONFIRMED}


# One bad message.


@pytest.mark.parametrize("bad", [0, 1, 200, 398, 399])
def test_one_bad_message_in_four_hundred_fails_alone_within_a_few_channels(bad: int) -> None:
    model = Model()
    for number in range(400):
        submit(model, "a", poison=number == bad)

    model.settle_everything()

    expected = {number + 1: Outcome.REJECTED if number == bad else CONFIRMED for number in range(400)}
    assert model.outcomes == expected
    assert len(model.closed_channels) <= 2 * math.log2(400) + 1


def test_several_bad_messages_fail_alone() -> None:
    model = Model()
    bad = (3, 4, 50, 99)
    for number in range(100):
        submit(model, "ab"[number % 2], poison=number in bad)

    model.settle_everything()

    rejected = [number - 1 for number, outcome in model.outcomes.items() if outcome is Outcome.REJECTED]
    assert sorted(rejected) == list(bad)
    assert len(model.outcomes) == 100


def test_new_messages_are_sent_while_suspects_are_looked_into_and_the_window_opens_again(model: Model) -> None:
    submit(model, *"aaaa", poison=False)
    submit(model, "a", poison=True)
    model.process(10)
    assert model.outbox.window.limit == 2
    submit(model, "b", "b")

    model.settle_everything()

    assert model.outcomes == {**dict.fromkeys((1, 2, 3, 4, 6, 7), CONFIRMED), 5: Outcome.REJECTED}
    assert model.outbox.window.limit is None
    submit(model, "a", "a", "a")
    assert len(model.outbox.in_flight) == 3


def test_a_connection_that_a_message_ends_twice_is_its_fault_alone(model: Model) -> None:
    submit(model, "a", "a")
    model.lose("501")
    assert model.outbox.window.limit == 1
    model.connect()
    model.turn()
    assert written(model) == [1]
    model.messages[0].properties["poison"] = True

    model.lose("501")

    assert model.outcomes == {1: Outcome.REJECTED}
    model.settle_everything()
    assert model.outcomes == {1: Outcome.REJECTED, 2: CONFIRMED}


def test_a_missing_permission_is_told_to_all_of_the_same_exchange_and_routing_key(model: Model) -> None:
    submit(model, "a", poison=True)
    submit(model, "b")
    submit(model, "a", "a", poison=True)
    for _ in range(10):
        channel = model.channel
        if channel is not None and channel.published and channel.published[0].lane[1] == "a":
            model._close_channel()
            model.outbox.closed_by(channel.epoch, "no permission", lane_wide=True)
        model.turn()
        if model.outcomes:
            break

    assert model.outcomes == dict.fromkeys((1, 3, 4), Outcome.REJECTED)
    model.settle_everything()
    assert model.outcomes[2] is CONFIRMED


# Order.


def test_what_is_returned_keeps_its_place_when_its_route_is_restored(model: Model) -> None:
    first = submit(model, "a", restorable=True)
    submit(model, "a")
    model.routeless.add(first[0].lane)
    model.process(1)
    model.confirm(0, multiple=False)
    submit(model, "a")

    model.turn()
    assert model.running is not None
    assert written(model) == [1, 2]
    model.routeless.clear()
    model.end_command(well=True)
    model.turn()

    # (The second one was in flight with the first.)
    assert written(model) == [1, 2, 1, 3]
    model.settle_everything()


def test_what_cannot_be_restored_is_unroutable(model: Model) -> None:
    messages = submit(model, "a", "a", restorable=True)
    model.routeless.add(messages[0].lane)
    model.process(2)
    model.confirm(1, multiple=True)
    model.turn()
    model.end_command(well=False)

    assert model.outcomes == dict.fromkeys((1, 2), UNROUTABLE)
    assert model.running is None


def return_two_with_one_id(model: Model) -> None:
    """Two of three messages with one id and routing key are returned, then two are acked together, then the third."""
    messages = submit(model, "a", "a", "a")
    model.routeless.add(messages[0].lane)
    model.process(2)
    model.routeless.clear()
    model.process(1)
    channel = model.channel
    assert channel is not None
    model.acked.add(id(messages[1]))
    model.outbox.confirmed(channel.epoch, 2, True, True, model.now)
    confirm(model, 3)

    assert model.outcomes == {1: UNROUTABLE, 2: UNROUTABLE, 3: CONFIRMED}


def test_two_returned_messages_with_one_id_and_a_multiple_ack_are_both_unroutable(model: Model) -> None:
    return_two_with_one_id(model)


class MarksTheSameMessageTwice(Outbox):
    def returned(self, epoch: int, text: str, exchange: str, routing_key: str, message_id: str | None) -> None:
        self._returned_to = 0
        for message in self.in_flight.values():
            if message.state is State.RETURNED and message.properties["message_id"] == message_id:
                return
        super().returned(epoch, text, exchange, routing_key, message_id)


def test_an_outbox_that_marks_the_same_message_twice_is_found_out() -> None:
    model = Model(MarksTheSameMessageTwice)
    model.connect()
    model.turn()

    with pytest.raises(AssertionError):
        return_two_with_one_id(model)


def test_an_owner_that_publishes_again_does_not_lose_its_place(model: Model) -> None:
    first = submit(model, "a", stubborn=True)
    model.routeless.add(first[0].lane)
    model.process(1)
    model.outbox.blocked = True
    submit(model, "a", "a")
    model.confirm(0, multiple=False)
    model.routeless.clear()
    model.outbox.blocked = False

    model.turn()

    assert written(model) == [1, 1, 2, 3]


def test_an_ack_of_a_lane_that_is_held_does_not_free_it_and_a_lost_connection_forgets_nothing(model: Model) -> None:
    submit(model, "a", "a")
    confirm(model, 1, acked=False)
    confirm(model, 2)
    submit(model, "a")
    assert written(model) == [1, 2]

    model.lose()
    model.connect()
    model.turn()

    assert written(model) == [1, 3]


# The delay of refused lanes.


def delays(model: Model, nacks: int) -> list[float]:
    """Return how long the lane waited after each nack."""
    waited = []
    for _ in range(nacks):
        confirm(model, 1, acked=False)
        began = model.now
        while model.outbox._places.lanes.held:
            model.now += 0.01
            model.turn()
        waited.append(round(model.now - began, 2))
    return waited


def test_the_delay_doubles_while_nothing_is_taken_up_to_a_second(model: Model) -> None:
    submit(model, "a")

    assert delays(model, 7) == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0], abs=0.02)


def test_the_delay_begins_anew_when_the_broker_has_taken_a_message_of_the_lane(model: Model) -> None:
    submit(model, "a", "a")
    confirm(model, 2, acked=True)
    assert delays(model, 3)[-1] == pytest.approx(0.2, abs=0.02)
    submit(model, "a")

    confirm(model, 2, acked=True)

    assert delays(model, 1) == pytest.approx([0.05], abs=0.02)


def test_the_delay_is_not_changed_by_what_is_taken_of_another_lane(model: Model) -> None:
    submit(model, "a")
    delays(model, 2)
    submit(model, "b")

    confirm(model, 2, acked=True)

    assert delays(model, 1) == pytest.approx([0.2], abs=0.02)


def test_the_delay_begins_anew_on_another_connection(model: Model) -> None:
    submit(model, "a")
    delays(model, 3)

    model.lose()
    model.connect()
    model.turn()

    assert delays(model, 1) == pytest.approx([0.05], abs=0.02)


# Commands.


def test_a_command_waits_for_its_turn_and_holds_up_what_comes_after_it(model: Model) -> None:
    model.outbox.blocked = True
    submit(model, "a")
    model.add_command()
    submit(model, "a")
    model.outbox.blocked = False

    model.turn()
    assert written(model) == [1]
    assert model.running is model.commands[0]
    model.end_command(well=True)
    model.turn()

    assert written(model) == [1, 3]


def test_a_command_runs_again_on_the_next_connection(model: Model) -> None:
    model.add_command()
    model.turn()
    submit(model, "a")
    model.lose()
    model.connect()
    model.turn()

    assert model.running is model.commands[0]
    assert written(model) == []
    model.settle_everything()
    assert list(model.ended_commands.values()) == ["well"]


def test_a_command_that_twice_ends_the_connection_is_refused_and_no_message_is_suspected(model: Model) -> None:
    submit(model, "a", "a")
    model.add_command()
    for _ in range(2):
        model.turn()
        assert model.running is model.commands[0]
        model.lose("501")
        model.connect()

    assert list(model.ended_commands.values()) == ["refused"]
    assert model.outbox.window.limit is None
    model.settle_everything()
    assert model.outcomes == {1: CONFIRMED, 2: CONFIRMED}


def test_commands_with_one_key_are_one_while_they_wait(model: Model) -> None:
    model.outbox.blocked = True
    first, second = model.add_command(key="k"), model.add_command(key="k")
    assert first is second
    model.outbox.blocked = False
    model.turn()

    assert model.running is first
    third = model.add_command(key="k")

    assert third is not first


def test_expendable_commands_are_dropped_where_too_many_wait() -> None:
    model = Model()
    outbox: Outbox = model.outbox

    added = [outbox.add(ChannelCommand(lambda _: None, expendable=True)) for _ in range(1_500)]
    kept = outbox.add(ChannelCommand(lambda _: None))

    assert sum(each is not None for each in added) == 1_000
    assert kept is not None


def test_a_command_that_runs_again_and_again_makes_no_room_for_expendable_ones(model: Model) -> None:
    outbox = model.outbox
    outbox.add(ChannelCommand(lambda _: None, expendable=True))
    for _ in range(5):
        outbox.next_step(model.now)
        outbox.lost()
        outbox.attached()
        outbox.opened()

    added = [outbox.add(ChannelCommand(lambda _: None, expendable=True)) for _ in range(1_500)]

    assert sum(each is not None for each in added) == 999


def test_a_flush_waits_for_what_was_before_it_only(model: Model) -> None:
    submit(model, "a", "a")
    ended: list[str] = []
    model.outbox.flush(lambda: ended.append("flushed"))
    submit(model, "a")

    confirm(model, 1)
    assert ended == []
    confirm(model, 2)

    assert ended == ["flushed"]


def test_what_is_withdrawn_makes_room_and_is_not_sent() -> None:
    model = Model()
    first, second = submit(model, "a", "a")

    assert model.outbox.withdraw(first)

    assert model.outcomes == {1: WITHDRAWN}
    assert model.limiter.count == 1
    model.connect()
    model.turn()
    assert not model.outbox.withdraw(second), "it is on its way"
    assert written(model) == [2]


def test_what_is_withdrawn_before_it_is_merged_does_not_stop_the_others(model: Model) -> None:
    first = submit(model, "a", stubborn=True)
    model.routeless.add(first[0].lane)
    model.process(1)
    model.confirm(0, multiple=False)

    assert model.outbox.withdraw(first[0])

    submit(model, "a")
    assert written(model) == [1, 2]


def test_a_message_is_withdrawn_from_a_torn_outbox(model: Model) -> None:
    for line in count(1):
        message = model.new_message("a")
        try:
            with interrupted_at(line):
                model.submit(message)
        except Interrupt:
            model.outbox.flush(lambda: None)
            model.outbox.withdraw(message)
            model.settle_everything()
        else:
            return
