"""`HubThread`: what one thread does with it costs no other."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any

import pytest

from amphora.core.handover import Handover
from amphora.threads.hub_thread import HubThread, _Task


class Unstarted(HubThread):
    """One whose thread the test plays; the first wake is interrupted, as by the handler of a signal."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._handover: Handover[_Task] = Handover()
        self._abandoned: deque[_Task] = deque()
        self._client = None
        self.second: Any = None
        self.wakes = 0

    def _wake(self) -> None:
        self.wakes += 1
        if self.wakes == 1:
            # Another thread submits meanwhile: it relies on this wake.
            self.second = _Task(Future())
            self._submit(self.second)
            raise KeyboardInterrupt


def test_a_thread_that_is_interrupted_before_it_wakes_the_hub_wakes_it_for_the_others() -> None:
    hub = Unstarted()

    with pytest.raises(KeyboardInterrupt):
        hub.run(lambda _: None)

    assert hub._handover.take_all() == [hub.second]
    assert hub.wakes == 2
