"""Messages that the broker has refused for now, kept in order until it is time to send them again.

While a quorum queue has no leader, because its node has died and another is being elected, RabbitMQ refuses (nacks)
what is published to it, at once. A channel of RabbitMQ 3.10 that began to publish in that time goes on to ask the dead
node, and refuses everything, until that node is back: another channel has to be opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Generic, Protocol, TypeVar

import gevent

__all__ = ["Refusals", "patience_with"]

logger = logging.getLogger(__name__)

#: Seconds for which a message to a quorum queue is sent again. An election takes a second or so, on busy machines
#: several; a queue that is full stays so.
_PATIENCE = 30.0

#: Seconds until the first try, which double, and at the most.
_SOON, _LATE = 0.05, 1.0

#: Seconds between warnings.
_WARN_AGAIN = 60.0


def patience_with(queue_type: str) -> float:
    """Return the seconds for which messages that a queue of this type refuses should be sent again."""
    return _PATIENCE if queue_type == "quorum" else 0.0


class Refusable(Protocol):
    """What is kept."""

    exchange: str
    routing_key: str
    number: int
    refused_at: float | None


Kept = TypeVar("Kept", bound=Refusable)

_Key = tuple[str, str]


class Refusals(Generic[Kept]):
    """Holds messages back by exchange and routing key: a refused one, and those that come after it.

    Args:
        name: What operators see.
        patience: Seconds after its first refusal for which a message is kept at all.
        release: Takes the messages whose time has come, in the order of their numbers.
    """

    def __init__(self, name: str, patience: float, release: Callable[[list[Kept]], None]) -> None:
        self._name = name
        self._patience = patience
        self._release = release
        self._held: dict[_Key, list[Kept]] = {}
        # The last delay, until something of that routing key is taken.
        self._delays: dict[_Key, float] = {}
        self._warn_at = 0.0

    def __bool__(self) -> bool:
        """Whether anything has been refused and not been taken since."""
        return bool(self._delays)

    def keep(self, message: Kept) -> bool:
        """Keep a message that was refused; tell whether it is to be sent again at all."""
        now = monotonic()
        if message.refused_at is None:
            message.refused_at = now
        if now - message.refused_at >= self._patience:
            return False
        key = (message.exchange, message.routing_key)
        if key not in self._held:
            self._held[key] = []
            self._wait(key)
        self._held[key].append(message)
        return True

    def hold_back(self, message: Kept) -> bool:
        """Keep a message that would overtake refused ones; tell whether it does."""
        held = self._held.get((message.exchange, message.routing_key))
        if held is None:
            return False
        held.append(message)
        return True

    def taken(self, message: Kept) -> None:
        """Note that the broker takes messages of this routing key (again)."""
        self._delays.pop((message.exchange, message.routing_key), None)

    def take_all(self) -> list[Kept]:
        """Give all messages back, in no order: their channel is gone."""
        held = [message for messages in self._held.values() for message in messages]
        self._held.clear()
        return held

    def forget(self) -> None:
        """Forget the delays: the next connection may be to another node."""
        self._delays.clear()

    def _wait(self, key: _Key) -> None:
        self._warn(*key)
        delay = min(2 * self._delays[key], _LATE) if key in self._delays else _SOON
        self._delays[key] = delay
        gevent.spawn_later(delay, self._on_time, key, self._held[key])

    def _warn(self, exchange: str, routing_key: str) -> None:
        now = monotonic()
        if now < self._warn_at:
            return
        self._warn_at = now + _WARN_AGAIN
        logger.warning(
            "%s: the broker refuses messages to exchange %r with routing key %r for now (a quorum queue without a "
            "leader, or a full queue); sending them again for %.0f s",
            self._name,
            exchange,
            routing_key,
            self._patience,
        )

    def _on_time(self, key: _Key, messages: list[Kept]) -> None:
        # Unless the connection was lost meanwhile.
        if self._held.get(key) is messages:
            del self._held[key]
            self._release(sorted(messages, key=lambda message: message.number))
