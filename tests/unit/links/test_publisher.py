"""The outbox, on a connection that only notes what is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amphora.core.messages import OutgoingMessage
from amphora.core.outbox_ports import ChannelState
from amphora.exceptions import AccessRefused, AmqpRpcException, Backlogged, NoResult, PublishNacked, Unroutable
from amphora.links.publisher import Publisher
from amphora.links.topology import Topology
from amphora.options.brokers import BrokerAddress
from amphora.options.settings import LinkSettings, OutboxLimits
from tests.support.clock import Clock
from tests.support.eventually import wait_until
from tests.unit.links.fakes import FakeConnection


class NotingChannel:
    """A channel that notes the bodies of what is published on it, and confirms nothing by itself."""

    #: None once the broker has closed it.
    connection: Any = "open"

    def __init__(self) -> None:
        self.published: list[bytes] = []
        self.closed = False
        self.on_confirm: Callable[[int, bool, bool], None]
        self.on_return: Callable[[str, str, str, str | None], None]

    def confirm_select(self) -> None:
        """Always on."""

    def close(self) -> None:
        self.closed = True

    def encode(self, exchange: str, routing_key: str, properties: dict[str, Any], body: bytes, **how: bool) -> bytes:
        return body

    def write(self, frames: bytes, *, at_once: bool) -> None:
        self.published.append(frames)


class NotingConnection(FakeConnection):
    """A connection whose last channel is the one that messages are published on."""

    def __init__(self) -> None:
        self.messages: NotingChannel

    def channel(self) -> NotingChannel:
        self.messages = NotingChannel()
        return self.messages


Outcomes = dict[bytes, AmqpRpcException | None]


@pytest.fixture
def outcomes() -> Outcomes:
    """The outcome of each message, once it has one."""
    return {}


@pytest.fixture
def new_message(outcomes: Outcomes) -> Callable[..., OutgoingMessage]:
    def done(message: OutgoingMessage, error: AmqpRpcException | None) -> None:
        assert message.body not in outcomes, "a message has one outcome"
        outcomes[message.body] = error

    return lambda body, key="key": OutgoingMessage("exchange", key, {"message_id": body.decode()}, body, done)


@pytest.fixture
def publisher() -> Publisher:
    settings = LinkSettings((BrokerAddress("memory"),))
    return Publisher("test", settings, OutboxLimits(count=5, size=100), Topology([]), on_fatal=pytest.fail)


def connect(publisher: Publisher) -> NotingChannel:
    connection = NotingConnection()
    publisher.attach(connection)
    publisher.work()
    return connection.messages


def test_what_is_not_confirmed_is_sent_again_in_its_old_order(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    first = connect(publisher)
    for body in (b"1", b"2", b"3"):
        publisher.publish_now(new_message(body))
    first.on_confirm(2, False, True)
    publisher.detach()
    publisher.publish_now(new_message(b"4"))

    second = connect(publisher)

    assert first.published == [b"1", b"2", b"3"]
    assert second.published == [b"1", b"3", b"4"]
    second.on_confirm(3, True, True)
    assert outcomes == dict.fromkeys((b"1", b"2", b"3", b"4"))
    assert len(publisher) == 0


def test_the_time_to_confirm_counts_from_the_last_sending_of_what_the_broker_has_taken(
    publisher: Publisher,
    new_message: Callable[[bytes], OutgoingMessage],
    outcomes: Outcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("amphora.links.publisher.monotonic", lambda: now[0])
    first = connect(publisher)
    publisher.publish_now(new_message(b"at once"))
    publisher.publish_now(new_message(b"sent again"))
    publisher.publish_now(new_message(b"refused"))
    now[0] += 0.25
    first.on_confirm(1, False, True)
    now[0] += 60.0
    publisher.detach()

    second = connect(publisher)
    publisher.publish_now(new_message(b"unroutable"))
    now[0] += 2.0
    second.on_confirm(1, False, True)
    second.on_confirm(2, False, False)
    second.on_return("NO_ROUTE", "exchange", "key", "unroutable")
    second.on_confirm(3, False, True)

    assert len(outcomes) == 4
    assert (publisher.confirm_times.count, publisher.confirm_times.total) == (2, 2.25)


def test_what_is_known_to_have_arrived_is_not_sent_again(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    connect(publisher)
    answered, unanswered = new_message(b"answered"), new_message(b"unanswered")
    publisher.publish_now(answered)
    publisher.publish_now(unanswered)
    answered.arrived = True
    publisher.detach()

    second = connect(publisher)

    assert second.published == [b"unanswered"]
    assert outcomes == {b"answered": None}
    assert len(publisher) == 1


def test_a_confirm_for_many_settles_those_up_to_it_and_no_more(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    channel = connect(publisher)
    for body in (b"1", b"2", b"3", b"4"):
        publisher.publish_now(new_message(body))

    channel.on_confirm(3, False, True)
    channel.on_confirm(2, True, True)
    channel.on_confirm(2, True, True)

    assert outcomes == dict.fromkeys((b"3", b"1", b"2"))
    assert len(publisher) == 1


def test_a_nack_fails_the_message_that_it_is_about(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    channel = connect(publisher)
    publisher.publish_now(new_message(b"refused"))
    publisher.publish_now(new_message(b"taken"))

    channel.on_confirm(1, False, False)
    channel.on_confirm(2, False, True)

    assert isinstance(outcomes[b"refused"], PublishNacked)
    assert outcomes[b"taken"] is None


def test_a_returned_message_is_unroutable_when_its_confirm_comes(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    channel = connect(publisher)
    publisher.publish_now(new_message(b"lost"))
    publisher.publish_now(new_message(b"found"))

    channel.on_return("312 NO_ROUTE", "exchange", "key", "lost")
    assert outcomes == {}
    channel.on_confirm(2, True, True)

    assert isinstance(outcomes[b"lost"], Unroutable)
    assert outcomes[b"found"] is None


def test_a_full_outbox_takes_nothing_more_past_the_deadline(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    for number in range(5):
        publisher.publish_now(new_message(b"%d" % number))

    with pytest.raises(Backlogged, match=r"5 messages \(5 bytes\)"):
        publisher.publish(new_message(b"one too many"), deadline=0.0)

    assert connect(publisher).published == [b"0", b"1", b"2", b"3", b"4"]


def test_when_all_is_refused_everything_has_an_outcome_and_nothing_is_left(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    refusal = AccessRefused("wrong password")
    channel = connect(publisher)
    publisher.publish(new_message(b"sent"), deadline=None)
    publisher.detach()
    publisher.publish(new_message(b"waiting"), deadline=None)
    arrived = new_message(b"arrived")
    arrived.arrived = True
    publisher.publish(arrived, deadline=None)
    command = publisher.run(lambda _: None)

    publisher.refuse_all(refusal)

    assert outcomes == {b"sent": refusal, b"waiting": refusal, b"arrived": None}
    assert command.exception is refusal
    assert len(publisher) == 0
    assert connect(publisher).published == []
    assert channel.published == [b"sent"]


def test_what_was_sent_is_refused_too_and_its_late_confirm_changes_nothing(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], outcomes: Outcomes
) -> None:
    refusal = AccessRefused("no permission to read")
    channel = connect(publisher)
    publisher.publish(new_message(b"sent"), deadline=None)

    publisher.refuse_all(refusal)
    channel.on_confirm(1, False, True)
    publisher.detach()

    assert outcomes == {b"sent": refusal}
    assert connect(publisher).published == []


def test_a_command_that_is_refused_while_it_runs_has_one_outcome(publisher: Publisher) -> None:
    refusal = AccessRefused("wrong password")
    command = publisher.run(lambda _: publisher.refuse_all(refusal))

    connect(publisher)

    command.wait(5)
    assert command.exception is refusal


# Messages that a quorum queue without a leader refuses.


@pytest.fixture
def patient() -> Publisher:
    """A publisher that sends refused messages again, for longer than any test takes."""
    return _patient(60.0)


def _patient(patience: float) -> Publisher:
    settings = LinkSettings((BrokerAddress("memory"),))
    return Publisher("test", settings, OutboxLimits(), Topology([]), on_fatal=pytest.fail, patience=patience)


def wait_for_another_channel(publisher: Publisher, connection: NotingConnection) -> NotingChannel:
    """Do the owner's work until messages go over another channel."""
    before = connection.messages

    def renewed() -> bool:
        publisher.work()
        return connection.messages is not before

    wait_until(renewed, message="another channel")
    assert before.closed
    return connection.messages


@pytest.fixture
def connection(patient: Publisher) -> NotingConnection:
    connection = NotingConnection()
    patient.attach(connection)
    patient.work()
    return connection


def test_refused_messages_are_sent_again_on_another_channel_in_their_order(
    patient: Publisher, connection: NotingConnection, new_message: Callable[..., OutgoingMessage], outcomes: Outcomes
) -> None:
    first = connection.messages
    for body in (b"1", b"2", b"3"):
        patient.publish_now(new_message(body))
    first.on_confirm(1, False, False)
    patient.publish_now(new_message(b"4"))
    # The broker may have been told of these before, and refuse them later.
    first.on_confirm(3, True, False)
    assert first.published == [b"1", b"2", b"3"]

    second = wait_for_another_channel(patient, connection)

    assert second.published == [b"1", b"2", b"3", b"4"]
    second.on_confirm(4, True, True)
    assert outcomes == dict.fromkeys((b"1", b"2", b"3", b"4"))
    assert len(patient) == 0


def test_messages_to_other_queues_do_not_wait_for_refused_ones(
    patient: Publisher, connection: NotingConnection, new_message: Callable[..., OutgoingMessage]
) -> None:
    patient.publish_now(new_message(b"refused"))
    connection.messages.on_confirm(1, False, False)

    patient.publish_now(new_message(b"behind it"))
    patient.publish_now(new_message(b"beside it", "other"))

    assert connection.messages.published == [b"refused", b"beside it"]


def test_what_is_confirmed_in_time_is_not_sent_again_with_refused_messages(
    patient: Publisher, connection: NotingConnection, new_message: Callable[..., OutgoingMessage], outcomes: Outcomes
) -> None:
    first = connection.messages
    patient.publish_now(new_message(b"refused"))
    patient.publish_now(new_message(b"slow", "other"))
    first.on_confirm(1, False, False)
    wait_until(lambda: patient.work() or patient._outbox.channel is ChannelState.DRAINING, message="it is due")
    assert connection.messages is first

    first.on_confirm(2, False, True)
    second = wait_for_another_channel(patient, connection)

    assert second.published == [b"refused"]
    assert outcomes == {b"slow": None}


def test_what_is_never_confirmed_does_not_hold_up_refused_messages(
    patient: Publisher, connection: NotingConnection, new_message: Callable[..., OutgoingMessage]
) -> None:
    patient.publish_now(new_message(b"silent", "other"))
    patient.publish_now(new_message(b"refused"))
    connection.messages.on_confirm(2, False, False)

    assert wait_for_another_channel(patient, connection).published == [b"silent", b"refused"]


def test_a_lost_connection_brings_refused_messages_back_in_their_order(
    patient: Publisher, connection: NotingConnection, new_message: Callable[..., OutgoingMessage], outcomes: Outcomes
) -> None:
    for body, key in ((b"1", "a"), (b"2", "b"), (b"3", "a")):
        patient.publish_now(new_message(body, key))
    connection.messages.on_confirm(1, False, False)
    connection.messages.on_confirm(3, False, False)
    patient.publish_now(new_message(b"4", "a"))

    patient.detach()

    assert connect(patient).published == [b"1", b"2", b"3", b"4"]
    assert outcomes == {}


def test_what_is_held_back_is_refused_with_everything_else(
    patient: Publisher, connection: NotingConnection, new_message: Callable[..., OutgoingMessage], outcomes: Outcomes
) -> None:
    refusal = AccessRefused("no permission to read")
    patient.publish_now(new_message(b"refused"))
    connection.messages.on_confirm(1, False, False)

    patient.refuse_all(refusal)
    patient.detach()

    assert outcomes == {b"refused": refusal}
    assert connect(patient).published == []
    assert len(patient) == 0


def test_what_is_refused_for_too_long_is_nacked(
    new_message: Callable[..., OutgoingMessage], outcomes: Outcomes
) -> None:
    publisher, connection = _patient(0.1), NotingConnection()
    publisher.attach(connection)
    publisher.publish_now(new_message(b"refused"))

    def refuse() -> bool:
        publisher.work()
        if connection.messages.published:
            connection.messages.published.clear()
            connection.messages.on_confirm(1, False, False)
        return bool(outcomes)

    wait_until(refuse)

    assert isinstance(outcomes[b"refused"], PublishNacked)
    assert "for 0.1 s: is a queue full, or are most nodes of a quorum queue down?" in str(outcomes[b"refused"])
    assert len(publisher) == 0


# Messages with a deadline.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("amphora.links.publisher.monotonic", clock)
    return clock


def test_a_held_message_is_sent_with_the_time_that_it_has_left(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage], clock: Clock
) -> None:
    message = new_message(b"1")
    message.expires_at = clock.now + 5
    publisher.publish_now(message)
    clock.now += 3

    first = connect(publisher)
    at_first = message.properties["expiration"]
    publisher.detach()
    clock.now += 1.5
    second = connect(publisher)

    assert (first.published, at_first) == ([b"1"], "2000")
    assert (second.published, message.properties["expiration"]) == ([b"1"], "500")


@pytest.mark.parametrize("sent_before", [False, True])
def test_a_message_that_is_held_past_its_deadline_is_not_sent_and_makes_room(
    publisher: Publisher,
    new_message: Callable[[bytes], OutgoingMessage],
    outcomes: Outcomes,
    clock: Clock,
    sent_before: bool,
) -> None:
    if sent_before:
        connect(publisher)
    message = new_message(b"1")
    message.expires_at = clock.now + 5
    publisher.publish_now(message)
    publisher.publish_now(new_message(b"2"))
    publisher.detach()
    clock.now += 5

    channel = connect(publisher)

    assert channel.published == [b"2"]
    assert isinstance(outcomes[b"1"], NoResult)
    assert ("not sent again" in str(outcomes[b"1"])) == sent_before
    channel.on_confirm(1, False, True)
    assert outcomes[b"2"] is None
    assert len(publisher) == 0


def test_a_message_without_a_deadline_has_no_expiration(
    publisher: Publisher, new_message: Callable[[bytes], OutgoingMessage]
) -> None:
    message = new_message(b"1")
    connect(publisher)

    publisher.publish_now(message)

    assert "expiration" not in message.properties
