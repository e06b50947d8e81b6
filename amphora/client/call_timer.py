"""The timer of a client's calls: the driver of the deadlines in `amphora.core.calls`."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

from gevent import get_hub

from amphora.interrupts import contained, let_through
from amphora.logs.note_log import NoteLogger

__all__ = ["CallTimer"]

logger = NoteLogger(__name__)


class CallTimer:
    """One timer of the event loop, for the nearest deadline.

    While it is set, it keeps what it calls in memory.

    Args:
        tick: Called with the time (`time.monotonic`) when it goes off, which may be a little early.
    """

    def __init__(self, tick: Callable[[float], None]) -> None:
        self._tick = tick
        self._timer: Any = None

    def set(self, at: float) -> None:
        """Have it go off at this time, and at no other; infinity for never."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        if at < inf:
            self._timer = get_hub().loop.timer(max(0.0, at - monotonic()))
            self._timer.start(contained, self._on_due)

    def _on_due(self) -> None:
        try:
            self._tick(monotonic())
        except Exception as error:
            let_through(error)
            logger.exception("error while calls ended at their deadlines")
