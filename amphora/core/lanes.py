"""Lanes in trouble: messages that the broker has nacked, and those behind them.

A lane is an exchange and a routing key. While a quorum queue has no leader, RabbitMQ nacks what is published to it at
once. Such a lane is *held*: the nacked message, and whatever would overtake it, wait until the lane is due. Then all of
them go back to the outbox, which merges them by order.

    free   refuse                held   due after 0.05 s, at most 1 s; each refusal doubles it
    held   refuse, hold          held   the message is put into its place; the due time stays
    held   due, take_all         free   everything that is held is given back
    any    taken                        the next refusal waits 0.05 s again; a held lane stays held
    any    forget                free   on another connection the next refusal waits 0.05 s again

A lane can also be *closed*, while something is under way that its messages have to wait for, such as the declaration of
their queue:

    any    close                 closed  nothing is due
    closed refuse, hold          closed  the message is put into its place
    closed open                  free    everything that is held is given back, once it was opened as often as closed

An acknowledged message says that the broker takes messages of this lane (again). It says nothing about those that are
held, which were nacked before: they stay.
"""

from __future__ import annotations

import math
from bisect import insort

from amphora.core.messages import Lane, OutgoingMessage

__all__ = ["Lanes"]

#: Seconds until the first try, which double, and at most.
_SOON, _LATE = 0.05, 1.0

#: Lanes whose delay is remembered.
_REMEMBERED = 1_000


def _order(message: OutgoingMessage) -> int:
    return message.order


class _Held:
    """The messages of a held lane, sorted by order, when they are due, and how often the lane was closed."""

    __slots__ = ("closed", "due", "messages")

    def __init__(self, due: float) -> None:
        self.due = due
        self.closed = 0
        self.messages: list[OutgoingMessage] = []


class Lanes:
    """Holds back the messages of lanes that the broker refuses for now.

    Attributes:
        held: The held and closed lanes. Empty in an outbox without trouble.
        delays: The last delay of each lane, until the broker has taken one of its messages.
    """

    __slots__ = ("delays", "held")

    def __init__(self) -> None:
        self.held: dict[Lane, _Held] = {}
        self.delays: dict[Lane, float] = {}

    def __len__(self) -> int:
        """Return how many messages are held."""
        return sum(len(lane.messages) for lane in self.held.values())

    @property
    def next_due(self) -> float:
        """When the next lane is due; infinite where none is held."""
        return min((lane.due for lane in self.held.values()), default=math.inf)

    def refuse(self, message: OutgoingMessage, now: float) -> float | None:
        """Hold a message that was nacked; return when its lane is due if it was free before."""
        key = message.lane
        lane = self.held.get(key)
        if lane is not None:
            insort(lane.messages, message, key=_order)
            return None
        delay = self.delays.pop(key, 0.0)
        delay = min(2 * delay, _LATE) if delay else _SOON
        while len(self.delays) >= _REMEMBERED:
            del self.delays[next(iter(self.delays))]
        self.delays[key] = delay
        lane = self.held[key] = _Held(now + delay)
        lane.messages.append(message)
        return lane.due

    def hold(self, message: OutgoingMessage) -> bool:
        """Hold a message that would overtake others of its lane; return whether it would."""
        lane = self.held.get((message.exchange, message.routing_key))
        if lane is None:
            return False
        insort(lane.messages, message, key=_order)
        return True

    def taken(self, message: OutgoingMessage) -> None:
        """Note that the broker takes messages of this lane (again)."""
        self.delays.pop((message.exchange, message.routing_key), None)

    def remove(self, message: OutgoingMessage) -> None:
        """Forget a held message; a lane without messages is free."""
        key = message.lane
        lane = self.held[key]
        lane.messages.remove(message)
        if not lane.messages and not lane.closed:
            del self.held[key]

    def due(self, now: float) -> list[OutgoingMessage]:
        """Free the lanes whose time has come; return their messages."""
        due = [key for key, lane in self.held.items() if lane.due <= now]
        return [message for key in due for message in self.held.pop(key).messages]

    def close(self, key: Lane) -> None:
        """Hold what there is of a lane from now on, until it is opened."""
        lane = self.held.setdefault(key, _Held(math.inf))
        lane.due = math.inf
        lane.closed += 1

    def open(self, key: Lane) -> list[OutgoingMessage]:
        """Free a closed lane, unless it was closed more often than opened; return its messages."""
        lane = self.held.get(key)
        if lane is None or not lane.closed:
            return []
        lane.closed -= 1
        return [] if lane.closed else self.held.pop(key).messages

    def take_all(self, *, closed: bool) -> list[OutgoingMessage]:
        """Free all lanes; return their messages.

        Args:
            closed: Whether closed lanes are opened too. Otherwise they stay closed, and lose their messages only.
        """
        messages = [message for lane in self.held.values() for message in lane.messages]
        self.held = {} if closed else {key: lane for key, lane in self.held.items() if lane.closed}
        for lane in self.held.values():
            lane.messages = []
        return messages

    def forget(self) -> None:
        """Forget the delays: the next connection may be to another node."""
        self.delays.clear()
