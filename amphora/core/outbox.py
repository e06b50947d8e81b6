"""The outbox: messages from their acceptance to their one outcome, over any number of channels.

Theory
------
Every message and every command has an *order*, a number that it gets when it is accepted and keeps for life. One queue,
sorted by order, has what waits; ``in_flight`` has what was written to the present channel, by delivery tag; the lanes
(`amphora.core.lanes`) have what the broker refuses for now. Whatever comes back, because of a nack, a return, a closed
channel or a lost connection, goes to ``back`` and is merged into the queue by order before anything else is sent. So
the messages of one exchange and routing key are written in order, whatever happens. (What was in flight together may be
confirmed in any order.)

A message is encoded first and counted then: the number of tags equals the number of ``basic.publish`` methods that were
written to the channel. An exception between the two (a signal's handler may raise anywhere) *tears* the outbox: the
channel is not used any more, its confirms are ignored, and `next_step` asks for another one.

Each channel has an epoch. Events of a former epoch change nothing.

States of a message (`amphora.core.messages.State`)
---------------------------------------------------
    NEW, SETTLED  submit                              SENT if nothing is before it, else QUEUED or HELD
    QUEUED        next_step: its reply has arrived    SETTLED CONFIRMED
    QUEUED        next_step: its lane is held         HELD
    QUEUED        next_step: too late                 SETTLED EXPIRED
    QUEUED        next_step: encoding it raises       SETTLED UNENCODABLE; no tag is used
    QUEUED        next_step: otherwise                SENT
    SENT          returned                            RETURNED
    SENT          confirmed: ack                      SETTLED CONFIRMED
    RETURNED      confirmed: ack, can be restored     QUEUED; the command that restores its route runs first
    RETURNED      confirmed: ack, otherwise           SETTLED UNROUTABLE
    SENT          confirmed: nack, patience is left   HELD, or QUEUED where the channel is about to be renewed
    SENT          confirmed: nack, otherwise          SETTLED NACKED
    SENT          closed, lost, renewed, torn         QUEUED; SETTLED CONFIRMED where its reply has arrived
    SENT          closed: it is larger than allowed   SETTLED TOO_LARGE
    SENT          closed, lost: it is guilty          SETTLED REJECTED
    HELD          its lane is due; any loss           QUEUED
    QUEUED, HELD  withdraw                            SETTLED WITHDRAWN
    any of these  refuse_all                          SETTLED REFUSED; SETTLED CONFIRMED where its reply has arrived

States of the channel (`ChannelState`)
--------------------------------------
    NONE      opened                                  OPEN
    OPEN      a lane is due                           DRAINING: nothing is sent until all is confirmed, or 1 s is over
    DRAINING  next_step: drained                      RENEWING: the driver closes the channel and opens another
    OPEN, DRAINING  torn, refuse_all                  RENEWING
    any       closed, lost, renewed                   NONE

The window
----------
A channel that the broker closes because of one message (406, 403), and a connection that it ends with a protocol error,
say that one of the messages in flight is guilty, but not which. All of them are sent again, at most half as many at a
time; each further close halves that window, each window that is confirmed doubles it, and the message that is alone in
flight when the broker closes is guilty: it alone is REJECTED. When no suspect is left the window is unlimited again.

Commands
--------
A command runs when it is first in the queue, and nothing is sent while it runs. One that takes long (`overdue`) goes on
beside what comes after it: only the messages of the lane that it ``holds`` wait for it. If the connection breaks
meanwhile, it goes back to its place and runs again, but not more than twice where the broker ends the connection with a
protocol error. Commands that restore a route (`OutgoingMessage.restore`) run before everything else. No command runs
while the broker blocks publishers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from amphora.core.flushes import Flush, Flushes
from amphora.core.lanes import Lanes
from amphora.core.limiter import Limiter
from amphora.core.messages import ChannelCommand, Lane, Outcome, OutgoingMessage, State
from amphora.core.outbox_ports import ChannelState, Ports, Step
from amphora.core.window import Window
from amphora.exceptions import AmqpRpcException
from amphora.interrupts import let_through

__all__ = ["Outbox"]

_NEW, _QUEUED, _SENT, _RETURNED = State.NEW, State.QUEUED, State.SENT, State.RETURNED
_HELD, _RUNNING, _SETTLED = State.HELD, State.RUNNING, State.SETTLED

#: Seconds that unconfirmed messages have to be confirmed before their channel is given up for another.
_DRAIN = 1.0

#: How many times the route of one message is restored.
_RESTORES = 10

#: Times that the broker may close a channel with 404 (no such exchange) before a single message is suspected: the
#: topology is declared again each time.
_MISSING = 3

#: Commands that may be dropped, and that wait.
_EXPENDABLE = 1_000

_NEVER = math.inf

#: How many connections in a row a command may cost.
_STRIKES = 2


class Outbox:
    """Messages and commands on their way to the broker; see the module.

    Args:
        ports: What it calls.
        limiter: Counts what is inside.
        patience: Seconds for which a message that the broker nacks is sent again.

    Attributes:
        blocked: Whether the broker takes no messages at present; set by the driver before each call.
        channel: State of the channel.
        epoch: Number of the channel.
        in_flight: What was written to the channel and is not confirmed, by delivery tag.
        patience: The same; may be set at any time.
        unexpected: Events that no row of the tables names, which change nothing.
        window: How many messages may be in flight.
    """

    __slots__ = (
        "_alarm_at",
        "_attached",
        "_back",
        "_expendable",
        "_flushes",
        "_hand",
        "_keyed",
        "_lanes",
        "_limiter",
        "_lowest",
        "_missing",
        "_next_tag",
        "_order",
        "_overdue",
        "_ports",
        "_queue",
        "_ready",
        "_renew_by",
        "_restoring",
        "_returned_to",
        "_running",
        "_telling",
        "_torn",
        "_torn_hands",
        "_urgent",
        "blocked",
        "channel",
        "epoch",
        "in_flight",
        "patience",
        "unexpected",
        "window",
    )

    def __init__(self, ports: Ports, limiter: Limiter, *, patience: float = 0.0) -> None:
        self._ports = ports
        self._limiter = limiter
        self.patience = patience
        self._lanes = Lanes()
        self._queue: deque[OutgoingMessage | ChannelCommand] = deque()
        # What has come back and is not merged into the queue yet.
        self._back: list[OutgoingMessage | ChannelCommand] = []
        # Commands that restore routes, and the lanes that they are for.
        self._urgent: deque[ChannelCommand] = deque()
        self._restoring: dict[Lane, ChannelCommand] = {}
        self._running: ChannelCommand | None = None
        # Commands that run beside what comes after them.
        self._overdue: dict[ChannelCommand, None] = {}
        self._keyed: dict[Any, ChannelCommand] = {}
        self._expendable = 0
        self._order = 0
        self._flushes = Flushes()
        # Messages that have an outcome, of which their owners are about to be told.
        self._telling: deque[tuple[OutgoingMessage, Outcome, Any]] = deque()
        # The message that is moved from one place to another right now, or was moved last.
        self._hand: OutgoingMessage | None = None
        self._attached = False
        self._torn = False
        self._torn_hands: list[OutgoingMessage] = []
        # Whether a message may be sent past the queue where that is empty.
        self._ready = False
        self._next_tag = 1
        self._lowest = 1
        self._returned_to = 0
        self._renew_by = 0.0
        self._alarm_at = math.inf
        self._missing = 0
        self.window = Window()
        self.in_flight: dict[int, OutgoingMessage] = {}
        self.channel = ChannelState.NONE
        self.epoch = 0
        self.blocked = False
        self.unexpected = 0

    # -- from above -------------------------------------------------------------------------

    def submit(self, message: OutgoingMessage, now: float) -> None:
        """Accept a message, and send it at once where nothing is before it."""
        state = message.state
        if state is not _NEW and state is not _SETTLED:
            self.unexpected += 1
            return
        try:
            self._hand = message
            limiter = self._limiter
            limiter.count += 1
            limiter.size += message.size
            if message.order:
                self._accept_again(message)
                return
            message.order = self._order = self._order + 1
            if not self._ready or self._queue or self.blocked or self.window.limit is not None:
                message.state = _QUEUED
                self._queue.append(message)
                if self.window.limit is not None:
                    self._ports.wake()
            elif self._lanes.held and self._lanes.hold(message):
                message.state = _HELD
            else:
                self._send(message, now)
        except BaseException:
            self._tear()
            raise

    def _accept_again(self, message: OutgoingMessage) -> None:
        """Accept a message that had an outcome before, which its owner does not put up with: it keeps its place."""
        message.refused_since = None
        self._come_back(message)
        self._flushes.accepted_again(message)
        self._ports.wake()

    def add(self, command: ChannelCommand) -> ChannelCommand | None:
        """Accept a command.

        Returns:
            The command, or the waiting one of the same key, or None if it is dropped: it is expendable, and too many
            of these wait.
        """
        if command.key is not None:
            waiting = self._keyed.get(command.key)
            if waiting is not None:
                return waiting
            self._keyed[command.key] = command
        if command.expendable:
            if self._expendable >= _EXPENDABLE:
                self._keyed.pop(command.key, None)
                return None
            self._expendable += 1
        command.order = self._order = self._order + 1
        command.state = _QUEUED
        self._queue.append(command)
        self._ports.wake()
        return command

    def withdraw(self, message: OutgoingMessage) -> bool:
        """Take back a message that is not on its way; return whether it was not."""
        if self._torn:
            self._recover()
        if message.state is _HELD:
            self._lanes.remove(message)
        elif message.state is _QUEUED:
            place: Any = self._back if message in self._back else self._queue
            place.remove(message)
            self._update()
        else:
            return False
        self._settle(message, Outcome.WITHDRAWN)
        return True

    def flush(self, on_empty: Callable[[], None]) -> Flush:
        """Return what counts the messages without an outcome, and calls ``on_empty`` when none is left."""
        if self._torn:
            self._recover()
        return self._flushes.add(self._order, self._limiter.count, on_empty)

    def end_flush(self, flush: Flush) -> None:
        """Stop waiting."""
        self._flushes.end(flush)

    def refuse_all(self, error: AmqpRpcException) -> None:
        """End everything: those who wait for room, messages and commands."""
        try:
            if self._torn:
                self._recover()
            self._limiter.turn_away(error)
            messages = sorted((each for each in self._all() if isinstance(each, OutgoingMessage)), key=_order)
            commands = sorted((each for each in self._all() if isinstance(each, ChannelCommand)), key=_order)
            if self.in_flight and self.channel is not ChannelState.NONE:
                # What the broker still says of them must not be taken for what it says of others.
                self.channel = ChannelState.RENEWING
            self.in_flight.clear()
            self._lanes.take_all(closed=True)
            self._overdue.clear()
            self._queue.clear()
            self._back.clear()
            self._urgent.clear()
            self._restoring.clear()
            self._keyed.clear()
            self._running = None
            self._expendable = 0
            self._update()
            for message in messages:
                ended = (Outcome.CONFIRMED, None) if message.arrived else (Outcome.REFUSED, error)
                self._telling.append((message, *ended))
            for command in commands:
                command.state = _SETTLED
            for command in commands:
                self._ports.command_refused(command, error)
            self._tell()
        except BaseException:
            self._tear()
            raise

    # -- the connection and the channel -----------------------------------------------------

    def attached(self) -> None:
        """There is a connection; its driver opens a channel."""
        self._attached = True

    def opened(self) -> int:
        """There is a channel in confirm mode, on which nothing was published yet; return its epoch."""
        if self._torn:
            self._recover()
        self._lose_channel()
        self.channel = ChannelState.OPEN
        self._next_tag = self._lowest = 1
        self._returned_to = 0
        self._rest()
        self._update()
        return self.epoch

    def renewed(self) -> None:
        """The channel that was to be renewed is closed: what it did not confirm is sent again."""
        self.closed(self.epoch)

    def closed(self, epoch: int) -> None:
        """The channel is closed, and no message is to blame."""
        if epoch == self.epoch:
            self._guard(self._lose_channel)

    def closed_by(self, epoch: int, detail: Any, *, lane_wide: bool = False) -> int:
        """The broker closed the channel because of one of the messages in flight.

        Args:
            epoch: That of the channel.
            detail: What to tell the owner of the guilty message.
            lane_wide: Whether what is wrong with a message is wrong with all others of its lane, which are rejected
                with it: a permission is missing.

        Returns:
            How many messages were in flight.
        """
        if epoch != self.epoch:
            return 0
        count = len(self.in_flight)
        self._guard(lambda: self._suspect(detail, lane_wide=lane_wide))
        return count

    def closed_by_missing_exchange(self, epoch: int, detail: Any) -> None:
        """The broker closed the channel because there is no such exchange; the driver declares the topology again."""
        if epoch != self.epoch:
            return
        self._missing += 1
        if self._missing >= _MISSING:
            self.closed_by(epoch, detail)
        else:
            self._guard(self._lose_channel)

    def closed_by_size(self, epoch: int, largest: int, detail: Any) -> None:
        """The broker closed the channel because a message is larger than it takes."""
        if epoch != self.epoch:
            return
        too_large = [(tag, each) for tag, each in self.in_flight.items() if each.size > largest]
        if not too_large:
            self.closed_by(epoch, detail)
            return

        def settle() -> None:
            for tag, message in too_large:
                del self.in_flight[tag]
                self._telling.append((message, Outcome.TOO_LARGE, largest))
            self._lose_channel()

        self._guard(settle)

    def lost(self, protocol_error: Any = None) -> None:
        """The connection is gone.

        Args:
            protocol_error: What to tell the owner of what is guilty of it; None if no message and no command is.
        """

        def lose() -> None:
            command = self._running
            if command is not None:
                command.strikes += protocol_error is not None
                if command.strikes >= _STRIKES:
                    self._running = None
                    self._end_command(command)
                    self._ports.command_refused(command, protocol_error)
            if protocol_error is not None and command is None:
                self._suspect(protocol_error)
            else:
                self._lose_channel()
            # The topology is declared on each new connection; what is missing then is returned again.
            self._urgent.clear()
            self._restoring.clear()
            unfinished = [*self._overdue, *([] if self._running is None else [self._running])]
            for each in unfinished:
                if each.lane is None:
                    self._come_back(each)
                    # `_run` counts it out again.
                    self._expendable += each.expendable
            self._running = None
            self._overdue.clear()
            # (They are empty.)
            self._lanes.take_all(closed=True)
            self._lanes.forget()
            self._attached = False
            self._update()

        if self._torn:
            self._recover()
        self._guard(lose)

    def _guard(self, change: Callable[[], None]) -> None:
        try:
            change()
        except BaseException:
            self._tear()
            raise

    def _lose_channel(self) -> None:
        """Take back what is not confirmed, and what is held."""
        self.epoch += 1
        self.channel = ChannelState.NONE
        self._update()
        lost = [*self.in_flight.values(), *self._lanes.take_all(closed=False)]
        self.in_flight.clear()
        for message in lost:
            if message.arrived:
                self._telling.append((message, Outcome.CONFIRMED, None))
            else:
                message.returned = None
                self._come_back(message)
        self._tell()

    def _suspect(self, detail: Any, *, lane_wide: bool = False) -> None:
        """One of the messages in flight is guilty; if there is only one, it is known which."""
        guilty = self.window.suspect(list(self.in_flight.values()))
        if guilty is not None:
            self._hand = guilty
            self.in_flight.clear()
            self._telling.append((guilty, Outcome.REJECTED, detail))
            if lane_wide:
                self._reject_lane(guilty.lane, detail)
        self._lose_channel()

    def _reject_lane(self, lane: Lane, detail: Any) -> None:
        for place in (self._queue, self._back):
            for each in list(place):
                if isinstance(each, OutgoingMessage) and each.lane == lane and not each.arrived:
                    place.remove(each)
                    self._telling.append((each, Outcome.REJECTED, detail))

    # -- what the broker says ---------------------------------------------------------------

    def confirmed(self, epoch: int, tag: int, multiple: bool, acked: bool, now: float) -> None:
        """The broker acks or nacks a message, or all up to it."""
        if epoch != self.epoch:
            self.unexpected += 1
            return
        try:
            if multiple or not acked:
                self._confirm_many(tag, multiple, acked, now)
                return
            in_flight = self.in_flight
            message = in_flight.get(tag)
            if message is None:
                self.unexpected += 1
                return
            self._hand = message
            del in_flight[tag]
            if message.state is _RETURNED:
                self._returned(message)
                self._tell()
                return
            if self._lanes.delays:
                self._lanes.taken(message)
            message.state = _SETTLED
            limiter = self._limiter
            limiter.count -= 1
            limiter.size -= message.size
            self._ports.confirmed(message, now)
            if limiter.line:
                limiter.admit()
            if self._flushes.waiting:
                self._flushes.settled(message)
            if self.window.limit is not None:
                self._widen(1)
            self._missing = 0
        except BaseException:
            self._tear()
            raise

    def _confirm_many(self, tag: int, multiple: bool, acked: bool, now: float) -> None:
        last = self._next_tag - 1
        if multiple:
            tags = range(self._lowest, min(tag, last) + 1) if tag else range(self._lowest, last + 1)
            self._lowest = max(self._lowest, tags.stop)
        else:
            tags = range(tag, tag + 1)
        taken = 0
        for each in tags:
            message = self.in_flight.get(each)
            if message is None:
                continue
            self._hand = message
            del self.in_flight[each]
            if not acked:
                self._nacked(message, now)
            elif message.state is _RETURNED:
                self._returned(message)
            else:
                if self._lanes.delays:
                    self._lanes.taken(message)
                self._telling.append((message, Outcome.CONFIRMED, now))
                taken += 1
        if taken:
            self._missing = 0
            if self.window.limit is not None:
                self._widen(taken)
        self._tell()

    def returned(self, epoch: int, text: str, exchange: str, routing_key: str, message_id: str | None) -> None:
        """The broker returns a message, in the order of publishing and before its confirm: no queue takes it."""
        if epoch != self.epoch:
            self.unexpected += 1
            return
        in_flight = self.in_flight
        for tag in range(max(self._returned_to + 1, self._lowest), self._next_tag):
            message = in_flight.get(tag)
            if (
                message is not None
                and message.routing_key == routing_key
                and message.exchange == exchange
                and message.properties.get("message_id") == message_id
                and message.state is _SENT
            ):
                message.returned = text
                message.state = _RETURNED
                self._returned_to = tag
                return
        self.unexpected += 1

    def _returned(self, message: OutgoingMessage) -> None:
        """A returned message is confirmed: restore its route, if that is possible, and send it again."""
        lane = message.lane
        if message.arrived:
            self._telling.append((message, Outcome.CONFIRMED, None))
            return
        command = self._restoring.get(lane)
        if message.restore is not None and message.restores < _RESTORES:
            if command is None and (action := message.restore(message)) is not None:
                command = ChannelCommand(action, lane=lane)
                command.state = _QUEUED
                self._restoring[lane] = command
                self._urgent.append(command)
            if command is not None:
                message.restores += 1
                self._come_back(message)
                return
        self._telling.append((message, Outcome.UNROUTABLE, message.returned))

    def _nacked(self, message: OutgoingMessage, now: float) -> None:
        if message.arrived:
            self._telling.append((message, Outcome.CONFIRMED, None))
            return
        if message.refused_since is None:
            message.refused_since = now
        if now - message.refused_since >= self.patience:
            self._telling.append((message, Outcome.NACKED, None))
            return
        message.returned = None
        if self.channel is not ChannelState.OPEN:
            # Sent before the channel was given up: it goes with the others of its lane.
            self._come_back(message)
            return
        message.state = _HELD
        due = self._lanes.refuse(message, now)
        if due is not None:
            self._ports.lane_refused(message)
            self._set_alarm(due)

    # -- what the driver asks ---------------------------------------------------------------

    def next_step(self, now: float) -> Step | ChannelCommand | None:
        """Send what can be sent; return what the driver has to do next, and None for nothing.

        A command is running from then on, until `command_ended`, `command_failed` or `lost`.
        """
        if self._ready and not self._queue and self._alarm_at == _NEVER and self.window.limit is None:
            # Most turns of a connection in good order.
            return None
        try:
            if self._torn:
                self._recover()
            if now >= self._alarm_at:
                self._on_alarm(now)
            channel = self.channel
            if channel is not ChannelState.OPEN:
                return self._next_channel_step(channel, now)
            if self._running is not None or self.blocked:
                return None
            if self._urgent:
                return self._run(self._urgent.popleft())
            if self._back:
                self._merge()
            if self.window.limit is not None:
                self._rest()
            if self._queue:
                self._pump(now)
                if self._queue and isinstance(self._queue[0], ChannelCommand) and self._ready and not self.blocked:
                    return self._run(self._queue.popleft())
        except BaseException:
            self._tear()
            raise
        return None

    def _next_channel_step(self, channel: ChannelState, now: float) -> Step | None:
        if channel is ChannelState.NONE:
            return Step.OPEN if self._attached else None
        if channel is ChannelState.DRAINING:
            if self.in_flight and now < self._renew_by:
                return None
            self.channel = ChannelState.RENEWING
        return Step.RENEW

    def _on_alarm(self, now: float) -> None:
        self._alarm_at = math.inf
        due = self._lanes.due(now)
        for message in due:
            self._come_back(message)
        if due and self.channel is ChannelState.OPEN:
            # RabbitMQ 3.10: a channel that began to publish while a quorum queue had no leader goes on to nack.
            self.channel = ChannelState.DRAINING
            self._renew_by = now + _DRAIN
            self._update()
        if self.channel is ChannelState.DRAINING:
            self._set_alarm(self._renew_by)
        if self._lanes.held:
            self._set_alarm(self._lanes.next_due)

    def _set_alarm(self, at: float) -> None:
        if at < self._alarm_at:
            self._alarm_at = at
            self._ports.alarm(at)

    def _pump(self, now: float) -> None:
        queue = self._queue
        while queue and self._ready and not self.blocked:
            head = queue[0]
            if isinstance(head, ChannelCommand):
                return
            if self.window.limit is not None and not self.window.fits(head, len(self.in_flight)):
                return
            self._hand = head
            queue.popleft()
            if head.arrived:
                self._settle(head, Outcome.CONFIRMED)
            elif self._lanes.held and self._lanes.hold(head):
                head.state = _HELD
            else:
                self._send(head, now)
            if self._back:
                self._merge()

    def _widen(self, taken: int) -> None:
        self.window.widen(taken)
        self._rest()

    def _rest(self) -> None:
        """Where nothing is left, nothing is suspected."""
        if not self.in_flight and not self._queue and not self._back:
            self.window.idle()

    def _send(self, message: OutgoingMessage, now: float) -> None:
        remaining = None
        if message.expires_at is not None:
            remaining = message.expires_at - now
            if remaining <= 0:
                self._settle(message, Outcome.EXPIRED)
                return
        try:
            frames = self._ports.encode(message, remaining)
        except Exception as error:  # noqa: BLE001  (which errors encoders raise is not documented)
            let_through(error)
            self._settle(message, Outcome.UNENCODABLE, error)
            return
        in_flight = self.in_flight
        message.state = _SENT
        message.sent_at = now
        in_flight[self._next_tag] = message
        self._next_tag += 1
        self._ports.write(frames, at_once=len(in_flight) == 1)

    # -- commands ---------------------------------------------------------------------------

    def _run(self, command: Any) -> ChannelCommand:
        running: ChannelCommand = command
        self._running = running
        running.state = _RUNNING
        self._forget_waiting(running)
        self._update()
        return running

    def _forget_waiting(self, command: ChannelCommand) -> None:
        if command.key is not None and self._keyed.get(command.key) is command:
            del self._keyed[command.key]
        if command.expendable:
            self._expendable -= 1

    def overdue(self, command: ChannelCommand) -> bool:
        """The command takes long: what comes after it no longer waits for it; return whether it was waited for."""
        if self._running is not command:
            return False
        # (An exception may come between any two of these.)
        self._overdue[command] = None
        self._running = None
        if command.holds is not None:
            self._lanes.close(command.holds)
        self._update()
        self._ports.wake()
        return True

    def close_lane(self, lane: Lane) -> None:
        """Hold the messages of a lane until `open_lane` was called as often, or the connection is lost."""
        self._lanes.close(lane)

    def open_lane(self, lane: Lane) -> None:
        """Let the messages of a closed lane be sent again."""
        for message in self._lanes.open(lane):
            self._come_back(message)
        self._ports.wake()

    def _take_out(self, command: ChannelCommand) -> bool:
        """Take a command that has ended from where it is; return whether it was under way."""
        was_running, was_overdue = self._running is command, command in self._overdue
        if was_running:
            self._running = None
        if was_overdue:
            del self._overdue[command]
            if command.holds is not None:
                self.open_lane(command.holds)
        return was_running or was_overdue

    def command_ended(self, command: ChannelCommand) -> bool:
        """The command is done; return whether its owner waits for it, and was not refused with all others meanwhile."""
        if not self._take_out(command):
            return False
        self._end_command(command)
        return True

    def command_failed(self, command: ChannelCommand) -> bool:
        """The command was refused or cannot be carried out; see `command_ended`."""
        if not self._take_out(command):
            return False
        lane = command.lane
        if lane is not None:
            # Their route cannot be restored.
            for place in (self._queue, self._back):
                for each in list(place):
                    if isinstance(each, OutgoingMessage) and each.returned is not None and each.lane == lane:
                        place.remove(each)
                        self._telling.append((each, Outcome.UNROUTABLE, each.returned))
        self._end_command(command)
        self._guard(self._tell)
        return True

    def _end_command(self, command: ChannelCommand) -> None:
        command.state = _SETTLED
        if command.lane is not None:
            self._restoring.pop(command.lane, None)
        self._update()

    # -- outcomes ---------------------------------------------------------------------------

    def _settle(self, message: OutgoingMessage, outcome: Outcome, detail: Any = None) -> None:
        self._telling.append((message, outcome, detail))
        self._tell()

    def _tell(self) -> None:
        """Settle the messages that have an outcome; whatever their owners do then meets a consistent outbox."""
        telling, limiter = self._telling, self._limiter
        for message, _, _ in telling:
            if message.state is not _SETTLED:
                message.state = _SETTLED
                limiter.give_back(message.size)
        while telling:
            message, outcome, detail = telling[0]
            del telling[0]
            if outcome is Outcome.CONFIRMED and detail is not None:
                self._ports.confirmed(message, detail)
            else:
                self._ports.settled(message, outcome, detail)
            if self._flushes.waiting:
                self._flushes.settled(message)
        if limiter.line:
            limiter.admit()

    # -- places -----------------------------------------------------------------------------

    def _come_back(self, item: OutgoingMessage | ChannelCommand) -> None:
        item.state = _QUEUED
        self._back.append(item)
        self._ready = False

    def _merge(self) -> None:
        """Merge what has come back into the queue, by order."""
        merged = sorted([*self._back, *self._queue], key=_order)
        self._queue.clear()
        self._queue.extend(merged)
        self._back.clear()
        self._update()

    def _update(self) -> None:
        """Work out whether a message may be sent now."""
        self._ready = (
            self.channel is ChannelState.OPEN
            and self._running is None
            and not self._urgent
            and not self._back
            and not self._torn
        )

    def _all(self) -> Iterator[OutgoingMessage | ChannelCommand]:
        """Return everything that has no outcome."""
        yield from self.in_flight.values()
        yield from self._back
        yield from self._queue
        for lane in self._lanes.held.values():
            yield from lane.messages
        yield from self._urgent
        yield from self._overdue
        if self._running is not None:
            yield self._running

    def messages(self) -> list[OutgoingMessage]:
        """Return the messages that have no outcome, in no particular order."""
        if self._torn:
            self._recover()
        return [each for each in self._all() if isinstance(each, OutgoingMessage)]

    # -- torn -------------------------------------------------------------------------------

    def _tear(self) -> None:
        """An exception has left the outbox half changed: stop sending, and ignore the channel's confirms."""
        self._torn = True
        self._ready = False
        self.epoch += 1
        if self._hand is not None:
            self._torn_hands.append(self._hand)
        self._ports.wake()

    def _recover(self) -> None:
        """Put everything in order again from the messages themselves; another channel is needed."""
        telling = [message for message, _, _ in self._telling]
        aside = {id(item) for item in (*telling, *self._urgent, *self._overdue, self._running)}
        items = {
            item.order: item
            for item in [*self._torn_hands, *self._all()]
            if item.order and item.state is not _SETTLED and id(item) not in aside
        }
        waiting = [items[order] for order in sorted(items)]
        messages = [item for item in waiting if isinstance(item, OutgoingMessage)]
        for item in waiting:
            item.state = _QUEUED
        for message in telling:
            # Not told yet: `_tell` counts them out.
            message.state = _QUEUED
        self.in_flight.clear()
        self._lanes.take_all(closed=False)
        self._back.clear()
        self._torn_hands.clear()
        self._queue.clear()
        self._queue.extend(waiting)
        self._limiter.recount([message.size for message in (*messages, *telling)])
        self._flushes.recount((*messages, *telling))
        if self.channel is not ChannelState.NONE:
            self.channel = ChannelState.RENEWING
        self._torn = False
        self._update()
        self._tell()

    # -- for tests --------------------------------------------------------------------------

    def check(self) -> None:
        """Assert the invariants."""
        if self._torn:
            return
        items = list(self._all())
        assert len({id(item) for item in items}) == len(items), "everything is in one place"
        messages = [item for item in items if isinstance(item, OutgoingMessage)]
        assert all(message.state is not _SETTLED for message in messages)
        told = [message for message, _, _ in self._telling if message.state is not _SETTLED]
        assert self._limiter.count == len(messages) + len(told), "the limiter counts what is inside"
        assert self._limiter.size == sum(message.size for message in (*messages, *told))
        places: list[list[Any]] = [list(self._queue), *(lane.messages for lane in self._lanes.held.values())]
        for place in places:
            orders = [item.order for item in place]
            assert orders == sorted(orders), "places are sorted by order"
        assert all(message.state in (_SENT, _RETURNED) for message in self.in_flight.values())
        assert all(lane.messages or lane.closed for lane in self._lanes.held.values()), "a held lane has messages"
        assert not self._lanes.held or self._alarm_at <= self._lanes.next_due, "a held lane has its alarm"
        assert all(flush.left > 0 for flush in self._flushes.waiting)
        assert self.channel is not ChannelState.NONE or not self.in_flight


def _order(item: OutgoingMessage | ChannelCommand) -> int:
    return item.order
