"""`LazyServer`: takes the functions of an alias, and makes its server when it serves."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from django.apps import apps

from amphora import AmqpRpcFanoutServer, AmqpRpcServer
from amphora.contrib.django.alias_settings import AliasSettings
from amphora.contrib.django.conf import ServiceSettings, insist_on_alias
from amphora.contrib.django.connections import new_middleware
from amphora.contrib.django.discovery import discover
from amphora.contrib.django.process import check_process
from amphora.contrib.django.request_log import log_request
from amphora.contrib.django.results import fetch_result
from amphora.contrib.stand_ins.server_stand_in import ServerStandIn

if TYPE_CHECKING:
    from amphora.contrib.django.recording import ErrorRecorder

__all__ = ["LazyServer"]

#: Seconds that the last errors of functions have to reach the database when a server stops.
_FAREWELL = 5.0


class LazyServer(ServerStandIn):
    """Stands for the server of an alias: takes its functions, and makes it when it serves.

    All that `amphora.AmqpRpcServer` has is here too.

    Args:
        alias: Key of its settings in ``AMPHORA``.
    """

    def __init__(self, alias: str) -> None:
        super().__init__()
        self._alias = AliasSettings(alias)
        self._outermost: list[Any] = []
        self._stand_in: Callable[[str, Callable[..., Any]], Callable[..., Any]] | None = None
        self._recorder: ErrorRecorder | None = None

    def __repr__(self) -> str:
        real = self._made
        return f"<{type(self).__name__} {self.alias!r}{'' if real is None else f' {real!r}'}>"

    @property
    def alias(self) -> str:
        """Key of its settings in ``AMPHORA``."""
        return self._alias.alias

    @property
    def settings(self) -> ServiceSettings:
        """Its settings.

        Raises:
            ImproperlyConfigured: There is no such alias, or something is wrong with it.
        """
        return self._alias.service

    @property
    def service_name(self) -> str:
        """Namespace of the RPC service, according to the settings; nothing is made for it."""
        return self.settings.service_name

    @property
    def real(self) -> AmqpRpcServer:
        """The server of this process, made now if there is none yet.

        Raises:
            RuntimeError: The process is not monkey-patched; the text says where to do it.
            ImproperlyConfigured: Something is wrong with the settings, or with a module of handlers.
        """
        return self._per_process.get()

    def override(self, **options: Any) -> None:
        """Take other arguments than the settings' for the server that is made next.

        Args:
            options: Arguments of its constructor, which are added to those of earlier calls.
        """
        self._alias.override(options)

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions of all installed apps by their remote names (a copy).

        Raises:
            ImproperlyConfigured: A module of handlers cannot be imported.
        """
        return super().functions if apps.ready else dict(self._functions)

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

    def _on_stopped(self) -> None:
        # Errors of functions are written to the end.
        if self._recorder is not None:
            self._recorder.flush(_FAREWELL)

    def _add(self, function: Any, name: str | None) -> None:
        insist_on_alias(self.alias)
        super()._add(function, name)

    def _may_replace(self, taken: Any, function: Any) -> bool:
        return _is_loaded_again(taken, function)

    def _collect(self) -> None:
        discover()
        super()._collect()

    def _add_to(self, real: AmqpRpcServer, name: str, function: Callable[..., Any]) -> None:
        real.add_function(function if self._stand_in is None else self._stand_in(name, function), name)

    def _make(self) -> AmqpRpcServer:
        settings = self.settings
        check_process(self.alias)
        kind = AmqpRpcFanoutServer if settings.fanout else AmqpRpcServer
        server: AmqpRpcServer = self._alias.build(kind, settings.server_options)
        for middleware in self._outermost:
            server.add_middleware(middleware)
        # The first is the outermost. Errors of a commit are errors too; and what other middleware does with the
        # database is looked after as well.
        self._recorder = self._record_errors(server)
        server.add_middleware(new_middleware(self, settings, self._functions.get))
        server.add_middleware(log_request)
        server.add_middleware(fetch_result)
        return server

    def _record_errors(self, server: AmqpRpcServer) -> ErrorRecorder | None:
        """Let errors be kept for the admin (``RECORD_ERRORS``), but not those of tests and demonstrations."""
        keep = self.settings.record_errors
        if not keep or server.broker.startswith("memory:"):
            return None
        from amphora.contrib.django.recording import ErrorRecorder  # noqa: PLC0415  (models want loaded apps)

        return server.add_middleware(ErrorRecorder(self.alias, server.service_name, server.uuid, keep))


def _is_loaded_again(taken: Any, function: Any) -> bool:
    """Return whether a function is the other one from a module that was loaded once more."""
    if not (isinstance(taken, FunctionType) and isinstance(function, FunctionType)):
        return False
    same = (taken.__module__, taken.__qualname__) == (function.__module__, function.__qualname__)
    # Two functions with one name in one module are a mistake.
    anew = taken.__globals__ is not function.__globals__
    return same and (anew or taken.__code__.co_firstlineno == function.__code__.co_firstlineno)
