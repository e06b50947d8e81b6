"""`HubThread`: a thread with a gevent hub of its own, in which a client lives and others have things done."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any

import gevent
from gevent.event import Event

from amphora.client import AmqpRpcClient
from amphora.endpoint import allow_unpatched_thread
from amphora.exceptions import NoResult

__all__ = ["HubThread"]

logger = logging.getLogger(__name__)

#: Seconds for which stopping may take, beyond what the client itself takes.
_FAREWELL = 10.0


class _Job:
    """A function to run in the client's thread, and who waits for it.

    Args:
        function: Called with the client.
        context: The context variables of the thread that asks.
    """

    __slots__ = ("context", "function", "greenlet", "outcome")

    def __init__(self, function: Callable[[AmqpRpcClient], Any], context: Context) -> None:
        self.function = function
        self.context = context
        self.outcome: Future[Any] = Future()
        self.greenlet: gevent.Greenlet[..., None] | None = None

    def run(self, client: AmqpRpcClient) -> None:
        """Run it, in a greenlet of its own."""
        try:
            value = self.context.run(self.function, client)
        except gevent.GreenletExit:
            self.end(NoResult("the client was stopped"))
        except BaseException as error:  # noqa: BLE001  (it is raised in the thread that waits)
            self.end(error)
        else:
            if not self.outcome.done():
                self.outcome.set_result(value)

    def end(self, error: BaseException) -> None:
        """End it with an error, unless it has ended."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class HubThread:
    """A thread with a gevent hub in which one client lives.

    Args:
        make: Makes the client.
        name: Name of the thread.
    """

    def __init__(self, make: Callable[[], AmqpRpcClient], name: str) -> None:
        self._make = make
        self._jobs: deque[_Job] = deque()
        self._abandoned: deque[_Job] = deque()
        self._begun: set[_Job] = set()
        self._ended = False
        self._stopping = False
        self._waker: Any = None
        self._client: AmqpRpcClient | None = None
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, args=(started,), name=name, daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            # What a signal's handler raises, perhaps.
            self._stopping = True
            self._wake()
            raise

    # -- for any thread ---------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it is there to run functions."""
        return not self._ended

    def run(self, function: Callable[[AmqpRpcClient], Any]) -> Any:
        """Run a function with the client in a greenlet there, and wait for it.

        What runs in the thread already, such as middleware of the client, runs it at once.

        Raises:
            BaseException: What it raises. Or what a signal's handler raises here: then the greenlet is killed.
        """
        if self._client is not None and self._thread is threading.current_thread():
            # It would wait for itself.
            return function(self._client)
        job = _Job(function, copy_context())
        try:
            self._post(job)
            return job.outcome.result()
        except BaseException:
            if not job.outcome.done():
                self._abandoned.append(job)
                self._wake()
            raise

    def stop(self) -> None:
        """Stop the client and end the thread."""
        self._stopping = True
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join(_FAREWELL + 10.0)

    def _post(self, job: _Job) -> None:
        self._jobs.append(job)
        self._wake()
        if self._ended:
            # It may have been too late for the thread to see it.
            job.end(NoResult("the client was stopped"))

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            # (Of a hub that is destroyed in this moment.)
            with suppress(ValueError):
                waker.send()

    # -- in the thread ----------------------------------------------------------------------

    def _main(self, started: Future[None]) -> None:
        allow_unpatched_thread()
        hub = gevent.get_hub()
        woken = Event()
        waker = hub.loop.async_()
        waker.start(woken.set)
        client: AmqpRpcClient | None = None
        try:
            self._client = client = self._make()
            self._waker = waker
            started.set_result(None)
            while not self._stopping:
                woken.wait()
                woken.clear()
                self._work(client)
        except BaseException as error:  # noqa: BLE001  (it is raised in the thread that waits)
            if not started.done():
                started.set_exception(error)
            else:
                self._fail_all(error)
        finally:
            self._ended = True
            if client is not None:
                client.stop()
                if unsent := client.stats()["outbox"]:
                    logger.error("%r ended with %d requests that the broker has not got", client, unsent)
            gevent.killall([job.greenlet for job in self._begun if job.greenlet is not None], timeout=1.0)
            self._fail_all(NoResult("the client was stopped"))
            self._waker = None
            waker.stop()
            waker.close()
            hub.destroy(destroy_loop=True)

    def _work(self, client: AmqpRpcClient) -> None:
        """Begin what was asked for, and end what nobody waits for any more."""
        while self._jobs:
            job = self._jobs.popleft()
            self._begun.add(job)
            job.greenlet = gevent.spawn(self._run, job, client)
        while self._abandoned:
            job = self._abandoned.popleft()
            # One that has not begun to run never will, and so cannot do this itself.
            self._begun.discard(job)
            if job.greenlet is not None:
                job.greenlet.kill(block=False)

    def _run(self, job: _Job, client: AmqpRpcClient) -> None:
        try:
            job.run(client)
        finally:
            self._begun.discard(job)

    def _fail_all(self, error: BaseException) -> None:
        for job in [*self._begun, *self._jobs]:
            job.end(error)
        self._jobs.clear()
