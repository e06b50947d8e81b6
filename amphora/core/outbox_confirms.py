"""What the broker says of the messages in flight: acks, nacks and returns.

The most frequent case, an ack of one message, is in `amphora.core.outbox`.
"""

from __future__ import annotations

from amphora.core.messages import ChannelCommand, Outcome, OutgoingMessage, State
from amphora.core.outbox_outcomes import tell
from amphora.core.outbox_places import Places
from amphora.core.outbox_ports import ChannelState

__all__ = ["Confirms"]

#: How many times the route of one message is restored.
_RESTORES = 10

_SENT, _RETURNED = State.SENT, State.RETURNED


class Confirms:
    """Handles confirms and returns; see `amphora.core.outbox`.

    Args:
        places: Where the messages are.
        patience: Seconds for which a message that the broker nacks is sent again.
    """

    __slots__ = ("_places", "patience")

    def __init__(self, places: Places, patience: float) -> None:
        self._places = places
        self.patience = patience

    def confirmed(self, tag: int, multiple: bool, acked: bool, now: float) -> None:
        """The broker acks or nacks a message, or all up to it."""
        places = self._places
        in_flight, lanes = places.in_flight, places.lanes
        last = places.next_tag - 1
        if multiple:
            tags = range(places.lowest, min(tag, last) + 1) if tag else range(places.lowest, last + 1)
            places.lowest = max(places.lowest, tags.stop)
        else:
            tags = range(tag, tag + 1)
        taken = 0
        for each in tags:
            message = in_flight.get(each)
            if message is None:
                continue
            places.hand = message
            del in_flight[each]
            if not acked:
                self._nacked(message, now)
            elif message.state is _RETURNED:
                self._undeliverable(message)
            else:
                if lanes.delays:
                    lanes.taken(message)
                places.telling.append((message, Outcome.CONFIRMED, now))
                taken += 1
        if taken:
            places.missing = 0
            if places.window.limit is not None:
                places.widen(taken)
        tell(places)

    def returned(self, text: str, exchange: str, routing_key: str, message_id: str | None) -> bool:
        """The broker returns a message; return whether one in flight fits."""
        places = self._places
        for tag in range(max(places.returned_to + 1, places.lowest), places.next_tag):
            message = places.in_flight.get(tag)
            if (
                message is not None
                and message.routing_key == routing_key
                and message.exchange == exchange
                and message.properties.get("message_id") == message_id
                and message.state is _SENT
            ):
                message.returned = text
                message.state = _RETURNED
                places.returned_to = tag
                return True
        return False

    def acked_after_return(self, message: OutgoingMessage) -> None:
        """A returned message is confirmed, and was taken from those in flight."""
        self._undeliverable(message)
        tell(self._places)

    def _undeliverable(self, message: OutgoingMessage) -> None:
        """Restore the route of a returned message, if that is possible, and send it again."""
        places, lane = self._places, message.lane
        if message.arrived:
            places.telling.append((message, Outcome.CONFIRMED, None))
            return
        command = places.restoring.get(lane)
        if message.restore is not None and message.restores < _RESTORES:
            if command is None and (action := message.restore(message)) is not None:
                command = ChannelCommand(action, lane=lane)
                command.state = State.QUEUED
                places.restoring[lane] = command
                places.urgent.append(command)
            if command is not None:
                message.restores += 1
                places.come_back(message)
                return
        places.telling.append((message, Outcome.UNROUTABLE, message.returned))

    def _nacked(self, message: OutgoingMessage, now: float) -> None:
        places = self._places
        if message.arrived:
            places.telling.append((message, Outcome.CONFIRMED, None))
            return
        if message.refused_since is None:
            message.refused_since = now
        if now - message.refused_since >= self.patience:
            places.telling.append((message, Outcome.NACKED, None))
            return
        message.returned = None
        if places.channel is not ChannelState.OPEN:
            # Sent before the channel was given up: it goes with the others of its lane.
            places.come_back(message)
            return
        message.state = State.HELD
        due = places.lanes.refuse(message, now)
        if due is not None:
            places.ports.lane_refused(message)
            places.set_alarm(due)
