"""`StandIn`: stands for a client or a server that is made from settings on first use, one for each process."""

from __future__ import annotations

import atexit
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, Generic, Self, TypeVar
from weakref import WeakSet

from amphora import AmqpRpcClient
from amphora.endpoint.at_exit import leave
from amphora.endpoint.per_process import PerProcess

__all__ = ["StandIn", "leave"]

Real = TypeVar("Real")
Function = TypeVar("Function", bound=Callable[..., Any])


class StandIn(Generic[Real]):
    """Stands for an endpoint: has its public names, and makes it when one of them needs it, one for each process.

    Looking a method up makes nothing; calling it does. Reading a property makes the endpoint. A name that the class of
    the endpoint does not have is an `AttributeError`, so that ``hasattr(stand_in, "anything")`` never connects.

    When the process exits, its clients wait for unconfirmed requests (see `amphora.endpoint.at_exit`) and are stopped,
    then its servers.
    """

    #: The class whose public names it has.
    _like: ClassVar[type]

    def __init__(self) -> None:
        self._per_process: PerProcess[Real] = PerProcess(self._make_prepared)
        self._middleware: list[Any] = []
        _all.add(self)

    def __getattr__(self, name: str) -> Any:
        missing = object()
        member = missing if name.startswith("_") else inspect.getattr_static(self._like, name, missing)
        if member is missing:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        if isinstance(member, (classmethod, staticmethod)):
            return getattr(self._like, name)
        if not callable(member):
            return getattr(self._per_process.get(), name)

        @wraps(member)
        def method(*args: Any, **kwargs: Any) -> Any:
            return getattr(self._per_process.get(), name)(*args, **kwargs)

        return method

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._like) if not name.startswith("_"))})

    def __enter__(self) -> Self:
        real: Any = self._per_process.get()
        real.serve()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def made(self) -> bool:
        """Whether this process has the endpoint already."""
        return self._made is not None

    def add_middleware(self, middleware: Function) -> Function:
        """Add a middleware, to the endpoint that there is and to those made later; a call or a decorator.

        Args:
            middleware: See `amphora.AmqpRpcServer.add_middleware` and `amphora.AmqpRpcClient.add_middleware`.

        Returns:
            The middleware.
        """
        self._middleware.append(middleware)
        real: Any = self._made
        if real is not None:
            real.add_middleware(middleware)
        return middleware

    def stop(self) -> None:
        """Disconnect from the broker, as the real one does; does nothing if this process has not made the endpoint."""
        real: Any = self._made
        if real is not None:
            real.stop()
            self._on_stopped()

    def reset(self) -> None:
        """Stop the endpoint of this process, if there is one; the next use makes another.

        The requests of a client are waited for, up to its ``exit_timeout``, and reported if they stay unconfirmed.
        """
        real: Any = self._per_process.take()
        if real is not None:
            if isinstance(real, AmqpRpcClient):
                real.stop_for_good()
            else:
                real.stop()
            self._on_stopped()

    @property
    def _made(self) -> Real | None:
        return self._per_process.made

    def _make_prepared(self) -> Real:
        real: Any = self._make()
        for middleware in self._middleware:
            real.add_middleware(middleware)
        return real  # type: ignore[no-any-return]

    def _make(self) -> Real:
        """Make the endpoint from its settings."""
        raise NotImplementedError

    def _on_stopped(self) -> None:
        """Called when the endpoint was stopped."""


_all: WeakSet[StandIn[Any]] = WeakSet()


@atexit.register
def _reset_at_exit() -> None:
    leave()
    stand_ins = list(_all)
    # Functions that still run on servers may use clients: those make others.
    for each in sorted(stand_ins, key=lambda each: not issubclass(each._like, AmqpRpcClient)):
        each.reset()
