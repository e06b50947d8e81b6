"""Calls from many greenlets at once, with the outcome of each."""

from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Any, Self

import gevent

from amphora import AmqpRpcClient, AmqpRpcException
from tests.support.eventually import wait_until


class Load:
    """Keeps calling ``work(number)``, which returns the number, until the end of its `with` block.

    Attributes:
        confirmed: Numbers of the requests that the broker has confirmed.
        results: What the calls returned, by number.
        errors: What the calls raised, by number.
    """

    def __init__(self, client: AmqpRpcClient, *, greenlets: int = 20, timeout: float = 60.0) -> None:
        self.confirmed: set[int] = set()
        self.results: dict[int, Any] = {}
        self.errors: dict[int, AmqpRpcException] = {}
        self._client = client
        self._timeout = timeout
        self._numbers = count(1)
        self._started: set[int] = set()
        self._ending = False
        self._size = greenlets
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def __enter__(self) -> Self:
        self._greenlets = [gevent.spawn(self._call_again_and_again) for _ in range(self._size)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending = True
        if error is not None:
            gevent.killall(self._greenlets)
            return
        gevent.joinall(self._greenlets, timeout=self._timeout + 10, raise_error=True)
        without_outcome = self._started - self.results.keys() - self.errors.keys()
        gevent.killall(self._greenlets)
        assert without_outcome == set(), "calls without an outcome"

    def wait_for_progress(self, calls: int = 20, timeout: float = 30.0) -> None:
        """Wait until so many more calls have returned a result."""
        wanted = len(self.results) + calls
        wait_until(lambda: len(self.results) >= wanted, timeout, "calls go on")

    def assert_all_answered(self) -> None:
        """Assert that every call returned its own number."""
        assert self.errors == {}
        assert self.results == {number: number for number in self._started}

    def _call_again_and_again(self) -> None:
        while not self._ending:
            self._call(next(self._numbers))

    def _call(self, number: int) -> None:
        self._started.add(number)
        try:
            result = self._client.defer(timeout=self._timeout).work(number)
            self.confirmed.add(number)
            self.results[number] = result.get()
        except AmqpRpcException as error:
            self.errors[number] = error


def outcome_of(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the error of ours that it raises."""
    try:
        return call()
    except AmqpRpcException as error:
        return error
