"""`Handover`: tasks that threads hand to a hub thread, and the futures that they hold for them.

Theory. Threads hand tasks to a hub thread and wait for futures. The ledger has every task whose future was handed out,
those of deferred results included, until its future is done. When the hub has ended, its ender completes what
is left in the ledger: no future waits without an end. The machine runs under one lock of its driver, and completes no
future itself: `done` and `end` say who may, exactly once for each task.

==================  ==================  ==========  ===========================================================
State of the hub    Event               Next        Action
==================  ==================  ==========  ===========================================================
RUNNING             submit              same        task SUBMITTED, in the ledger; wake if the inbox was empty
STOPPING, ENDED     submit              same        refused
RUNNING, STOPPING   take_all            same        tasks of the inbox RUNNING
RUNNING, STOPPING   adopt               same        task RUNNING, in the ledger: a deferred result
ENDED               adopt               same        refused
any                 done                same        task leaves the ledger; its future may be completed, once
any                 abandon             same        task leaves the ledger; what runs is to be killed
RUNNING             stop                STOPPING
any                 end                 ENDED       every task leaves the ledger; its future is to be completed
==================  ==================  ==========  ===========================================================

Invariants, asserted by `check` and by the test:

- H1: each future is completed exactly once; when the hub has ENDED, the ledger is empty.
- H2: a task that was accepted runs or gets an outcome; none is lost in between.
- H3: the machine completes no future, so none is completed under its driver's lock.
"""

from __future__ import annotations

from enum import Enum
from typing import Generic, TypeVar

__all__ = ["Handover", "HubState"]

Task = TypeVar("Task")


class HubState(Enum):
    """How a hub thread is."""

    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Handover(Generic[Task]):
    """The ledger and the inbox of one hub thread; its driver calls it under one lock.

    Attributes:
        state: How the hub is.
    """

    __slots__ = ("_inbox", "_ledger", "state")

    def __init__(self) -> None:
        self.state = HubState.RUNNING
        # Ordered sets. What is in the inbox is in the ledger, too.
        self._ledger: dict[Task, None] = {}
        self._inbox: dict[Task, None] = {}

    def __len__(self) -> int:
        return len(self._ledger)

    @property
    def tasks(self) -> list[Task]:
        """The tasks whose futures are not done."""
        return list(self._ledger)

    def submit(self, task: Task) -> bool | None:
        """Hand in a task.

        Returns:
            None if it is refused, since the hub stops. Otherwise whether the hub has to be woken.
        """
        if self.state is not HubState.RUNNING:
            return None
        wake = not self._inbox
        self._ledger[task] = None
        self._inbox[task] = None
        return wake

    def take_all(self) -> list[Task]:
        """Return the tasks that are to be begun now, in the order of their submission."""
        taken, self._inbox = list(self._inbox), {}
        return taken

    def adopt(self, task: Task) -> bool:
        """Enter a task that has begun, for the future of a deferred result; return False if the hub has ended."""
        if self.state is HubState.ENDED:
            return False
        self._ledger[task] = None
        return True

    def done(self, task: Task) -> bool:
        """Note that a task has its outcome; return whether its future is to be completed with it."""
        self._inbox.pop(task, None)
        return self._ledger.pop(task, task) is None

    def abandon(self, task: Task) -> bool | None:
        """Note that no thread waits for a task any more.

        Returns:
            None if the task has its outcome, or another thread is about to complete its future. Otherwise the future is
            the caller's to end, and the value says whether the task may have begun, and is to be killed.
        """
        waiting = self._inbox.pop(task, task) is None
        if self._ledger.pop(task, task) is not None:
            return None
        return not waiting

    def stop(self) -> None:
        """Take no more tasks."""
        if self.state is HubState.RUNNING:
            self.state = HubState.STOPPING

    def end(self) -> list[Task]:
        """End; return the tasks whose futures the caller has to complete."""
        self.state = HubState.ENDED
        left, self._ledger, self._inbox = list(self._ledger), {}, {}
        return left

    def check(self) -> None:
        """Assert the invariants."""
        assert self._inbox.keys() <= self._ledger.keys(), "a task in the inbox that is not in the ledger"
        assert self.state is not HubState.ENDED or not self._ledger, "a future that nothing completes"
