"""`HubThread`: a thread with a gevent hub of its own, in which a client lives and other threads have things done."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from amphora.client.client import AmqpRpcClient
from amphora.core.handover import Handover, HubState
from amphora.driver.forks import let_go_after_fork
from amphora.endpoint.endpoint import allow_unpatched_thread
from amphora.exceptions import NoResult
from amphora.logs.note_log import NoteLogger

__all__ = ["HubFuture", "HubThread"]

logger = NoteLogger(__name__)

#: Seconds that stopping may take, beyond those for which unconfirmed requests are waited for.
_FAREWELL = 20.0


class HubFuture(Future[Any]):
    """What `HubThread.submit` returns.

    Unlike that of an executor, it can be cancelled as long as it is not done: a function that runs is interrupted.
    """

    _cancel: Callable[[], bool] | None = None

    def cancel(self) -> bool:
        """End it with `concurrent.futures.CancelledError`; return whether it is."""
        if self._cancel is None or not self._cancel():
            return self.cancelled()
        super().cancel()
        return self.set_running_or_notify_cancel() is False


class _Task:
    """A function to run in the client's thread, or a deferred result, and the future that a thread waits for.

    Args:
        outcome: The future.
        function: Called with the client; None for a deferred result.
        context: The context variables of the thread that asks.
    """

    __slots__ = ("context", "deferred", "function", "greenlet", "outcome")

    def __init__(
        self,
        outcome: Future[Any],
        function: Callable[[AmqpRpcClient], Any] | None = None,
        context: Context | None = None,
    ) -> None:
        self.outcome = outcome
        self.function = function
        self.context = context
        self.deferred: AsyncResult[Any] | None = None
        self.greenlet: gevent.Greenlet[..., None] | None = None


class HubThread:
    """A thread with a gevent hub in which one client lives.

    Every future that it has handed out gets an outcome, at the latest when the thread ends.

    Args:
        make: Makes the client.
        name: Name of the thread.
    """

    def __init__(self, make: Callable[[], AmqpRpcClient], name: str) -> None:
        self._make = make
        # Reentrant: a signal's handler in the main thread may call the client, too.
        self._lock = threading.RLock()
        self._handover: Handover[_Task] = Handover()
        self._abandoned: deque[_Task] = deque()
        self._waker: Any = None
        self._client: AmqpRpcClient | None = None
        self._done = threading.Event()
        self._hurried = False
        self._why = "the client was stopped"
        let_go_after_fork(self)
        self._farewell = _FAREWELL
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, args=(started,), name=name, daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            # What a signal's handler raises, perhaps.
            self._begin_to_stop()
            raise

    # -- for any thread ---------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it is there to run functions."""
        return self._handover.state is HubState.RUNNING

    def run(self, function: Callable[[AmqpRpcClient], Any]) -> Any:
        """Run a function with the client in a greenlet there, and wait for it.

        What runs in the thread already, such as middleware of the client, runs it at once.

        Raises:
            BaseException: What it raises. Or what a signal's handler raises here: then the greenlet is killed.
            NoResult: The thread stops.
        """
        if self._client is not None and self._thread is threading.current_thread():
            # It would wait for itself.
            return function(self._client)
        future: HubFuture | None = None
        try:
            future = self.submit(function)
            return future.result()
        except BaseException:
            if future is not None:
                future.cancel()
            raise

    def submit(self, function: Callable[[AmqpRpcClient], Any]) -> HubFuture:
        """Run a function with the client in a greenlet there; do not wait for it.

        Returns:
            A future of what it returns or raises. It always gets an outcome: that, `CancelledError` after
            ``future.cancel()``, which interrupts the function, or `NoResult` when the thread ends, when it has ended
            already, or in a forked child, which has no such thread.
        """
        future = HubFuture()
        task = _Task(future, function, copy_context())
        future._cancel = partial(self._abandon, task)
        try:
            self._submit(task)
        except NoResult as error:
            future.set_exception(error)
        except BaseException:
            # What a signal's handler raises, perhaps.
            future.cancel()
            raise
        return future

    def _abandon(self, task: _Task) -> bool:
        """Have no thread wait for a task any more; return whether its future is the caller's to end."""
        with self._lock:
            kill = self._handover.abandon(task)
        if kill is None:
            return False
        if kill:
            self._abandoned.append(task)
        # Also where the task had not begun: other threads may have relied on the wake that was to follow it.
        self._wake()
        return True

    def defer(self, begin: Callable[[AmqpRpcClient], AsyncResult[Any]], outcome: Future[Any]) -> None:
        """Begin something there whose result comes later, and wait until it has begun.

        Args:
            begin: Called with the client, in a greenlet; returns the result.
            outcome: Completed with that result, in the thread; or with `NoResult` when the thread ends before.

        Raises:
            BaseException: See `run`.
        """
        self.run(lambda client: self._adopt(begin(client), outcome))

    def stop(self) -> None:
        """Stop the client and end the thread. Afterwards, every future has its outcome.

        Unconfirmed requests are waited for first, and reported where they stay unconfirmed.
        """
        self._begin_to_stop()
        if self._thread is threading.current_thread():
            return
        # Not by `Thread.join`: where a signal's handler raises in it, it takes the thread for ended (CPython 3.11,
        # https://github.com/python/cpython/issues/90882).
        if self._done.wait(self._farewell):
            self._thread.join()
        # Where the thread has ended in good order, nothing is left. Otherwise something blocks its hub.
        self._end(
            NoResult("the client was stopped, and its thread did not end in time: something blocks its event loop")
        )

    def let_go(self) -> None:
        """End every future, in a child that was just forked: the thread that would complete them is the parent's."""
        # Other threads of the parent may have held this lock, and those of the futures.
        self._lock = threading.RLock()
        self._waker = None
        self._abandoned.clear()
        for task in self._handover.end():
            task.outcome._condition = threading.Condition()
            task.outcome.set_exception(NoResult("the process was forked: its parent gets the result"))

    # -- at exit: Leaver ----------------------------------------------------------------------

    def begin_to_leave(self) -> None:
        """Begin to stop; see `amphora.endpoint.at_exit.Leaver`."""
        self._why = "the process exited"
        self._begin_to_stop()

    def hurry(self) -> None:
        """End the wait for unconfirmed requests."""
        self._hurried = True
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self.stop()

    def _begin_to_stop(self) -> None:
        with self._lock:
            self._handover.stop()
        self._wake()

    def _submit(self, task: _Task) -> None:
        with self._lock:
            wake = self._handover.submit(task)
        if wake is None:
            raise NoResult("the client was stopped")
        if wake:
            self._wake()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            # (Of a hub that is destroyed in this moment.)
            with suppress(ValueError):
                waker.send()

    def _complete(self, task: _Task, value: Any, error: BaseException | None) -> None:
        """Complete the future of a task, unless it is no longer this one's to complete."""
        with self._lock:
            wanted = self._handover.done(task)
        if not wanted:
            return
        if error is None:
            task.outcome.set_result(value)
        else:
            task.outcome.set_exception(error)

    def _end(self, error: BaseException) -> None:
        """Complete every future that has no outcome."""
        with self._lock:
            left = self._handover.end()
        for task in left:
            deferred = task.deferred
            if deferred is not None and deferred.ready() and deferred.exception is None:
                # It came in the last moment.
                task.outcome.set_result(deferred.value)
            else:
                task.outcome.set_exception(deferred.exception or error if deferred is not None else error)

    # -- in the thread ----------------------------------------------------------------------

    def _main(self, started: Future[None]) -> None:
        allow_unpatched_thread()
        hub = gevent.get_hub()
        woken = Event()
        waker = hub.loop.async_()
        waker.start(self._on_wake, woken)
        client: AmqpRpcClient | None = None
        reason: BaseException = NoResult("the client was stopped")
        try:
            self._client = client = self._make()
            self._farewell = _FAREWELL + client._unconfirmed.timeout
            self._waker = waker
            started.set_result(None)
            while self._handover.state is HubState.RUNNING:
                woken.wait()
                woken.clear()
                self._work(client)
        except BaseException as error:  # noqa: BLE001  (it is raised in the threads that wait)
            reason = error
            if not started.done():
                started.set_exception(error)
        finally:
            self._begin_to_stop()
            try:
                if client is not None:
                    self._stop_client(client)
            except Exception:
                logger.exception("%r could not be stopped in good order", client)
            finally:
                self._end(reason)
                self._waker = None
                waker.stop()
                waker.close()
                self._done.set()
                hub.destroy(destroy_loop=True)

    def _on_wake(self, woken: Event) -> None:
        woken.set()
        if self._hurried and self._client is not None:
            self._client._unconfirmed.hurry()

    def _stop_client(self, client: AmqpRpcClient) -> None:
        # Those that were submitted in the last moment, too.
        self._work(client)
        client.stop_for_good(self._why)
        # Nothing can answer them from here on, whatever their deadlines. Each is told how far it had come.
        client._calls.end_all()
        client._casts.end_waiting(only_endless=False)
        self._wait_for_tasks(monotonic() + 1.0)
        with self._lock:
            left = self._handover.tasks
        gevent.killall([task.greenlet for task in left if task.greenlet is not None], timeout=1.0)

    def _wait_for_tasks(self, deadline: float) -> None:
        """Give tasks whose calls have ended a moment to end, too."""
        while self._handover and monotonic() < deadline:
            gevent.sleep(0.001)

    def _work(self, client: AmqpRpcClient) -> None:
        """Begin what was asked for, and end what no thread waits for any more."""
        with self._lock:
            tasks = self._handover.take_all()
        for task in tasks:
            task.greenlet = gevent.spawn(self._run, task, client)
        while self._abandoned:
            greenlet = self._abandoned.popleft().greenlet
            if greenlet is not None:
                greenlet.kill(block=False)

    def _run(self, task: _Task, client: AmqpRpcClient) -> None:
        assert task.function is not None and task.context is not None  # noqa: S101, PT018  (no deferred result)
        try:
            value = task.context.run(task.function, client)
        except gevent.GreenletExit:
            self._complete(task, None, NoResult("the client was stopped"))
        except BaseException as error:  # noqa: BLE001  (it is raised in the thread that waits)
            self._complete(task, None, error)
        else:
            self._complete(task, value, None)

    def _adopt(self, deferred: AsyncResult[Any], outcome: Future[Any]) -> None:
        """Have a future completed with a result that comes later."""
        task = _Task(outcome)
        task.deferred = deferred
        with self._lock:
            adopted = self._handover.adopt(task)
        if not adopted:
            raise NoResult("the client was stopped")
        # In a greenlet, as a future calls functions of the program: the hub must not.
        deferred.rawlink(lambda result: gevent.spawn(self._complete, task, result.value, result.exception))
