"""Lets the handlers of a test run one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.lock import RLock

from amphora import CurrentRequest, OutgoingRequest

__all__ = ["Turns"]

#: Header that says within which handler a call was made.
_HEADER = "test-turn"


class Turns:
    """Handlers that use one database connection take turns, for their transactions must not be interleaved.

    While a handler waits for a call of its own, the handler of that call runs: it takes its turn among those that were
    called from the same place, and not behind the one that waits for it.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        # The handlers that run, by number: what they call takes turns among itself. 0 is the test.
        self._queues: dict[int, RLock] = {0: RLock()}
        self._of_greenlet: dict[Any, int] = {}

    def tell(self, request: OutgoingRequest, send: Callable[[], AsyncResult[Any]]) -> AsyncResult[Any]:
        """Say in the request which handler sends it (a client's middleware)."""
        caller = self._caller()
        if caller:
            request.headers[_HEADER] = caller
        return send()

    @contextmanager
    def turn(self, request: CurrentRequest) -> Iterator[None]:
        """Wait for the turn of a request's handler, and have it until the end of the block."""
        caller = request.headers.get(_HEADER, 0)
        # A caller that has ended does not wait any more: its call is like one of the test.
        queue = self._queues.get(caller, self._queues[0])
        number = next(self._numbers)
        greenlet = gevent.getcurrent()
        with queue:
            self._queues[number] = RLock()
            self._of_greenlet[greenlet] = number
            try:
                yield
            finally:
                del self._queues[number], self._of_greenlet[greenlet]

    def _caller(self) -> int:
        """Return the number of the handler that runs in this greenlet, or has spawned it; 0 if none has."""
        greenlet: Any = gevent.getcurrent()
        while greenlet is not None:
            if greenlet in self._of_greenlet:
                return self._of_greenlet[greenlet]
            spawning = getattr(greenlet, "spawning_greenlet", None)
            greenlet = None if spawning is None else spawning()
        return 0
