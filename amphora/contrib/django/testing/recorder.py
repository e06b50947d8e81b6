"""Records the calls that a test makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gevent.event import AsyncResult

from amphora import OutgoingRequest

__all__ = ["RecordedCall", "Recorder"]


@dataclass(frozen=True)
class RecordedCall:
    """A call that was sent.

    Args:
        alias: Alias of its service in ``AMPHORA``.
        function: Name of the remote function.
        args: Its arguments, as the caller gave them.
        kwargs: Its keyword arguments.
        routing_key: Empty for the service's own queue.
        result: What became of it; see `gevent.event.AsyncResult`.
    """

    alias: str
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    routing_key: str = ""
    result: AsyncResult[Any] = field(default_factory=AsyncResult, repr=False, compare=False)

    def __str__(self) -> str:
        arguments = [repr(value) for value in self.args]
        arguments += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.alias}: {self.function}({', '.join(arguments)})"


class Recorder:
    """The calls of one test, in the order in which they were sent."""

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []

    def middleware(self, alias: str) -> Callable[[OutgoingRequest, Callable[[], AsyncResult[Any]]], AsyncResult[Any]]:
        """Return the middleware that records what the client of an alias sends."""

        def record(request: OutgoingRequest, send: Callable[[], AsyncResult[Any]]) -> AsyncResult[Any]:
            result = send()
            call = RecordedCall(alias, request.function, request.args, request.kwargs, request.routing_key, result)
            self.calls.append(call)
            return result

        return record

    def calls_of(self, function: str, alias: str | None = None) -> list[RecordedCall]:
        """Return the calls of one function.

        Args:
            function: Its remote name.
            alias: Alias of its service; by default that of any.
        """
        return [each for each in self.calls if each.function == function and alias in (None, each.alias)]

    def assert_called(self, function: str, *args: Any, **kwargs: Any) -> RecordedCall:
        """Insist that a function was called with just these arguments.

        Returns:
            The latest such call.

        Raises:
            AssertionError: There was none; the text tells the calls that were made.
        """
        for call in reversed(self.calls):
            if (call.function, call.args, call.kwargs) == (function, args, kwargs):
                return call
        wanted = str(RecordedCall("", function, args, kwargs)).removeprefix(": ")
        raise AssertionError(f"{wanted} was not called. {self._told()}")

    def assert_not_called(self, function: str) -> None:
        """Insist that a function was not called, whatever the arguments.

        Raises:
            AssertionError: It was; the text tells the calls that were made.
        """
        if self.calls_of(function):
            raise AssertionError(f"{function} was called. {self._told()}")

    def _told(self) -> str:
        if not self.calls:
            return "No calls were made."
        return "The calls that were made:\n" + "\n".join(f"  {call}" for call in self.calls)
