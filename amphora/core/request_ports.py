"""What served requests are told, and what they ask of their driver."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

from amphora.core.records import Exit, Record

__all__ = ["Options", "Ports"]

Q = TypeVar("Q", bound=Record, contravariant=True)


class Options(NamedTuple):
    """How requests are served.

    Args:
        slots: How many functions run at the same time.
        ignore_delay: Seconds before a request is given back that was ignored before.
        drop_ignored: Whether ignored requests are acknowledged instead of given back.
        letters: Whether unreadable requests are dead-lettered.
    """

    slots: int
    ignore_delay: float
    drop_ignored: bool
    letters: bool


class Ports(Protocol[Q]):
    """What the machine asks of its driver; none of these blocks or raises."""

    def current(self, token: Any) -> bool:
        """Return whether a delivery can still be settled."""

    def expired(self, record: Q) -> bool:
        """Return whether the deadline of a request has passed; asked only of those that are perishable."""

    def start(self, record: Q) -> None:
        """Run its function: `begin`, then `finished`, `ignored` or `unreadable`; `ended` where that fails."""

    def send(self, record: Q) -> None:
        """Send its reply; `replied`, `unroutable`, `nacked` or `reply_lost` follows."""

    def restore_route(self, record: Q) -> None:
        """Bind its client's queue again; `routed` follows."""

    def abandoned(self, record: Q, why: str) -> None:
        """Take note that its reply was dropped."""

    def bury(self, record: Q) -> None:
        """Dead-letter it; `buried` or `not_buried` follows."""

    def ack(self, token: Any) -> None:
        """Acknowledge a delivery."""

    def give_back(self, token: Any) -> None:
        """Give a delivery back to its queue."""

    def drop(self, token: Any) -> None:
        """Drop a delivery, or have the broker dead-letter it."""

    def left(self, record: Q, how: Exit) -> None:
        """Take note that it has left; see `ServedRequests.tells_each`."""

    def alarm(self, at: float) -> None:
        """Call `tick` at this time, or before."""
