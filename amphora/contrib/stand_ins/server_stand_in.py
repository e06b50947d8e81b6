"""`ServerStandIn`: takes functions at once, and makes the server when it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amphora import AmqpRpcServer, add_or_decorate, remote_name
from amphora.contrib.stand_ins.stand_in import StandIn

__all__ = ["ServerStandIn"]


class ServerStandIn(StandIn[AmqpRpcServer]):
    """Stands for a server: takes its functions at any time, and makes it when it serves."""

    _like = AmqpRpcServer

    def __init__(self) -> None:
        super().__init__()
        self._functions: dict[str, Callable[..., Any]] = {}
        self._sources: list[Callable[[], None]] = []

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions by their remote names (a copy)."""
        self._collect()
        return dict(self._functions)

    def add_source(self, source: Callable[[], None]) -> None:
        """Call something each time before the functions are needed: it may add some.

        Args:
            source: Where functions come from that are not added by themselves, such as another framework's tasks.
        """
        self._sources.append(source)

    def add_function(self, func: Any = None, name: str | None = None) -> Any:
        """Add a remote function; a call or a decorator, as `amphora.AmqpRpcServer.add_function`.

        Args:
            func: The function, or its remote name when used as a decorator with a name.
            name: Its remote name; by default its own name. Dots are allowed.

        Returns:
            The function itself, or a decorator.

        Raises:
            TypeError: Not a callable, a name that is not text, or the two in the wrong order.
            ValueError: Another function has that name.
        """
        return add_or_decorate(self._add, func, name)

    def _add(self, function: Any, name: str | None) -> None:
        wanted = remote_name(function, name)
        taken = self._functions.get(wanted)
        if taken is not None and taken is not function and not self._may_replace(taken, function):
            raise ValueError(f"there is already a remote function {wanted!r} of {self!r}: {taken!r}")
        if taken is not function and (real := self._made) is not None:
            self._add_to(real, wanted, function)
        self._functions[wanted] = function
        self._on_added(wanted, function)

    def _on_added(self, name: str, function: Callable[..., Any]) -> None:
        """Called with each function that was added."""

    def _may_replace(self, taken: Any, function: Any) -> bool:  # noqa: ARG002  (for subclasses)
        """Return whether a function may take the place of another one with its name."""
        return False

    def _add_to(self, real: AmqpRpcServer, name: str, function: Callable[..., Any]) -> None:
        real.add_function(function, name)

    def _collect(self) -> None:
        """Let sources add their functions."""
        for source in self._sources:
            source()

    def _make_prepared(self) -> AmqpRpcServer:
        server = super()._make_prepared()
        self._collect()
        for name, function in self._functions.items():
            self._add_to(server, name, function)
        return server
