"""A pool of greenlets that runs a server's requests."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from sys import getrefcount
from typing import Any, Generic, Protocol, TypeVar

import gevent

from amphora.interrupts import from_signal, raise_in_main

__all__ = ["Pool", "WorkerPool"]

Job = TypeVar("Job")
J = TypeVar("J")

#: What a greenlet that waits here is switched to with, and with nothing else.
_AWAKE = object()


class Pool(Protocol[J]):
    """What runs the functions of a server: greenlets (`WorkerPool`), or whatever else is passed in."""

    def attach(self, run: Callable[[J], None]) -> None:
        """Take the function that runs one job; called once, before the first job."""

    def submit(self, job: J) -> None:
        """Run a job soon, by calling that function once; never blocks."""

    def take_back(self) -> list[J]:
        """Return the jobs that have not begun; they will not run."""

    def dismiss(self) -> None:
        """Let what is idle end; jobs may be submitted again."""


class WorkerPool(Generic[Job]):
    """Runs jobs in at most ``size`` greenlets, in the order of their submission.

    Greenlets are kept and used again, like the threads of a thread pool: a spawn for each request
    costs a sixth of a server's throughput. Each job runs in a copy of the `contextvars` context in
    which the pool was made, so context variables do not leak from one job into the next.

    A job may leave something behind that would hit the next one: a `gevent.Timeout` that it started and did not close,
    or a greenlet that will kill it. Such a thing holds the greenlet, so a greenlet that is held after its job gets no
    other one. It ends, which costs what a spawn costs, and what was left behind hits nothing.

    Args:
        size: Number of greenlets at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._run: Callable[[Job], None]
        self._context = contextvars.copy_context()
        self._jobs: deque[Job] = deque()
        self._idle: list[Any] = []
        self._greenlets: set[gevent.Greenlet[[], None]] = set()
        self._dismissed = False

    def attach(self, run: Callable[[Job], None]) -> None:
        """Take the function that runs one job; it must not raise anything that does not end the greenlet."""
        self._run = run

    def submit(self, job: Job) -> None:
        """Run a job as soon as a greenlet is free; never blocks."""
        self._dismissed = False
        self._jobs.append(job)
        if self._idle:
            gevent.get_hub().loop.run_callback(self._idle.pop().switch, _AWAKE)
        elif len(self._greenlets) < self._size:
            self._start()

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return len(self._jobs)

    def take_back(self) -> list[Job]:
        """Return the jobs that have not begun; they will not run."""
        jobs = list(self._jobs)
        self._jobs.clear()
        return jobs

    def dismiss(self) -> None:
        """Let the greenlets end, each when it has no job any more; `submit` starts others.

        One that waits for a job keeps the pool and its owner in memory forever.
        """
        self._dismissed = True
        idle, self._idle = self._idle, []
        for greenlet in idle:
            gevent.get_hub().loop.run_callback(greenlet.switch, _AWAKE)

    def _start(self) -> None:
        greenlet = gevent.spawn(self._work)
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._on_end)

    def _on_end(self, greenlet: gevent.Greenlet[[], None]) -> None:
        """A job has ended its greenlet: those that wait must not wait forever."""
        self._greenlets.discard(greenlet)
        if self._jobs:
            self._start()
        error = greenlet.exception
        if isinstance(error, Exception) and (interrupt := from_signal(error)) is not None:
            # It met the pool and not a job, and is meant for the program. (gevent sees to Ctrl-C itself.)
            raise_in_main(interrupt)

    def _work(self) -> None:
        greenlet = gevent.getcurrent()
        _wait_a_turn()
        # What resumes a greenlet refers to it until the next wait: once, where it is resumed as here, never less, and
        # more after some waits of a job. So a job after which there is no more than this has left nothing behind.
        unheld = getrefcount(greenlet)
        while True:
            while self._jobs:
                self._context.copy().run(self._run, self._jobs.popleft())
                if getrefcount(greenlet) > unheld:
                    _wait_a_turn()
                    if getrefcount(greenlet) > unheld:
                        return
            if self._dismissed:
                return
            self._idle.append(greenlet)
            try:
                _wait()
            except BaseException:
                # What an earlier job has left behind, a timeout that was not closed or a late kill, ends the greenlet:
                # no job may be given to it.
                if greenlet in self._idle:
                    self._idle.remove(greenlet)
                raise


def _wait() -> None:
    """Wait until the current greenlet is switched to with `_AWAKE`."""
    hub = gevent.get_hub()
    while hub.switch() is not _AWAKE:
        pass


def _wait_a_turn() -> None:
    """Let the event loop turn once."""
    callback = gevent.get_hub().loop.run_callback(gevent.getcurrent().switch, _AWAKE)
    try:
        _wait()
    finally:
        callback.stop()
