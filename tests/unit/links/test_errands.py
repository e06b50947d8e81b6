"""Errands whose answer is late, or never comes; the broker is a fake that answers when the test says so."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from amqp.exceptions import NotFound
from gevent.event import AsyncResult, Event

from amphora.core.messages import ChannelCommand
from amphora.driver.progress import Silence, Unanswered
from amphora.links import errands as module
from amphora.links.errands import Errands
from tests.unit.links.fakes import FakeConnection


class Channel:
    """A channel; the test decides about its answers."""

    def __init__(self, connection: "Connection", number: int) -> None:
        self.connection: Connection | None = connection
        self.number = number
        self.on_closed: Any = None
        self._broker = connection

    def ask(self) -> int:
        """Wait for an answer as long as the test wants; return the number of the channel."""
        error = self._broker.answer.get()
        if error is not None:
            raise error
        return self.number

    def basic_qos(self, *_: Any) -> None:
        self._broker.asked_anything.set()
        if self._broker.silence is not None:
            raise self._broker.silence

    def abandon(self) -> None:
        self._broker.abandoned.append(self.number)


class Connection(FakeConnection):
    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.abandoned: list[int] = []
        #: What `Channel.ask` ends with: None, or an error.
        self.answer: AsyncResult[BaseException | None] = AsyncResult()
        self.asked_anything = Event()
        self.silence: Silence | None = None

    def channel(self) -> Channel:
        self.channels.append(Channel(self, len(self.channels) + 1))
        return self.channels[-1]


class Owner:
    """What the owner of a connection sees."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.overdue: list[ChannelCommand] = []
        self.ends: dict[ChannelCommand, tuple[Any, Exception | None]] = {}
        self.woken = Event()
        self.errands = Errands(
            self.connection,  # type: ignore[arg-type]
            on_overdue=self.overdue.append,
            on_end=self._on_end,
            wake=self.woken.set,
        )

    def _on_end(self, command: ChannelCommand, value: Any, error: Exception | None) -> None:
        self.ends[command] = (value, error)

    def start(self, action: Callable[[Any], Any], *, limit: float | None = None) -> ChannelCommand:
        command = ChannelCommand(action, None, limit=limit)
        self.errands.start(command)
        return command

    def wait_for(self, condition: Callable[[], object]) -> None:
        with gevent.Timeout(20):
            while not condition():
                gevent.idle()


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    monkeypatch.setattr(module, "_OVERDUE", 0.01)
    monkeypatch.setattr(module, "_SOONER", 0.01)
    owner = Owner()
    yield owner
    owner.errands.end()


def ask(channel: Channel) -> int:
    return channel.ask()


def test_what_is_answered_in_time_is_not_overdue_and_shares_a_channel(owner: Owner) -> None:
    first, second = owner.start(lambda channel: channel.number), owner.start(lambda channel: channel.number)
    owner.wait_for(lambda: len(owner.ends) == 2)

    assert owner.ends == {first: (1, None), second: (1, None)}
    assert owner.overdue == []
    assert owner.woken.is_set()


def test_while_one_is_overdue_others_are_carried_out_on_another_channel(owner: Owner) -> None:
    late = owner.start(ask)
    owner.wait_for(lambda: late in owner.overdue)
    other = owner.start(lambda channel: channel.number)
    owner.wait_for(lambda: other in owner.ends)

    number, error = owner.ends[other]
    assert error is None
    assert number != 1
    assert late not in owner.ends
    assert owner.errands.fault is None


def test_one_that_is_answered_late_has_its_value_and_its_channel_is_closed(owner: Owner) -> None:
    late = owner.start(ask)
    owner.wait_for(lambda: late in owner.overdue)
    owner.connection.answer.set(None)
    owner.wait_for(lambda: late in owner.ends)

    assert owner.ends[late] == (1, None)
    assert owner.connection.abandoned == [1]


def test_one_that_is_refused_late_has_the_error(owner: Owner) -> None:
    refusal = NotFound("no queue", (50, 10), "Queue.declare")
    late = owner.start(ask)
    owner.wait_for(lambda: late in owner.overdue)
    owner.connection.answer.set(refusal)
    owner.wait_for(lambda: late in owner.ends)

    assert owner.ends[late] == (None, refusal)
    assert owner.errands.fault is None


def test_one_without_an_answer_ends_at_its_limit_while_the_broker_answers_others(owner: Owner) -> None:
    late = owner.start(ask, limit=0.02)
    owner.wait_for(lambda: late in owner.ends)

    value, error = owner.ends[late]
    assert value is None
    assert isinstance(error, Unanswered)
    assert error.seconds == 0.02
    assert owner.connection.asked_anything.is_set()
    assert owner.connection.abandoned == [1]
    assert owner.errands.fault is None


def test_with_many_channels_that_wait_in_vain_none_with_a_limit_is_begun(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ABANDONED", 2)
    for count in (1, 2):
        owner.start(ask, limit=0.02)
        owner.wait_for(lambda count=count: len(owner.ends) == count)  # type: ignore[misc]
    run: list[int] = []
    limited = owner.start(lambda channel: run.append(channel.number), limit=0.02)
    unlimited = owner.start(lambda channel: channel.number)
    owner.wait_for(lambda: len(owner.ends) == 4)

    assert run == []
    assert isinstance(owner.ends[limited][1], Unanswered)
    assert owner.ends[unlimited][1] is None

    # The broker closes a channel when its queue answers after all.
    owner.connection.channels[0].connection = None
    owner.start(lambda channel: run.append(channel.number), limit=0.02)
    owner.wait_for(lambda: run)


def test_a_connection_on_which_nothing_is_answered_is_dead(owner: Owner) -> None:
    owner.connection.silence = Silence("no answer", 1)
    late = owner.start(ask)
    owner.wait_for(lambda: owner.errands.fault)

    assert owner.errands.fault is owner.connection.silence
    assert owner.woken.is_set()
    # It is for the next connection.
    owner.connection.answer.set(None)
    gevent.idle()
    assert late not in owner.ends


def test_nothing_ends_once_the_connection_is_lost(owner: Owner) -> None:
    ended: list[str] = []

    def action(channel: Channel) -> int:
        try:
            return channel.ask()
        finally:
            ended.append("greenlet")

    late = owner.start(action)
    owner.wait_for(lambda: late in owner.overdue)
    owner.errands.end()
    owner.wait_for(lambda: ended)

    assert owner.ends == {}
    assert owner.errands.fault is None


def test_an_interrupt_in_an_errand_is_for_the_owner_to_raise(owner: Owner) -> None:
    interrupt = KeyboardInterrupt()

    def interrupted(_: Any) -> None:
        raise interrupt

    command = owner.start(interrupted)
    owner.wait_for(lambda: owner.errands.fault)

    assert owner.errands.fault is interrupt
    assert owner.woken.is_set()
    assert command not in owner.ends
