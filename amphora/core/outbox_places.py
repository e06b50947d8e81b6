"""What an outbox has and where it is: messages and commands by place, and the channel that they are published on.

`amphora.core.outbox` says what each place is for. Only the outbox and its parts change anything here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from amphora.core.flushes import Flushes
from amphora.core.lanes import Lanes
from amphora.core.limiter import Limiter
from amphora.core.messages import ChannelCommand, Lane, Outcome, OutgoingMessage, State
from amphora.core.outbox_ports import ChannelState, Ports
from amphora.core.window import Window

__all__ = ["Places", "by_order"]

_QUEUED = State.QUEUED


def by_order(item: OutgoingMessage | ChannelCommand) -> int:
    """Return the key by which places are sorted."""
    return item.order


class Places:
    """The places of an outbox, and the state of its channel.

    Args:
        ports: What the outbox calls.
        limiter: Counts what is inside.

    Attributes:
        alarm_at: When `Outbox.next_step` is to be called at the latest.
        attached: Whether there is a connection.
        back: What has come back and is not merged into the queue yet.
        channel: State of the channel.
        epoch: Number of the channel.
        flushes: Those who wait until all is settled.
        hand: The message that is moved from one place to another right now, or was moved last.
        in_flight: What was written to the channel and is not confirmed, by delivery tag.
        lanes: What the broker refuses for now, or that has to wait for a command.
        lowest: Tag below which everything was confirmed by multiple confirms.
        missing: How many times in a row the broker has closed the channel because of a missing exchange.
        next_tag: Tag of the next message that is written.
        order: The last order that was given.
        overdue: Commands that run beside what comes after them. (Used as an ordered set, for exceptions may come
            between any two lines.)
        queue: What waits, sorted by order.
        ready: Whether a message may be sent past the queue where that is empty.
        restoring: Commands that restore routes, by the lanes that they are for.
        returned_to: Tag of the last message that was returned.
        running: The command that runs.
        telling: Messages that have an outcome, of which their owners are about to be told.
        torn: Whether an exception has left the places half changed.
        torn_hands: What was in hand at that time.
        urgent: Commands that restore routes and wait.
        window: How many messages may be in flight.
    """

    __slots__ = (
        "alarm_at",
        "attached",
        "back",
        "channel",
        "epoch",
        "flushes",
        "hand",
        "in_flight",
        "lanes",
        "limiter",
        "lowest",
        "missing",
        "next_tag",
        "order",
        "overdue",
        "ports",
        "queue",
        "ready",
        "restoring",
        "returned_to",
        "running",
        "telling",
        "torn",
        "torn_hands",
        "urgent",
        "window",
    )

    def __init__(self, ports: Ports, limiter: Limiter) -> None:
        self.ports = ports
        self.limiter = limiter
        self.lanes = Lanes()
        self.queue: deque[OutgoingMessage | ChannelCommand] = deque()
        self.back: list[OutgoingMessage | ChannelCommand] = []
        self.urgent: deque[ChannelCommand] = deque()
        self.restoring: dict[Lane, ChannelCommand] = {}
        self.running: ChannelCommand | None = None
        self.overdue: dict[ChannelCommand, None] = {}
        self.order = 0
        self.flushes = Flushes()
        self.telling: deque[tuple[OutgoingMessage, Outcome, Any]] = deque()
        self.hand: OutgoingMessage | None = None
        self.attached = False
        self.torn = False
        self.torn_hands: list[OutgoingMessage] = []
        self.ready = False
        self.next_tag = 1
        self.lowest = 1
        self.returned_to = 0
        self.alarm_at = math.inf
        self.missing = 0
        self.window = Window()
        self.in_flight: dict[int, OutgoingMessage] = {}
        self.channel = ChannelState.NONE
        self.epoch = 0

    def come_back(self, item: OutgoingMessage | ChannelCommand) -> None:
        """Take back what was elsewhere; it is merged into the queue before anything else is sent."""
        item.state = _QUEUED
        self.back.append(item)
        self.ready = False

    def merge(self) -> None:
        """Merge what has come back into the queue, by order."""
        merged = sorted([*self.back, *self.queue], key=by_order)
        self.queue.clear()
        self.queue.extend(merged)
        self.back.clear()
        self.update()

    def update(self) -> None:
        """Work out whether a message may be sent now."""
        self.ready = (
            self.channel is ChannelState.OPEN
            and self.running is None
            and not self.urgent
            and not self.back
            and not self.torn
        )

    def rest(self) -> None:
        """Where nothing is left, nothing is suspected."""
        if not self.in_flight and not self.queue and not self.back:
            self.window.idle()

    def widen(self, taken: int) -> None:
        """So many messages were confirmed while the window is limited."""
        self.window.widen(taken)
        self.rest()

    def set_alarm(self, at: float) -> None:
        """Have `Outbox.next_step` called at that time, or before."""
        if at < self.alarm_at:
            self.alarm_at = at
            self.ports.alarm(at)

    def open_lane(self, lane: Lane) -> None:
        """Let the messages of a closed lane be sent again, once it was opened as often as closed."""
        for message in self.lanes.open(lane):
            self.come_back(message)
        self.ports.wake()

    def all(self) -> Iterator[OutgoingMessage | ChannelCommand]:
        """Return everything that has no outcome."""
        yield from self.in_flight.values()
        yield from self.back
        yield from self.queue
        for lane in self.lanes.held.values():
            yield from lane.messages
        yield from self.urgent
        yield from self.overdue
        if self.running is not None:
            yield self.running

    def messages(self) -> list[OutgoingMessage]:
        """Return the messages that have no outcome, in no particular order."""
        return [each for each in self.all() if isinstance(each, OutgoingMessage)]

    def guard(self, change: Callable[[], None]) -> None:
        """Make a change, or tear the outbox."""
        try:
            change()
        except BaseException:
            self.tear()
            raise

    def tear(self) -> None:
        """An exception has left the outbox half changed: stop sending, and ignore the channel's confirms."""
        self.torn = True
        self.ready = False
        self.epoch += 1
        if self.hand is not None:
            self.torn_hands.append(self.hand)
        self.ports.wake()
