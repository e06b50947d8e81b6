"""Records the calls that reach a service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["RecordedCall", "Recorder"]


@dataclass(frozen=True)
class RecordedCall:
    """A call that reached a service.

    Attributes:
        function (str): Name of the remote function.
        args (tuple): Its arguments, as they arrived: what was a tuple is a list, by JSON.
        kwargs (dict[str, object]): Its keyword arguments.
        headers (dict[str, object]): Header table of the request.
    """

    function: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        arguments = [repr(value) for value in self.args]
        arguments += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.function}({', '.join(arguments)})"


class Recorder:
    """The calls of one test, in the order in which their functions began."""

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []

    def recording(
        self, name: str, find: Callable[[], Callable[..., Any]], headers: Callable[[], dict[str, Any]]
    ) -> Any:
        """Return a function that notes each call of it, and calls another one.

        Args:
            name: Its remote name.
            find: Finds the other one when it is called.
            headers: Gives the headers of the request that runs.
        """

        def record(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(RecordedCall(name, args, kwargs, headers()))
            return find()(*args, **kwargs)

        return record

    def calls_of(self, function: str) -> list[RecordedCall]:
        """Return the calls of one function."""
        return [each for each in self.calls if each.function == function]

    def assert_called(self, function: str, *args: Any, **kwargs: Any) -> RecordedCall:
        """Insist that a function was called with just these arguments; return the latest such call."""
        wanted = RecordedCall(function, args, kwargs)
        for call in reversed(self.calls):
            if call == wanted:
                return call
        raise AssertionError(f"{wanted} was not called. {self._told()}")

    def assert_not_called(self, function: str) -> None:
        """Insist that a function was not called, whatever the arguments."""
        if self.calls_of(function):
            raise AssertionError(f"{function} was called. {self._told()}")

    def _told(self) -> str:
        if not self.calls:
            return "No calls were made."
        return "The calls that were made:\n" + "\n".join(f"  {call}" for call in self.calls)
