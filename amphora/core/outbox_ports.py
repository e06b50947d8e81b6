"""What an outbox calls, and what it asks its driver to do."""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol

from amphora.core.messages import ChannelCommand, Outcome, OutgoingMessage

__all__ = ["ChannelState", "Ports", "Step"]


class ChannelState(Enum):
    """The channel on which messages are published."""

    NONE = "none"
    OPEN = "open"
    DRAINING = "draining"
    RENEWING = "renewing"


class Step(Enum):
    """What the driver is asked to do with the channel."""

    OPEN = "open"
    RENEW = "renew"


class Ports(Protocol):
    """What an outbox calls. Only `encode` may raise; none may yield or block."""

    def encode(self, message: OutgoingMessage, remaining: float | None) -> Any:
        """Return the frames of a message that may wait so many seconds at the broker.

        Raises:
            Exception: AMQP cannot express it.
        """

    def write(self, frames: Any, *, at_once: bool) -> None:
        """Queue frames for sending."""

    def confirmed(self, message: OutgoingMessage, now: float) -> None:
        """Tell the owner of a message that the broker has it."""

    def settled(self, message: OutgoingMessage, outcome: Outcome, detail: Any) -> None:
        """Tell the owner of a message of any other outcome."""

    def command_refused(self, command: ChannelCommand, error: Any) -> None:
        """Tell the owner of a command that it is not run (again)."""

    def lane_refused(self, message: OutgoingMessage) -> None:
        """Note that the broker refuses a lane for now."""

    def alarm(self, at: float) -> None:
        """Have `next_step` called at that time, or before."""

    def wake(self) -> None:
        """Have `next_step` called soon."""
