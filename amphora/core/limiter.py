"""The room in an outbox: how much is in it, and who waits for some.

Those who wait are admitted in the order in which they came. Room is reserved for a ticket in the moment in which it is
admitted, so that a later arrival cannot take it; `redeem` turns the reservation into a message, and `abandon`, in any
state, gives it back.

    WAITING   room for the first in line   ADMITTED   its room is reserved; wake it
    WAITING   turn_away                    REFUSED    with the error; wake it
    WAITING   abandon                      ENDED      the next in line is looked at
    ADMITTED  redeem, abandon              ENDED      the reservation is returned
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from amphora.exceptions import AmqpRpcException

__all__ = ["Limiter", "Ticket", "TicketState"]


class TicketState(Enum):
    """What became of a place in the line."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    REFUSED = "refused"
    ENDED = "ended"


class Ticket:
    """A place in the line.

    Args:
        size: Bytes of the message.
        endless: Whether its holder has no deadline.
        on_change: Called when it is admitted or refused; must not block or raise.

    Attributes:
        state: What became of it.
        refusal: The error, once it is refused.
    """

    __slots__ = ("endless", "on_change", "refusal", "size", "state")

    def __init__(self, size: int, *, endless: bool, on_change: Callable[[], None]) -> None:
        self.size = size
        self.endless = endless
        self.on_change = on_change
        self.state = TicketState.WAITING
        self.refusal: AmqpRpcException | None = None


class Limiter:
    """Counts the messages in an outbox, and says who may add one more.

    Args:
        max_count: Messages that may be inside.
        max_size: Bytes of their bodies.

    Attributes:
        max_count: Messages that may be inside.
        max_size: Bytes of their bodies.
        count: Messages inside.
        size: Bytes of their bodies.
        reserved: Admitted tickets that are not redeemed yet.
        reserved_size: Bytes reserved for them.
    """

    __slots__ = ("count", "line", "max_count", "max_size", "reserved", "reserved_size", "size")

    def __init__(self, max_count: int, max_size: int) -> None:
        self.count = 0
        self.size = 0
        self.reserved = 0
        self.reserved_size = 0
        self.max_count = max_count
        self.max_size = max_size
        #: Tickets that wait, the oldest first.
        self.line: deque[Ticket] = deque()

    def admits(self, size: int) -> bool:
        """Return whether one more message may be taken at once: there is room, and nothing waits for it."""
        return not self.line and self._has_room(size)

    def wait(self, size: int, *, endless: bool, on_change: Callable[[], None]) -> Ticket:
        """Return a place at the end of the line."""
        ticket = Ticket(size, endless=endless, on_change=on_change)
        self.line.append(ticket)
        self.admit()
        return ticket

    def redeem(self, ticket: Ticket) -> None:
        """Give up a reservation for the message that is taken right after."""
        if ticket.state is TicketState.ADMITTED:
            ticket.state = TicketState.ENDED
            self.reserved -= 1
            self.reserved_size -= ticket.size

    def abandon(self, ticket: Ticket) -> None:
        """End a ticket whose holder does not want to send any more."""
        if ticket.state is TicketState.WAITING:
            ticket.state = TicketState.ENDED
            self.line.remove(ticket)
        else:
            self.redeem(ticket)
        self.admit()

    def take(self, size: int) -> None:
        """Count one more message, whether or not there is room for it."""
        self.count += 1
        self.size += size

    def give_back(self, size: int) -> None:
        """Count one message less; those who wait are admitted by `admit`."""
        self.count -= 1
        self.size -= size

    def recount(self, sizes: list[int]) -> None:
        """Set what is inside; what is reserved stays so."""
        self.count, self.size = len(sizes), sum(sizes)

    def admit(self) -> None:
        """Admit those for whom there is room by now, in order."""
        line = self.line
        while line and self._has_room(line[0].size):
            ticket = line.popleft()
            ticket.state = TicketState.ADMITTED
            self.reserved += 1
            self.reserved_size += ticket.size
            ticket.on_change()

    def turn_away(self, error: AmqpRpcException, *, only_endless: bool = False) -> None:
        """Refuse those who wait, or those of them who have no deadline."""
        refused = [ticket for ticket in self.line if ticket.endless or not only_endless]
        kept = [ticket for ticket in self.line if not (ticket.endless or not only_endless)]
        self.line.clear()
        self.line.extend(kept)
        for ticket in refused:
            ticket.state, ticket.refusal = TicketState.REFUSED, error
        for ticket in refused:
            ticket.on_change()
        self.admit()

    def _has_room(self, size: int) -> bool:
        count = self.count + self.reserved
        if count >= self.max_count:
            return False
        # One message that is larger than the whole outbox may go when it is alone.
        return not count or self.size + self.reserved_size + size <= self.max_size
