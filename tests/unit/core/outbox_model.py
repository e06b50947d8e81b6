"""A broker, a driver and owners for an outbox, all of them without time, threads or bytes.

The model keeps its own numbers of everything that was submitted: those of the outbox could hide that a message has lost
its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amphora.core.limiter import Limiter
from amphora.core.messages import ChannelCommand, Outcome, OutgoingMessage, State
from amphora.core.outbox import Outbox
from amphora.core.outbox_ports import Step

__all__ = ["BadMessageError", "Model"]


class BadMessageError(Exception):
    """A message cannot be encoded."""


@dataclass
class Channel:
    """A channel as the broker sees it."""

    epoch: int
    published: list[OutgoingMessage] = field(default_factory=list)
    processed: int = 0
    #: What the broker will say of processed messages: (tag, acked); returns are said before.
    verdicts: list[tuple[int, bool]] = field(default_factory=list)
    #: Lanes whose messages this channel refuses until it is closed.
    refuses: set[tuple[str, str]] = field(default_factory=set)


class Model:
    """Everything around an outbox.

    Attributes:
        now: The time.
        outcomes: What each message ended with, by its number here.
        pending: Messages without an outcome, by their number here.
        channel: The present channel of the broker; None while there is none.
    """

    def __init__(
        self,
        new_outbox: Callable[..., Outbox] = Outbox,
        new_limiter: Callable[..., Limiter] = Limiter,
        *,
        count: int = 1_000,
        patience: float = 30.0,
    ) -> None:
        self.now = 1_000.0
        self.limiter = new_limiter(count, 1_000_000)
        self.outbox = new_outbox(self, self.limiter, patience=patience)
        self.numbers: dict[int, int] = {}
        self.messages: list[OutgoingMessage] = []
        self.pending: dict[int, OutgoingMessage] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.commands: list[ChannelCommand] = []
        self.command_numbers: dict[int, int] = {}
        self.ended_commands: dict[int, str] = {}
        self.running: ChannelCommand | None = None
        #: Commands that run beside what comes after them.
        self.overdue: list[ChannelCommand] = []
        self.begun: list[ChannelCommand] = []
        self.channel: Channel | None = None
        self.closed_channels: list[Channel] = []
        self.connected = False
        self.alarms: list[float] = []
        self.written = 0
        self.highest_written = 0
        #: Messages whose owner publishes them again when the broker has refused them.
        self.stubborn: set[int] = set()
        #: Lanes that no queue takes at present, and those that the broker refuses on new channels too.
        self.routeless: set[tuple[str, str]] = set()
        self.refused: set[tuple[str, str]] = set()
        self.checking = True
        #: Messages that the broker has acked.
        self.acked: set[int] = set()

    # -- owners -----------------------------------------------------------------------------

    def new_message(
        self,
        key: str = "a",
        *,
        message_id: str = "id",
        size: int = 1,
        expires_in: float | None = None,
        poison: bool = False,
        unencodable: bool = False,
        stubborn: bool = False,
        restorable: bool = False,
    ) -> OutgoingMessage:
        """Return a message that is not submitted yet."""
        number = len(self.messages) + len(self.commands) + 1
        properties = {"message_id": message_id, "poison": poison, "unencodable": unencodable}
        expires_at = None if expires_in is None else self.now + expires_in
        message = OutgoingMessage("exchange", key, properties, b"x" * size, self.done, expires_at)
        if restorable:
            message.restore = self.restore
        self.numbers[id(message)] = number
        self.messages.append(message)
        if stubborn:
            self.stubborn.add(number)
        return message

    def submit(self, message: OutgoingMessage) -> None:
        """Submit a message; it is pending from its acceptance on."""
        number = self.numbers[id(message)]
        self.pending[number] = message
        try:
            self.outbox.submit(message, self.now)
        except BaseException:
            if not message.order and number not in self.outcomes:
                del self.pending[number]
            raise

    def done(self, message: OutgoingMessage, error: Any) -> None:
        """Unused: owners are told through the ports."""

    def restore(self, message: OutgoingMessage) -> Callable[[Any], Any]:
        """Return an action that restores the route of a message."""
        lane = message.lane
        return lambda _: self.routeless.discard(lane)

    def add_command(self, *, key: str | None = None, holds: str | None = None) -> ChannelCommand | None:
        """Add a command; the messages of one routing key may have to wait for it, however long it takes."""
        number = len(self.messages) + len(self.commands) + 1
        command = ChannelCommand(lambda _: None, key=key, holds=None if holds is None else ("exchange", holds))
        self.commands.append(command)
        added = self.outbox.add(command)
        if added is command:
            self.command_numbers[id(command)] = number
        return added

    # -- ports ------------------------------------------------------------------------------

    def check(self) -> None:
        """Check the outbox, from within its ports too."""
        if self.checking:
            self.outbox.check()

    def encode(self, message: OutgoingMessage, remaining: float | None) -> OutgoingMessage:
        """Return the message as its own frames."""
        assert (remaining is None) == (message.expires_at is None)
        if message.properties["unencodable"]:
            raise BadMessageError
        return message

    def write(self, frames: OutgoingMessage, *, at_once: bool) -> None:
        """Take a message; it must be in its turn, and have the broker's own number."""
        message, channel, number = frames, self.channel, self.numbers[id(frames)]
        assert channel is not None, "nothing is written without a channel"
        assert not self.outbox.blocked, "nothing is written while the broker blocks"
        assert not message.arrived, "what has arrived is not written again"
        assert message.expires_at is None or message.expires_at > self.now, "nothing is written too late"
        assert self.running is None, "nothing is written while a command runs"
        held = {command.holds for command in self.overdue}
        assert message.lane not in held, "nothing is written that waits for a command"
        channel.published.append(message)
        tag = len(channel.published)
        assert self.outbox.in_flight.get(tag) is message, "the broker counts as the outbox does"
        in_flight = {id(each) for each in self.outbox.in_flight.values()}
        for older, other in self.pending.items():
            if older < number and other.lane == message.lane:
                assert id(other) in in_flight, "no older message of the lane waits"
        for command in self.commands:
            older = self.command_numbers.get(id(command), number)
            ran = command.state is State.SETTLED or command in self.overdue
            assert older >= number or ran, "no older command waits"
        self.written += 1
        self.highest_written = max(self.highest_written, number)
        assert at_once == (len(in_flight) == 1)
        self.check()

    def confirmed(self, message: OutgoingMessage, now: float) -> None:
        """Note the outcome."""
        assert now == self.now
        assert id(message) in self.acked, "the broker has said so"
        self.settled(message, Outcome.CONFIRMED, None)

    def settled(self, message: OutgoingMessage, outcome: Outcome, detail: Any) -> None:
        """Note the outcome; some owners try again."""
        number = self.numbers[id(message)]
        assert self.pending.pop(number, None) is message, "a message has one outcome"
        assert number not in self.outcomes
        if outcome is Outcome.REJECTED:
            assert message.properties["poison"], "only a guilty message is rejected"
        if outcome is Outcome.UNENCODABLE:
            assert message.properties["unencodable"]
        if outcome is Outcome.TOO_LARGE:
            assert message.size > detail
        self.check()
        if outcome in (Outcome.NACKED, Outcome.UNROUTABLE) and number in self.stubborn:
            self.stubborn.discard(number)
            self.submit(message)
            self.check()
            return
        self.outcomes[number] = outcome

    def command_refused(self, command: ChannelCommand, error: Any) -> None:
        """Note it."""
        assert id(command) not in self.ended_commands
        # One that restores a route may not have begun; its identity is not used again either.
        self.begun.append(command)
        self.ended_commands[id(command)] = "refused"
        if self.running is command:
            self.running = None
        if command in self.overdue:
            self.overdue.remove(command)

    def lane_refused(self, message: OutgoingMessage) -> None:
        """Nothing to note."""

    def alarm(self, at: float) -> None:
        """Note when the driver has to look again."""
        self.alarms.append(at)

    def wake(self) -> None:
        """The driver looks after every event anyway."""

    # -- the driver -------------------------------------------------------------------------

    def connect(self) -> None:
        """A connection is made."""
        if not self.connected:
            self.connected = True
            self.outbox.attached()

    def lose(self, protocol_error: Any = None) -> None:
        """The connection is gone."""
        self._close_channel()
        self.connected = False
        self.running = None
        self.overdue.clear()
        self.outbox.blocked = False
        self.outbox.lost(protocol_error)

    def turn(self) -> None:
        """Do what the outbox asks for, but leave a command running."""
        for _ in range(50):
            step = self.outbox.next_step(self.now)
            self.check()
            if step is None:
                return
            if isinstance(step, ChannelCommand):
                self._begin(step)
            else:
                if step is Step.RENEW:
                    self._close_channel()
                    self.outbox.renewed()
                assert self.connected
                self._open_channel()
            self.check()
        raise AssertionError("the outbox does not come to rest")

    def _begin(self, command: ChannelCommand) -> None:
        assert self.running is None
        assert not self.outbox.blocked
        self.running = command
        # Its identity is not used again by another one.
        self.begun.append(command)
        number = self.command_numbers.get(id(command))
        if number is None:
            # A route is restored before everything else.
            assert command.lane is not None
            return
        for older, message in self.pending.items():
            assert older > number or message.state is not State.QUEUED, "a command follows what is before it"

    def take_long(self) -> None:
        """The running command takes long."""
        command, self.running = self.running, None
        assert command is not None
        self.overdue.append(command)
        assert self.outbox.overdue(command)

    def end_command(self, *, well: bool, overdue: int | None = None) -> None:
        """The running command ends, or one that takes long."""
        if overdue is None:
            command, self.running = self.running, None
        else:
            command = self.overdue.pop(overdue % len(self.overdue))
        assert command is not None
        if well:
            command.action(None)
            waited_for = self.outbox.command_ended(command)
        else:
            waited_for = self.outbox.command_failed(command)
        if waited_for:
            assert id(command) not in self.ended_commands
            self.ended_commands[id(command)] = "well" if well else "failed"

    def _open_channel(self) -> None:
        # Its number is known only afterwards, but nothing is written in between.
        self.channel = Channel(self.outbox.opened())
        self.channel.refuses = set(self.refused)

    def _close_channel(self) -> None:
        if self.channel is not None:
            self.closed_channels.append(self.channel)
            self.channel = None

    # -- the broker -------------------------------------------------------------------------

    @property
    def unprocessed(self) -> int:
        """How many messages the broker has not looked at."""
        return 0 if self.channel is None else len(self.channel.published) - self.channel.processed

    def process(self, most: int) -> None:
        """Route the next messages, or close the channel at the first bad one."""
        channel = self.channel
        for _ in range(most):
            if channel is None or channel is not self.channel or channel.processed >= len(channel.published):
                return
            message = channel.published[channel.processed]
            channel.processed += 1
            tag = channel.processed
            if message.properties["poison"]:
                self._close_channel()
                self.outbox.closed_by(channel.epoch, "bad")
                return
            if message.lane in channel.refuses:
                channel.verdicts.append((tag, False))
                continue
            if message.lane in self.routeless:
                message_id = message.properties["message_id"]
                self.outbox.returned(channel.epoch, "312 NO_ROUTE", *message.lane, message_id)
            channel.verdicts.append((tag, True))

    def confirm(self, index: int, *, multiple: bool) -> None:
        """Say what became of a message, or of all up to it that ended in the same way."""
        channel = self.channel
        if channel is None or not channel.verdicts:
            return
        index %= len(channel.verdicts)
        tag, acked = channel.verdicts[index]
        run: list[tuple[int, bool]] = []
        if multiple:
            # One verdict for all up to the tag: only where those are the oldest, and of one mind.
            covered = sorted(channel.verdicts)
            run = [each for each in covered if each[0] <= tag]
            unprocessed = any(each <= tag for each in self._unsettled_tags(channel) - {each[0] for each in covered})
            multiple = not unprocessed and all(each[1] == acked for each in run)
            if multiple:
                channel.verdicts = [each for each in channel.verdicts if each not in run]
        told = [each[0] for each in run] if multiple else [tag]
        if not multiple:
            del channel.verdicts[index]
        if acked:
            self.acked.update(id(channel.published[each - 1]) for each in told)
        self.outbox.confirmed(channel.epoch, tag, multiple, acked, self.now)

    def _unsettled_tags(self, channel: Channel) -> set[int]:
        return set(range(channel.processed + 1, len(channel.published) + 1))

    def confirm_late(self) -> None:
        """A confirm of a former channel is seen after its end."""
        for channel in self.closed_channels:
            if channel.published:
                self.outbox.confirmed(channel.epoch, len(channel.published), True, True, self.now)

    # -- the end ----------------------------------------------------------------------------

    def settle_everything(self) -> None:
        """Let everything work again; then every message and every command has an outcome."""
        self.connect()
        self.outbox.blocked = False
        self.refused.clear()
        for _ in range(400):
            self.turn()
            if self.running is not None:
                self.end_command(well=True)
            if self.overdue:
                self.end_command(well=True, overdue=0)
            self.process(1_000)
            while self.channel is not None and self.channel.verdicts:
                self.confirm(0, multiple=False)
            self.check()
            if not self.pending and self._is_idle() and self._commands_ended():
                self.turn()
                break
            self.now += 0.07
        assert not self.pending, f"without an outcome: {[each.state for each in self.pending.values()]}"
        assert self._commands_ended(), "a command waits for good"
        assert self.limiter.count == self.limiter.size == 0
        assert self.outbox.window.limit is None, "the window is open where nothing is suspected"

    def _is_idle(self) -> bool:
        return self.channel is not None and self.running is None and not self.overdue

    def _commands_ended(self) -> bool:
        return all(id(each) in self.ended_commands for each in self.commands if id(each) in self.command_numbers)
