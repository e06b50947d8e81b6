"""What an outbox does when its channel or its connection is gone: all comes back, and one message may be guilty."""

from __future__ import annotations

from typing import Any

from amphora.core.messages import ChannelCommand, Lane, Outcome, OutgoingMessage, State
from amphora.core.outbox_commands import Commands
from amphora.core.outbox_outcomes import tell
from amphora.core.outbox_places import Places, by_order
from amphora.core.outbox_ports import ChannelState
from amphora.core.outbox_recovery import recover
from amphora.exceptions import AmqpRpcException

__all__ = ["Losses"]

#: Times that the broker may close a channel with 404 (no such exchange) before a single message is suspected: the
#: topology is declared again each time.
_MISSING = 3


class Losses:
    """Handles the ends of channels and connections, and that of the outbox; see `amphora.core.outbox`.

    Args:
        places: Where the messages are.
        commands: The commands.
    """

    __slots__ = ("_commands", "_places")

    def __init__(self, places: Places, commands: Commands) -> None:
        self._places = places
        self._commands = commands

    def closed(self) -> None:
        """The channel is closed, and no message is to blame."""
        self._places.guard(self.lose_channel)

    def closed_by(self, detail: Any, *, lane_wide: bool = False) -> int:
        """The broker closed the channel because of a message; return how many were in flight."""
        count = len(self._places.in_flight)
        self._places.guard(lambda: self._suspect(detail, lane_wide=lane_wide))
        return count

    def closed_by_missing_exchange(self, detail: Any) -> None:
        """The broker closed the channel because there is no such exchange."""
        self._places.missing += 1
        if self._places.missing >= _MISSING:
            self.closed_by(detail)
        else:
            self.closed()

    def closed_by_size(self, largest: int, detail: Any) -> None:
        """The broker closed the channel because a message is larger than it takes."""
        places = self._places
        too_large = [(tag, each) for tag, each in places.in_flight.items() if each.size > largest]
        if not too_large:
            self.closed_by(detail)
            return

        def settle() -> None:
            for tag, message in too_large:
                del places.in_flight[tag]
                places.telling.append((message, Outcome.TOO_LARGE, largest))
            self.lose_channel()

        places.guard(settle)

    def lost(self, protocol_error: Any) -> None:
        """The connection is gone."""
        places = self._places

        def lose() -> None:
            command = places.running
            self._commands.strike(protocol_error)
            if protocol_error is not None and command is None:
                self._suspect(protocol_error)
            else:
                self.lose_channel()
            self._commands.come_back()
            # (They are empty.)
            places.lanes.take_all(closed=True)
            places.lanes.forget()
            places.attached = False
            places.update()

        if places.torn:
            recover(places)
        places.guard(lose)

    def refuse_all(self, error: AmqpRpcException) -> None:
        """End everything: those who wait for room, messages and commands."""
        places = self._places
        try:
            if places.torn:
                recover(places)
            places.limiter.turn_away(error)
            messages = sorted(places.messages(), key=by_order)
            commands = sorted((each for each in places.all() if isinstance(each, ChannelCommand)), key=by_order)
            if places.in_flight and places.channel is not ChannelState.NONE:
                # What the broker still says of them must not be taken for what it says of others.
                places.channel = ChannelState.RENEWING
            places.in_flight.clear()
            places.lanes.take_all(closed=True)
            places.queue.clear()
            places.back.clear()
            self._commands.forget()
            places.update()
            for message in messages:
                ended = (Outcome.CONFIRMED, None) if message.arrived else (Outcome.REFUSED, error)
                places.telling.append((message, *ended))
            for command in commands:
                command.state = State.SETTLED
            for command in commands:
                places.ports.command_refused(command, error)
            tell(places)
        except BaseException:
            places.tear()
            raise

    def lose_channel(self) -> None:
        """Take back what is not confirmed, and what is held."""
        places = self._places
        places.epoch += 1
        places.channel = ChannelState.NONE
        places.update()
        lost = [*places.in_flight.values(), *places.lanes.take_all(closed=False)]
        places.in_flight.clear()
        for message in lost:
            if message.arrived:
                places.telling.append((message, Outcome.CONFIRMED, None))
            else:
                message.returned = None
                places.come_back(message)
        tell(places)

    def _suspect(self, detail: Any, *, lane_wide: bool = False) -> None:
        """One of the messages in flight is guilty; if there is only one, it is known which."""
        places = self._places
        guilty = places.window.suspect(list(places.in_flight.values()))
        if guilty is not None:
            places.hand = guilty
            places.in_flight.clear()
            places.telling.append((guilty, Outcome.REJECTED, detail))
            if lane_wide:
                self._reject_lane(guilty.lane, detail)
        self.lose_channel()

    def _reject_lane(self, lane: Lane, detail: Any) -> None:
        places = self._places
        for place in (places.queue, places.back):
            for each in list(place):
                if isinstance(each, OutgoingMessage) and each.lane == lane and not each.arrived:
                    place.remove(each)
                    places.telling.append((each, Outcome.REJECTED, detail))
