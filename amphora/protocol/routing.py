"""Tuning functions: from a call's arguments to its routing key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amphora.protocol.names import check_routing_key

__all__ = ["Router", "TuningFunction"]

#: Takes the call's ``args`` and ``kwargs`` (as two values, not unpacked) and returns a routing key,
#: a dict with ``routing_key``, or None for the default routing key.
TuningFunction = Callable[[Sequence[Any], Mapping[str, Any]], Any]


class Router:
    """Knows the tuning function of each remote function.

    Attributes:
        tuning: Tuning functions by the names of their remote functions.
    """

    def __init__(self) -> None:
        self.tuning: dict[str, TuningFunction] = {}

    def tune(self, func_name: str, tuning: TuningFunction) -> None:
        """Let a tuning function choose the routing key of a remote function's calls.

        A later tuning function replaces an earlier one.
        """
        if callable(func_name):
            raise TypeError("tune_function takes a function's name: @client.tune_function('name')")
        if not isinstance(func_name, str):
            raise TypeError(f"func_name must be the name of a remote function, not {func_name!r}")
        if not callable(tuning):
            raise TypeError(f"the tuning function of {func_name!r} is not callable: {tuning!r}")
        self.tuning[func_name] = tuning

    def routing_key(self, func_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the routing key of a call; ``""``, the service's own queue, where none is tuned.

        Raises:
            TypeError: The tuning function returned something that is no routing key.
            Exception: Whatever the tuning function raises.
        """
        tuning = self.tuning.get(func_name)
        if tuning is None:
            return ""
        answer = tuning(args, kwargs)
        if answer is None:
            return ""
        if isinstance(answer, Mapping):
            if "routing_key" not in answer:
                raise TypeError(f"the tuning function of {func_name!r} returned a dict without 'routing_key'")
            answer = answer["routing_key"]
        if not isinstance(answer, str):
            raise TypeError(
                f"the tuning function of {func_name!r} returned {answer!r}; it must return a "
                "routing key (str), a dict with 'routing_key', or None"
            )
        return check_routing_key(answer)
