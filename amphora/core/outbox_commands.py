"""The commands of an outbox: those that wait in the queue, the one that runs, and those that take long."""

from __future__ import annotations

from typing import Any

from amphora.core.messages import ChannelCommand, Outcome, OutgoingMessage, State
from amphora.core.outbox_outcomes import tell
from amphora.core.outbox_places import Places

__all__ = ["Commands"]

#: Commands that may be dropped, and that wait.
_EXPENDABLE = 1_000

#: How many connections in a row a command may cost.
_STRIKES = 2


class Commands:
    """Runs one command at a time; see `amphora.core.outbox`.

    Args:
        places: Where the commands are.
    """

    __slots__ = ("_expendable", "_keyed", "_places")

    def __init__(self, places: Places) -> None:
        self._places = places
        # Those that wait, by key.
        self._keyed: dict[Any, ChannelCommand] = {}
        self._expendable = 0

    def add(self, command: ChannelCommand) -> ChannelCommand | None:
        """Accept a command; see `Outbox.add`."""
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
        places = self._places
        command.order = places.order = places.order + 1
        command.state = State.QUEUED
        places.queue.append(command)
        places.ports.wake()
        return command

    def run(self, command: Any) -> ChannelCommand:
        """Begin a command that was taken from its place."""
        running: ChannelCommand = command
        self._places.running = running
        running.state = State.RUNNING
        if running.key is not None and self._keyed.get(running.key) is running:
            del self._keyed[running.key]
        if running.expendable:
            self._expendable -= 1
        self._places.update()
        return running

    def overdue(self, command: ChannelCommand) -> bool:
        """The command takes long: what comes after it no longer waits for it; return whether it was waited for."""
        places = self._places
        if places.running is not command:
            return False
        # (An exception may come between any two of these.)
        places.overdue[command] = None
        places.running = None
        if command.holds is not None:
            places.lanes.close(command.holds)
        places.update()
        places.ports.wake()
        return True

    def ended(self, command: ChannelCommand) -> bool:
        """The command is done; see `Outbox.command_ended`."""
        if not self._take_out(command):
            return False
        self._end(command)
        return True

    def failed(self, command: ChannelCommand) -> bool:
        """The command was refused or cannot be carried out; see `Outbox.command_ended`."""
        if not self._take_out(command):
            return False
        places, lane = self._places, command.lane
        if lane is not None:
            # Their route cannot be restored.
            for place in (places.queue, places.back):
                for each in list(place):
                    if isinstance(each, OutgoingMessage) and each.returned is not None and each.lane == lane:
                        place.remove(each)
                        places.telling.append((each, Outcome.UNROUTABLE, each.returned))
        self._end(command)
        places.guard(lambda: tell(places))
        return True

    def strike(self, error: Any) -> None:
        """The connection broke while a command ran, which is refused if that is its fault.

        Args:
            error: The protocol error with which the broker ended the connection; None for any other end.
        """
        places = self._places
        command = places.running
        if command is not None:
            command.strikes += error is not None
            if command.strikes >= _STRIKES:
                places.running = None
                self._end(command)
                places.ports.command_refused(command, error)

    def come_back(self) -> None:
        """The connection is gone: what was under way goes back to its place."""
        places = self._places
        # The topology is declared on each new connection; what is missing then is returned again.
        places.urgent.clear()
        places.restoring.clear()
        unfinished = [*places.overdue, *([] if places.running is None else [places.running])]
        for each in unfinished:
            if each.lane is None:
                places.come_back(each)
                # `run` counts it out again.
                self._expendable += each.expendable
        places.running = None
        places.overdue.clear()

    def forget(self) -> None:
        """Forget all commands, wherever they are except in the queue."""
        places = self._places
        places.overdue.clear()
        places.urgent.clear()
        places.restoring.clear()
        self._keyed.clear()
        places.running = None
        self._expendable = 0

    def _take_out(self, command: ChannelCommand) -> bool:
        """Take a command that has ended from where it is; return whether it was under way."""
        places = self._places
        was_running, was_overdue = places.running is command, command in places.overdue
        if was_running:
            places.running = None
        if was_overdue:
            del places.overdue[command]
            if command.holds is not None:
                places.open_lane(command.holds)
        return was_running or was_overdue

    def _end(self, command: ChannelCommand) -> None:
        command.state = State.SETTLED
        if command.lane is not None:
            self._places.restoring.pop(command.lane, None)
        self._places.update()
