"""`ThreadedResult`: the result of a call, for threads to wait for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

__all__ = ["ThreadedResult"]


class ThreadedResult:
    """What `ThreadedClient.defer` returns: the result of a call, now or later, for any thread.

    It has what is used most of a gevent ``AsyncResult``; the waiting is done by the thread, not by a
    greenlet.
    """

    def __init__(self, function: str) -> None:
        self._function = function
        self._future: Future[Any] = Future()

    def __repr__(self) -> str:
        state = "pending" if not self.ready() else "done" if self.successful() else f"{self.exception!r}"
        return f"<{type(self).__name__} of {self._function!r}: {state}>"

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the remote function's result, waiting for it if need be.

        Args:
            block: Whether to wait.
            timeout: Seconds to wait at most; None for as long as the call may take.

        Raises:
            TimeoutError: There is no result yet (where an ``AsyncResult`` raises `gevent.Timeout`).
            AmqpRpcException: What `AmqpRpcClient.call` raises.
        """
        return self._future.result(timeout if block else 0)

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it; None if there is none yet, or an exception."""
        try:
            self._future.exception(timeout)
        except FutureTimeoutError:
            return None
        return self.value

    def ready(self) -> bool:
        """Return whether there is a result or an exception."""
        return self._future.done()

    def successful(self) -> bool:
        """Return whether there is a result that is no exception."""
        return self._future.done() and self._future.exception(0) is None

    @property
    def value(self) -> Any:
        """The result; None if there is none."""
        return self._future.result(0) if self.successful() else None

    @property
    def exception(self) -> BaseException | None:
        """The exception; None if there is none."""
        return self._future.exception(0) if self._future.done() else None

    def add_done_callback(self, callback: Callable[[ThreadedResult], Any]) -> None:
        """Have something called with this result when it is there, in the client's thread: it must not block."""
        self._future.add_done_callback(lambda _: callback(self))
