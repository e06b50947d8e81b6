"""What subscriptions are told, and what they tell their driver."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

from amphora.core.wishes import Wish

__all__ = ["Options", "Ports"]

Q = TypeVar("Q", bound=Wish, contravariant=True)


class Options(NamedTuple):
    """How subscriptions are made.

    Args:
        label_lanes: How many lanes label queues have, before they share them.
    """

    label_lanes: int = 32


class Ports(Protocol[Q]):
    """What the machine tells its driver; none of these blocks or raises."""

    def settled(self, wish: Q, *, missing: bool) -> None:
        """Take note that the queue was found, or found missing."""

    def ended(self, wish: Q) -> None:
        """Take note that no delivery of it comes any more."""

    def alarm(self, at: float) -> None:
        """Call `tick` at this time."""
