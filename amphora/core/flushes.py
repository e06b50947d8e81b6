"""Those who wait until everything that an outbox was given before has its outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from amphora.core.messages import OutgoingMessage

__all__ = ["Flush", "Flushes"]


class Flush:
    """Waits for everything that was accepted before it.

    Attributes:
        left: Messages that have no outcome yet.
    """

    __slots__ = ("left", "on_empty", "order")

    def __init__(self, order: int, left: int, on_empty: Callable[[], None]) -> None:
        self.order = order
        self.left = left
        self.on_empty = on_empty


class Flushes:
    """All flushes of an outbox. False where there is none."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Flush] = []

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def add(self, order: int, left: int, on_empty: Callable[[], None]) -> Flush:
        """Wait for the messages up to an order, of which so many have no outcome yet."""
        flush = Flush(order, left, on_empty)
        if left:
            self.waiting.append(flush)
        return flush

    def end(self, flush: Flush) -> None:
        """Stop waiting."""
        if flush in self.waiting:
            self.waiting.remove(flush)

    def accepted_again(self, message: OutgoingMessage) -> None:
        """A message that had an outcome has none now."""
        for flush in self.waiting:
            if message.order <= flush.order:
                flush.left += 1

    def settled(self, message: OutgoingMessage) -> None:
        """A message has its outcome."""
        for flush in self.waiting:
            if message.order <= flush.order:
                flush.left -= 1
        self._end_empty()

    def recount(self, messages: Iterable[OutgoingMessage]) -> None:
        """These are all messages without an outcome."""
        orders = [message.order for message in messages]
        for flush in self.waiting:
            flush.left = sum(order <= flush.order for order in orders)
        self._end_empty()

    def _end_empty(self) -> None:
        empty = [flush for flush in self.waiting if flush.left <= 0]
        if empty:
            self.waiting = [flush for flush in self.waiting if flush.left > 0]
            for flush in empty:
                flush.on_empty()
