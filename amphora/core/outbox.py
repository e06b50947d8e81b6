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
from collections.abc import Callable
from typing import Any

from amphora.core.flushes import Flush
from amphora.core.limiter import Limiter
from amphora.core.messages import ChannelCommand, Lane, Outcome, OutgoingMessage, State
from amphora.core.outbox_check import check_places
from amphora.core.outbox_commands import Commands
from amphora.core.outbox_confirms import Confirms
from amphora.core.outbox_losses import Losses
from amphora.core.outbox_outcomes import settle
from amphora.core.outbox_places import Places
from amphora.core.outbox_ports import ChannelState, Ports, Step
from amphora.core.outbox_recovery import recover
from amphora.core.window import Window
from amphora.exceptions import AmqpRpcException
from amphora.interrupts import let_through

__all__ = ["Outbox"]

_NEW, _QUEUED, _SENT, _RETURNED = State.NEW, State.QUEUED, State.SENT, State.RETURNED
_HELD, _SETTLED = State.HELD, State.SETTLED

#: Seconds that unconfirmed messages have to be confirmed before their channel is given up for another.
_DRAIN = 1.0

_NEVER = math.inf


class Outbox:
    """Messages and commands on their way to the broker; see the module.

    Args:
        ports: What it calls.
        limiter: Counts what is inside.
        patience: Seconds for which a message that the broker nacks is sent again.

    Attributes:
        blocked: Whether the broker takes no messages at present; set by the driver before each call.
        in_flight: What was written to the channel and is not confirmed, by delivery tag.
        unexpected: Events that no row of the tables names, which change nothing.
        window: How many messages may be in flight.
    """

    __slots__ = (
        "_commands",
        "_confirms",
        "_limiter",
        "_losses",
        "_places",
        "_ports",
        "_renew_by",
        "blocked",
        "in_flight",
        "unexpected",
        "window",
    )

    def __init__(self, ports: Ports, limiter: Limiter, *, patience: float = 0.0) -> None:
        self._ports = ports
        self._limiter = limiter
        self._places = places = Places(ports, limiter)
        self._commands = Commands(places)
        self._confirms = Confirms(places, patience)
        self._losses = Losses(places, self._commands)
        self._renew_by = 0.0
        self.in_flight: dict[int, OutgoingMessage] = places.in_flight
        self.window: Window = places.window
        self.blocked = False
        self.unexpected = 0

    # -- what is known ----------------------------------------------------------------------

    @property
    def channel(self) -> ChannelState:
        """State of the channel."""
        return self._places.channel

    @property
    def epoch(self) -> int:
        """Number of the channel."""
        return self._places.epoch

    @property
    def patience(self) -> float:
        """The same; may be set at any time."""
        return self._confirms.patience

    @patience.setter
    def patience(self, value: float) -> None:
        self._confirms.patience = value

    # -- from above -------------------------------------------------------------------------

    def submit(self, message: OutgoingMessage, now: float) -> None:
        """Accept a message, and send it at once where nothing is before it."""
        state = message.state
        if state is not _NEW and state is not _SETTLED:
            self.unexpected += 1
            return
        places = self._places
        try:
            places.hand = message
            limiter = self._limiter
            limiter.count += 1
            limiter.size += message.size
            if message.order:
                self._accept_again(message)
                return
            message.order = places.order = places.order + 1
            limited = self.window.limit is not None
            if not places.ready or places.queue or self.blocked or limited:
                message.state = _QUEUED
                places.queue.append(message)
                if limited:
                    self._ports.wake()
            elif places.lanes.held and places.lanes.hold(message):
                message.state = _HELD
            else:
                self._send(message, now)
        except BaseException:
            places.tear()
            raise

    def _accept_again(self, message: OutgoingMessage) -> None:
        """Accept a message that had an outcome before, which its owner does not put up with: it keeps its place."""
        message.refused_since = None
        self._places.come_back(message)
        self._places.flushes.accepted_again(message)
        self._ports.wake()

    def add(self, command: ChannelCommand) -> ChannelCommand | None:
        """Accept a command.

        Returns:
            The command, or the waiting one of the same key, or None if it is dropped: it is expendable, and too many
            of these wait.
        """
        return self._commands.add(command)

    def withdraw(self, message: OutgoingMessage) -> bool:
        """Take back a message that is not on its way; return whether it was not."""
        places = self._places
        if places.torn:
            recover(places)
        if message.state is _HELD:
            places.lanes.remove(message)
        elif message.state is _QUEUED:
            place: Any = places.back if message in places.back else places.queue
            place.remove(message)
            places.update()
        else:
            return False
        settle(places, message, Outcome.WITHDRAWN)
        return True

    def flush(self, on_empty: Callable[[], None]) -> Flush:
        """Return what counts the messages without an outcome, and calls ``on_empty`` when none is left."""
        places = self._places
        if places.torn:
            recover(places)
        return places.flushes.add(places.order, self._limiter.count, on_empty)

    def end_flush(self, flush: Flush) -> None:
        """Stop waiting."""
        self._places.flushes.end(flush)

    def refuse_all(self, error: AmqpRpcException) -> None:
        """End everything: those who wait for room, messages and commands."""
        self._losses.refuse_all(error)

    def messages(self) -> list[OutgoingMessage]:
        """Return the messages that have no outcome, in no particular order."""
        if self._places.torn:
            recover(self._places)
        return self._places.messages()

    # -- the connection and the channel -----------------------------------------------------

    def attached(self) -> None:
        """There is a connection; its driver opens a channel."""
        self._places.attached = True

    def opened(self) -> int:
        """There is a channel in confirm mode, on which nothing was published yet; return its epoch."""
        places = self._places
        if places.torn:
            recover(places)
        self._losses.lose_channel()
        places.channel = ChannelState.OPEN
        places.next_tag = places.lowest = 1
        places.returned_to = 0
        places.rest()
        places.update()
        return places.epoch

    def renewed(self) -> None:
        """The channel that was to be renewed is closed: what it did not confirm is sent again."""
        self._losses.closed()

    def closed(self, epoch: int) -> None:
        """The channel is closed, and no message is to blame."""
        if epoch == self._places.epoch:
            self._losses.closed()

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
        return self._losses.closed_by(detail, lane_wide=lane_wide) if epoch == self._places.epoch else 0

    def closed_by_missing_exchange(self, epoch: int, detail: Any) -> None:
        """The broker closed the channel because there is no such exchange; the driver declares the topology again."""
        if epoch == self._places.epoch:
            self._losses.closed_by_missing_exchange(detail)

    def closed_by_size(self, epoch: int, largest: int, detail: Any) -> None:
        """The broker closed the channel because a message is larger than it takes."""
        if epoch == self._places.epoch:
            self._losses.closed_by_size(largest, detail)

    def lost(self, protocol_error: Any = None) -> None:
        """The connection is gone.

        Args:
            protocol_error: What to tell the owner of what is guilty of it; None if no message and no command is.
        """
        self._losses.lost(protocol_error)

    # -- what the broker says ---------------------------------------------------------------

    def confirmed(self, epoch: int, tag: int, multiple: bool, acked: bool, now: float) -> None:
        """The broker acks or nacks a message, or all up to it."""
        places = self._places
        if epoch != places.epoch:
            self.unexpected += 1
            return
        try:
            if multiple or not acked:
                self._confirms.confirmed(tag, multiple, acked, now)
                return
            # An ack of one message, as nearly all are.
            in_flight = self.in_flight
            message = in_flight.get(tag)
            if message is None:
                self.unexpected += 1
                return
            places.hand = message
            del in_flight[tag]
            if message.state is _RETURNED:
                self._confirms.acked_after_return(message)
                return
            if places.lanes.delays:
                places.lanes.taken(message)
            message.state = _SETTLED
            limiter = self._limiter
            limiter.count -= 1
            limiter.size -= message.size
            self._ports.confirmed(message, now)
            if limiter.line:
                limiter.admit()
            if places.flushes.waiting:
                places.flushes.settled(message)
            if self.window.limit is not None:
                places.widen(1)
            places.missing = 0
        except BaseException:
            places.tear()
            raise

    def returned(self, epoch: int, text: str, exchange: str, routing_key: str, message_id: str | None) -> None:
        """The broker returns a message, in the order of publishing and before its confirm: no queue takes it."""
        if epoch != self._places.epoch or not self._confirms.returned(text, exchange, routing_key, message_id):
            self.unexpected += 1

    # -- what the driver asks ---------------------------------------------------------------

    def next_step(self, now: float) -> Step | ChannelCommand | None:
        """Send what can be sent; return what the driver has to do next, and None for nothing.

        A command is running from then on, until `command_ended`, `command_failed` or `lost`.
        """
        places = self._places
        if places.ready and not places.queue and places.alarm_at == _NEVER and self.window.limit is None:
            # Most turns of a connection in good order.
            return None
        try:
            if places.torn:
                recover(places)
            if now >= places.alarm_at:
                self._on_alarm(now)
            channel = places.channel
            if channel is not ChannelState.OPEN:
                return self._next_channel_step(channel, now)
            if places.running is not None or self.blocked:
                return None
            if places.urgent:
                return self._commands.run(places.urgent.popleft())
            if places.back:
                places.merge()
            if self.window.limit is not None:
                places.rest()
            if places.queue:
                self._pump(now)
                if places.queue and isinstance(places.queue[0], ChannelCommand) and places.ready and not self.blocked:
                    return self._commands.run(places.queue.popleft())
        except BaseException:
            places.tear()
            raise
        return None

    def _next_channel_step(self, channel: ChannelState, now: float) -> Step | None:
        if channel is ChannelState.NONE:
            return Step.OPEN if self._places.attached else None
        if channel is ChannelState.DRAINING:
            if self.in_flight and now < self._renew_by:
                return None
            self._places.channel = ChannelState.RENEWING
        return Step.RENEW

    def _on_alarm(self, now: float) -> None:
        places = self._places
        places.alarm_at = math.inf
        due = places.lanes.due(now)
        for message in due:
            places.come_back(message)
        if due and places.channel is ChannelState.OPEN:
            # RabbitMQ 3.10: a channel that began to publish while a quorum queue had no leader goes on to nack.
            places.channel = ChannelState.DRAINING
            self._renew_by = now + _DRAIN
            places.update()
        if places.channel is ChannelState.DRAINING:
            places.set_alarm(self._renew_by)
        if places.lanes.held:
            places.set_alarm(places.lanes.next_due)

    def _pump(self, now: float) -> None:
        places = self._places
        queue = places.queue
        while queue and places.ready and not self.blocked:
            head = queue[0]
            if isinstance(head, ChannelCommand):
                return
            if self.window.limit is not None and not self.window.fits(head, len(self.in_flight)):
                return
            places.hand = head
            queue.popleft()
            if head.arrived:
                settle(places, head, Outcome.CONFIRMED)
            elif places.lanes.held and places.lanes.hold(head):
                head.state = _HELD
            else:
                self._send(head, now)
            if places.back:
                places.merge()

    def _send(self, message: OutgoingMessage, now: float) -> None:
        remaining = None
        if message.expires_at is not None:
            remaining = message.expires_at - now
            if remaining <= 0:
                settle(self._places, message, Outcome.EXPIRED)
                return
        try:
            frames = self._ports.encode(message, remaining)
        except Exception as error:  # noqa: BLE001  (which errors encoders raise is not documented)
            let_through(error)
            settle(self._places, message, Outcome.UNENCODABLE, error)
            return
        in_flight, places = self.in_flight, self._places
        message.state = _SENT
        message.sent_at = now
        in_flight[places.next_tag] = message
        places.next_tag += 1
        self._ports.write(frames, at_once=len(in_flight) == 1)

    # -- commands ---------------------------------------------------------------------------

    def overdue(self, command: ChannelCommand) -> bool:
        """The command takes long: what comes after it no longer waits for it; return whether it was waited for."""
        return self._commands.overdue(command)

    def close_lane(self, lane: Lane) -> None:
        """Hold the messages of a lane until `open_lane` was called as often, or the connection is lost."""
        self._places.lanes.close(lane)

    def open_lane(self, lane: Lane) -> None:
        """Let the messages of a closed lane be sent again."""
        self._places.open_lane(lane)

    def command_ended(self, command: ChannelCommand) -> bool:
        """The command is done; return whether its owner waits for it, and was not refused with all others meanwhile."""
        return self._commands.ended(command)

    def command_failed(self, command: ChannelCommand) -> bool:
        """The command was refused or cannot be carried out; see `command_ended`."""
        return self._commands.failed(command)

    # -- for tests --------------------------------------------------------------------------

    def check(self) -> None:
        """Assert the invariants."""
        check_places(self._places)
