"""Records the calls of a test, and insists on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["CallRecorder", "RecordedCall", "call_in_words"]


class Call(Protocol):
    """What is recorded of a call, at the least."""

    @property
    def function(self) -> str: ...

    @property
    def args(self) -> tuple[Any, ...]: ...

    @property
    def kwargs(self) -> dict[str, Any]: ...


Recorded = TypeVar("Recorded", bound=Call)


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
        return call_in_words(self.function, self.args, self.kwargs)


class CallRecorder(Generic[Recorded]):
    """Holds the calls of one test, in their order; what it is asked, a test asks."""

    def __init__(self) -> None:
        self._calls: list[Recorded] = []

    @property
    def calls(self) -> list[Recorded]:
        """The calls so far, in their order (a copy)."""
        return list(self._calls)

    def calls_of(self, function: str) -> list[Recorded]:
        """Return the calls of one function.

        Args:
            function: Its remote name.
        """
        return [each for each in self._calls if each.function == function]

    def assert_called(self, function: str, *args: Any, **kwargs: Any) -> Recorded:
        """Insist that a function was called with just these arguments.

        Returns:
            The latest such call.

        Raises:
            AssertionError: There was none; the text tells the calls that were made.
        """
        __tracebackhide__ = True
        for call in reversed(self._calls):
            if (call.function, call.args, call.kwargs) == (function, args, kwargs):
                return call
        raise AssertionError(f"{call_in_words(function, args, kwargs)} was not called. {self._told()}")

    def assert_not_called(self, function: str) -> None:
        """Insist that a function was not called, whatever the arguments.

        Raises:
            AssertionError: It was; the text tells the calls that were made.
        """
        __tracebackhide__ = True
        if any(each.function == function for each in self._calls):
            raise AssertionError(f"{function} was called. {self._told()}")

    def _told(self) -> str:
        if not self._calls:
            return "No calls were made."
        return "The calls that were made:\n" + "\n".join(f"  {call}" for call in self._calls)


def call_in_words(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Write a call as Python does."""
    arguments = [repr(value) for value in args]
    arguments += [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"{function}({', '.join(arguments)})"
