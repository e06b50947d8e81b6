"""How the messages of an outbox get their one outcome, and their owners are told."""

from __future__ import annotations

from typing import Any

from amphora.core.messages import Outcome, OutgoingMessage, State
from amphora.core.outbox_places import Places

__all__ = ["settle", "tell"]

_SETTLED = State.SETTLED


def settle(places: Places, message: OutgoingMessage, outcome: Outcome, detail: Any = None) -> None:
    """Settle a message that was taken from its place."""
    places.telling.append((message, outcome, detail))
    tell(places)


def tell(places: Places) -> None:
    """Settle the messages that have an outcome; whatever their owners do then meets a consistent outbox."""
    telling, limiter, ports = places.telling, places.limiter, places.ports
    for message, _, _ in telling:
        if message.state is not _SETTLED:
            message.state = _SETTLED
            limiter.give_back(message.size)
    while telling:
        message, outcome, detail = telling[0]
        del telling[0]
        if outcome is Outcome.CONFIRMED and detail is not None:
            ports.confirmed(message, detail)
        else:
            ports.settled(message, outcome, detail)
        if places.flushes.waiting:
            places.flushes.settled(message)
    if limiter.line:
        limiter.admit()
