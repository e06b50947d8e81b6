"""`LazyServer`: takes the functions of an alias, and makes its server when it serves."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from django.apps import apps

from amphora import AmqpRpcFanoutServer, AmqpRpcServer, add_or_decorate, remote_name
from amphora.contrib.django.conf import insist_on_alias
from amphora.contrib.django.connections import new_middleware
from amphora.contrib.django.discovery import discover
from amphora.contrib.django.lazy import LazyEndpoint
from amphora.contrib.django.process import check_process
from amphora.contrib.django.request_log import log_request
from amphora.contrib.django.results import fetch_result

if TYPE_CHECKING:
    from amphora.contrib.django.recording import ErrorRecorder

__all__ = ["LazyServer"]

#: Seconds that the last errors of functions have to reach the database when a server stops.
_FAREWELL = 5.0


class LazyServer(LazyEndpoint[AmqpRpcServer]):
    """Stands for the server of an alias: takes its functions, and makes it when it serves.

    All that `amphora.AmqpRpcServer` has is here too.
    """

    _like = AmqpRpcServer

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._sources: list[Callable[[], None]] = []
        self._outermost: list[Any] = []
        self._stand_in: Callable[[str, Callable[..., Any]], Callable[..., Any]] | None = None
        self._recorder: ErrorRecorder | None = None

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions of all installed apps by their remote names (a copy).

        Raises:
            ImproperlyConfigured: A module of handlers cannot be imported.
        """
        if apps.ready:
            self._collect()
        return dict(self._functions)

    def add_source(self, source: Callable[[], None]) -> None:
        """Call something each time before the functions are needed: it may add some.

        Args:
            source: Where functions come from that are no handlers; such as another framework's tasks.
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
            ImproperlyConfigured: ``AMPHORA`` has no such alias.
        """
        return add_or_decorate(self._add, func, name)

    def surround(
        self, middleware: Any = None, stand_in: Callable[[str, Callable[..., Any]], Callable[..., Any]] | None = None
    ) -> None:
        """Let a test stand around all that the server made next does, or, without arguments, no longer.

        Args:
            middleware: A middleware that comes before all others, those of this integration included.
            stand_in: Takes the name of a function and the function, and returns what runs in its stead.
        """
        self._outermost = [] if middleware is None else [middleware]
        self._stand_in = stand_in

    def stop(self) -> None:
        """Disconnect from the broker; see `amphora.AmqpRpcServer.stop`. Errors of functions are written to the end."""
        super().stop()
        if self._recorder is not None:
            self._recorder.flush(_FAREWELL)

    def _add(self, function: Any, name: str | None) -> None:
        insist_on_alias(self.alias)
        wanted = remote_name(function, name)
        taken = self._functions.get(wanted)
        if taken is not None and taken is not function and not _is_loaded_again(taken, function):
            raise ValueError(f"there is already a remote function {wanted!r} of {self!r}: {taken!r}")
        if (real := self._made()) is not None:
            self._add_to(real, wanted, function)
        self._functions[wanted] = function

    def _collect(self) -> None:
        discover()
        for source in self._sources:
            source()

    def _add_to(self, real: AmqpRpcServer, name: str, function: Callable[..., Any]) -> None:
        real.add_function(function if self._stand_in is None else self._stand_in(name, function), name)

    def _make(self) -> AmqpRpcServer:
        settings = self.settings
        check_process(self.alias)
        self._collect()
        kind = AmqpRpcFanoutServer if settings.fanout else AmqpRpcServer
        server: AmqpRpcServer = self._build(kind, settings, settings.server_options)
        for middleware in self._outermost:
            server.add_middleware(middleware)
        # The first is the outermost. Errors of a commit are errors too; and what other middleware does with the
        # database is looked after as well.
        self._recorder = self._record_errors(server)
        server.add_middleware(new_middleware(self, settings, self._functions.get))
        server.add_middleware(log_request)
        server.add_middleware(fetch_result)
        for name, function in self._functions.items():
            self._add_to(server, name, function)
        return server

    def _record_errors(self, server: AmqpRpcServer) -> ErrorRecorder | None:
        """Let errors be kept for the admin (``RECORD_ERRORS``), but not those of tests and demonstrations."""
        keep = self.settings.record_errors
        if not keep or server.broker.startswith("memory:"):
            return None
        from amphora.contrib.django.recording import ErrorRecorder  # noqa: PLC0415  (models want loaded apps)

        return server.add_middleware(ErrorRecorder(self.alias, server.service_name, server.uuid, keep))


def _is_loaded_again(taken: Any, function: Any) -> bool:
    """Tell whether a function is the other one from a module that was loaded once more."""
    if not (isinstance(taken, FunctionType) and isinstance(function, FunctionType)):
        return False
    same = (taken.__module__, taken.__qualname__) == (function.__module__, function.__qualname__)
    # Two functions with one name in one module are a mistake.
    anew = taken.__globals__ is not function.__globals__
    return same and (anew or taken.__code__.co_firstlineno == function.__code__.co_firstlineno)
