"""Many together, or one alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gevent.event import Event
from gevent.lock import BoundedSemaphore

__all__ = ["Turns"]


class Turns:
    """Lets greenlets in: any number that do not mind each other, or one that must be alone.

    Who waits to be alone keeps those out who come later, so that its turn comes.
    """

    def __init__(self) -> None:
        self._gate = BoundedSemaphore(1)
        self._inside = 0
        self._empty = Event()
        self._empty.set()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Wait until nobody is alone inside, or waits for that; then be inside."""
        with self._gate:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody is inside; then be there alone."""
        with self._gate:
            self._empty.wait()
            yield
