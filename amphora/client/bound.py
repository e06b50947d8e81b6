"""`bind`: remote functions as the methods of a class of the user's, so that type checkers know them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from amphora.client.caller import PrettyCaller

__all__ = ["BoundService", "bind"]


class BoundService:
    """Has the public methods of a class, each of which calls the remote function of that name.

    Args:
        caller: Calls the functions; it names their common beginning, if they have one.
        described: The class.
    """

    def __init__(self, caller: PrettyCaller, described: Any) -> None:
        self._caller = caller
        self._described = described
        self._groups = _groups_of(described)

    def __getattr__(self, name: str) -> Any:
        """Return the function of that name, or what stands for a group of functions."""
        found = None
        if not name.startswith("_"):
            if name in self._groups:
                found = BoundService(getattr(self._caller, name), self._groups[name])
            elif hasattr(self._described, name):
                found = getattr(self._caller, name)
        if found is None:
            raise AttributeError(f"{self._described.__name__} has no remote function {name!r}", name=name, obj=self)
        # Found there from now on, without coming here.
        self.__dict__[name] = found
        return found

    def __dir__(self) -> list[str]:
        return sorted({name for name in dir(self._described) if not name.startswith("_")} | self._groups.keys())

    def __repr__(self) -> str:
        return f"<{self._described.__name__} by {self._caller!r}>"


def bind(
    caller: PrettyCaller, described: Any, *, prefix: str = "", options: Mapping[str, Any] | None = None
) -> BoundService:
    """Give remote functions as methods; see `AmqpRpcClient.bind`.

    Args:
        caller: Calls the functions.
        described: The class.
        prefix: What the functions' names begin with, before a dot.
        options: Options of every call.

    Raises:
        TypeError: It is not a class, or one of its methods is a coroutine function.
    """
    if not isinstance(described, type):
        raise TypeError(f"bind takes a class whose methods are the remote functions, not {described!r}")
    for name in dir(described):
        if not name.startswith("_") and inspect.iscoroutinefunction(getattr(described, name)):
            raise TypeError(
                f"{described.__name__}.{name} is a coroutine function: a remote function is called without await"
            )
    caller = caller(**options or {})
    for name in prefix.split(".") if prefix else ():
        caller = getattr(caller, name)
    return BoundService(caller, described)


def _groups_of(described: Any) -> dict[str, Any]:
    """Return the attributes that are annotated with classes: functions whose names have the attribute in front."""
    if not any("__annotations__" in vars(each) for each in described.__mro__):
        return {}
    hints: dict[str, Any] = typing.get_type_hints(described)
    return {name: hint for name, hint in hints.items() if not name.startswith("_") and isinstance(hint, type)}
