"""``servers`` and ``clients``: stand-ins by alias, which make the real endpoints when they are needed."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer, PrettyCaller
from amphora.contrib.django.conf import DEFAULT_ALIAS, ServiceSettings, service, services
from amphora.contrib.django.connections import new_middleware
from amphora.contrib.django.discovery import discover
from amphora.contrib.django.on_commit import caller_on_commit
from amphora.contrib.django.process import check_process
from amphora.contrib.django.request_log import log_request

if TYPE_CHECKING:
    from amphora.contrib.django.recording import ErrorRecorder

__all__ = ["LazyClient", "LazyServer", "client", "clients", "server", "servers"]

Function = TypeVar("Function", bound=Callable[..., Any])
StandIn = TypeVar("StandIn", bound="_Lazy[Any]")
Real = TypeVar("Real", AmqpRpcServer, AmqpRpcClient)


#: Seconds that the last errors of functions have to reach the database when a server stops.
_FAREWELL = 5.0


class _Lazy(Generic[Real]):
    """Makes an endpoint on first use, one for each process.

    Args:
        alias: Key of its settings in ``AMPHORA``.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._real: Real | None = None
        self._pid = 0
        self._overrides: dict[str, Any] = {}
        self._middleware: list[Any] = []
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alias!r}{'' if self._made() is None else f' {self._real!r}'}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.real, name)

    def __enter__(self) -> Self:
        self.real.serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def settings(self) -> ServiceSettings:
        """Its settings."""
        return service(self.alias)

    @property
    def real(self) -> Real:
        """The endpoint of this process, made now if there is none yet."""
        real = self._made()
        if real is None:
            with self._lock:
                real = self._made()
                if real is None:
                    check_process()
                    real = self._make()
                    for middleware in self._middleware:
                        real.add_middleware(middleware)
                    self._real, self._pid = real, os.getpid()
        return real

    @property
    def made(self) -> bool:
        """Whether this process has the endpoint already."""
        return self._made() is not None

    def override(self, **options: Any) -> None:
        """Take other arguments than the settings' for the endpoint that is made next.

        Args:
            options: Arguments of its constructor.
        """
        self._overrides.update(options)

    def add_middleware(self, middleware: Function) -> Function:
        """Add a middleware, to the endpoint that there is and to those made later; a call or a decorator."""
        self._middleware.append(middleware)
        if (real := self._made()) is not None:
            real.add_middleware(middleware)
        return middleware

    def reset(self) -> None:
        """Stop the endpoint of this process, if there is one; the next use makes another."""
        if self.made:
            self.stop()
        self._real = None

    def _made(self) -> Real | None:
        return self._real if self._pid == os.getpid() else None

    def _make(self) -> Real:
        raise NotImplementedError


class LazyServer(_Lazy[AmqpRpcServer]):
    """Stands for the server of an alias: takes its functions, and makes it when it serves.

    All that `amphora.AmqpRpcServer` has is here too.
    """

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._recorder: ErrorRecorder | None = None

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions by their remote names (a copy)."""
        discover()
        return dict(self._functions)

    def add_function(self, func: Any = None, name: str | None = None) -> Any:
        """Add a remote function; see `amphora.AmqpRpcServer.add_function`."""
        if func is None or isinstance(func, str):
            wanted = name if func is None else func
            return lambda function: self._add(function, wanted)
        return self._add(func, name)

    def stop(self) -> None:
        """Disconnect from the broker; see `amphora.AmqpRpcServer.stop`. Errors of functions are written to the end."""
        self.real.stop()
        if self._recorder is not None:
            self._recorder.flush(_FAREWELL)

    def _add(self, function: Function, name: str | None) -> Function:
        wanted = function.__name__ if name is None else name
        self._functions[wanted] = function
        if (real := self._made()) is not None:
            real.add_function(function, wanted)
        return function

    def _make(self) -> AmqpRpcServer:
        discover()
        settings = self.settings
        kind = AmqpRpcFanoutServer if settings.fanout else AmqpRpcServer
        server = kind(settings.service_name, **{**settings.server_options, **self._overrides})
        # The first is the outermost: what other middleware does with the database is looked after too.
        server.add_middleware(new_middleware(self, settings, self._functions.get))
        server.add_middleware(log_request)
        self._recorder = self._record_errors(server)
        for name, function in self._functions.items():
            server.add_function(function, name)
        return server

    def _record_errors(self, server: AmqpRpcServer) -> ErrorRecorder | None:
        """Let errors be kept for the admin (``RECORD_ERRORS``), but not those of tests and demonstrations."""
        keep = self.settings.record_errors
        if not keep or server.broker.startswith("memory:"):
            return None
        from amphora.contrib.django.recording import ErrorRecorder  # noqa: PLC0415  (models want loaded apps)

        return server.add_middleware(ErrorRecorder(self.alias, server.service_name, server.uuid, keep))


class LazyClient(_Lazy[AmqpRpcClient]):
    """Stands for the client of an alias, and makes it on first use, one for each process.

    All that `amphora.AmqpRpcClient` has is here too.
    """

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._tunings: list[tuple[str, Any]] = []

    @property
    def call(self) -> PrettyCaller:
        """Call a remote function and wait for its result; see `amphora.AmqpRpcClient.call`."""
        return self.real.call

    @property
    def defer(self) -> PrettyCaller:
        """Call a remote function without waiting for its result; see `amphora.AmqpRpcClient.defer`."""
        return self.real.defer

    @property
    def defer_on_commit(self) -> PrettyCaller:
        """Like `defer`, but sent when the transaction commits, and not if it is rolled back."""
        return caller_on_commit(self)

    def tune_function(self, func_name: str) -> Callable[[Function], Function]:
        """Choose the routing key of a remote function's calls; see `amphora.AmqpRpcClient.tune_function`."""

        def decorate(tuning: Function) -> Function:
            self._tunings.append((func_name, tuning))
            if (real := self._made()) is not None:
                real.tune_function(func_name)(tuning)
            return tuning

        return decorate

    def _make(self) -> AmqpRpcClient:
        settings = self.settings
        kind = AmqpRpcFanoutClient if settings.fanout else AmqpRpcClient
        client = kind(settings.service_name, **{**settings.client_options, **self._overrides})
        for name, tuning in self._tunings:
            client.tune_function(name)(tuning)
        return client


class Endpoints(Generic[StandIn]):
    """Stand-ins by alias, each made once; iterates over the aliases of the settings."""

    def __init__(self, kind: Callable[[str], StandIn]) -> None:
        self._kind = kind
        self._made: dict[str, StandIn] = {DEFAULT_ALIAS: kind(DEFAULT_ALIAS)}

    def __getitem__(self, alias: str) -> StandIn:
        if alias not in self._made:
            service(alias)
            self._made.setdefault(alias, self._kind(alias))
        return self._made[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(services())

    def __len__(self) -> int:
        return len(services())

    def all(self) -> list[StandIn]:
        """Return the stand-ins of all aliases of the settings."""
        return [self[alias] for alias in self]

    def reset(self) -> None:
        """Stop all endpoints of this process; the next use makes others."""
        for stand_in in self._made.values():
            stand_in.reset()


servers: Endpoints[LazyServer] = Endpoints(LazyServer)
clients: Endpoints[LazyClient] = Endpoints(LazyClient)
server = servers[DEFAULT_ALIAS]
client = clients[DEFAULT_ALIAS]

atexit.register(clients.reset)
