"""``servers`` and ``clients``: stand-ins by alias, which make the real endpoints when they are needed."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.apps import apps

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    BrokerError,
    PrettyCaller,
    make_client,
)
from amphora.contrib.django.conf import DEFAULT_ALIAS, insist_on_alias, services
from amphora.contrib.django.connections import new_middleware
from amphora.contrib.django.discovery import discover
from amphora.contrib.django.lazy import LazyEndpoint
from amphora.contrib.django.on_commit import caller_on_commit
from amphora.contrib.django.process import check_process
from amphora.contrib.django.request_log import log_request
from amphora.contrib.django.results import fetch_result

if TYPE_CHECKING:
    from amphora.contrib.django.recording import ErrorRecorder

__all__ = ["LazyClient", "LazyServer", "client", "clients", "server", "servers"]

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
StandIn = TypeVar("StandIn", bound=LazyEndpoint[Any])

#: Seconds that the last errors of functions have to reach the database when a server stops, and the last requests the
#: broker when the process ends.
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
        if func is not None and not isinstance(func, str):
            return self._add(func, name)
        if func is not None and name is not None:
            raise TypeError(f"add_function takes the function first: add_function(func, name={func!r})")
        wanted = name if func is None else func
        if wanted is None:
            raise TypeError("add_function needs a function or a name")
        return lambda function: self._add(function, wanted)

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

    def _add(self, function: Function, name: str | None) -> Function:
        insist_on_alias(self.alias)
        wanted = _name_of(function, name)
        taken = self._functions.get(wanted)
        if taken is not None and taken is not function and not _is_loaded_again(taken, function):
            raise ValueError(f"there is already a remote function {wanted!r} of {self!r}: {taken!r}")
        if (real := self._made()) is not None:
            self._add_to(real, wanted, function)
        self._functions[wanted] = function
        return function

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
        server = self._build(kind, settings, settings.server_options)
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


class LazyClient(LazyEndpoint[AmqpRpcClient]):
    """Stands for the client of an alias, and makes it on first use, one for each process.

    All that `amphora.AmqpRpcClient` has is here too.
    """

    _like = AmqpRpcClient

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._tunings: list[tuple[str, Any]] = []
        self._in_thread = False

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
        """Call a remote function when the transaction commits, and not if it is rolled back.

        ``client.defer_on_commit.name(...)``, or with options ``client.defer_on_commit(using="other").name(...)``.
        Outside of a transaction the call is sent at once. It is sent by `django.db.transaction.on_commit`: in a
        `django.test.TestCase`, see ``captureOnCommitCallbacks``.

        Options:
            using (str): Alias of the database whose transaction is meant; by default the setting ``USING``.
            robust (bool): Whether an error of sending is logged, instead of raised when the transaction has
                committed, where it would keep other callbacks from running. Off by default.
            All options of `defer`: with ``wait_publish=False`` no view waits for the broker.

        Returns:
            A `PrettyCaller`; calling it returns None, as there is no result before the commit.

        Raises:
            TypeError: An argument cannot be encoded; raised at once, so that the transaction is rolled back.
        """
        return caller_on_commit(self)

    def tune_function(self, func_name: str) -> Callable[[Function], Function]:
        """Choose the routing key of a remote function's calls; see `amphora.AmqpRpcClient.tune_function`."""

        def decorate(tuning: Function) -> Function:
            self._tunings.append((func_name, tuning))
            if (real := self._made()) is not None:
                real.tune_function(func_name)(tuning)
            return tuning

        return decorate

    def allow_thread(self) -> None:
        """Let the client of a process that is not patched live in a thread of its own, instead of being refused.

        For processes such as those of Celery's prefork pool. It is a `amphora.ThreadedClient` there.
        """
        self._in_thread = True

    def _make(self) -> AmqpRpcClient:
        settings = self.settings
        kind: Any = AmqpRpcFanoutClient if settings.fanout else AmqpRpcClient
        if self._in_thread:
            kind = partial(make_client, fanout=settings.fanout)
        else:
            check_process(self.alias)
        client: AmqpRpcClient = self._build(kind, settings, settings.client_options)
        for name, tuning in self._tunings:
            client.tune_function(name)(tuning)
        return client


class Endpoints(Generic[StandIn]):
    """Stand-ins by alias, each made once; iterates over the aliases of the settings."""

    def __init__(self, kind: Callable[[str], StandIn]) -> None:
        self._kind = kind
        self._stand_ins: dict[str, StandIn] = {}

    def __getitem__(self, alias: str) -> StandIn:
        insist_on_alias(alias)
        return self._stand_in(alias)

    def __repr__(self) -> str:
        return f"<stand-ins {', '.join(map(repr, self._stand_ins.values()))}>"

    def __iter__(self) -> Iterator[str]:
        return iter(services())

    def __len__(self) -> int:
        return len(services())

    @property
    def default(self) -> StandIn:
        """The stand-in of the default alias, whether or not the settings have it (they may not be read yet)."""
        return self._stand_in(DEFAULT_ALIAS)

    def all(self) -> list[StandIn]:
        """Return the stand-ins of all aliases of the settings."""
        return [self[alias] for alias in self]

    def made(self) -> list[StandIn]:
        """Return the stand-ins that have an endpoint in this process."""
        return [stand_in for stand_in in self._stand_ins.values() if stand_in.made]

    def reset(self) -> None:
        """Stop all endpoints of this process; the next use makes others."""
        for stand_in in self.made():
            stand_in.reset()

    def _stand_in(self, alias: str) -> StandIn:
        if alias not in self._stand_ins:
            self._stand_ins.setdefault(alias, self._kind(alias))
        return self._stand_ins[alias]


def _name_of(function: Any, name: Any) -> str:
    if not callable(function):
        raise TypeError(f"only a callable can be a remote function, not {function!r}")
    wanted = getattr(function, "__name__", None) if name is None else name
    if wanted is None:
        raise TypeError(f"{function!r} has no __name__: give it a name")
    if not isinstance(wanted, str):
        raise TypeError(f"the name of a remote function must be a str, not {wanted!r}")
    if not wanted:
        raise ValueError("the name of a remote function must not be empty")
    return wanted


def _is_loaded_again(taken: Any, function: Any) -> bool:
    """Tell whether a function is the other one from a module that was loaded once more."""
    if not (isinstance(taken, FunctionType) and isinstance(function, FunctionType)):
        return False
    same = (taken.__module__, taken.__qualname__) == (function.__module__, function.__qualname__)
    # Two functions with one name in one module are a mistake.
    anew = taken.__globals__ is not function.__globals__
    return same and (anew or taken.__code__.co_firstlineno == function.__code__.co_firstlineno)


servers: Endpoints[LazyServer] = Endpoints(LazyServer)
clients: Endpoints[LazyClient] = Endpoints(LazyClient)
server = servers.default
client = clients.default


def _stop_at_exit() -> None:
    """Send what waits, and give requests back, before the process ends; a forked child has none of its parent's."""
    for each in clients.made():
        if each.stats()["outbox"]:
            # A short program may end before it is connected.
            with suppress(BrokerError):
                each.wait_connected(_FAREWELL)
        each.stop()
        if unsent := each.stats()["outbox"]:
            logger.error(
                "AMPHORA[%r]: the process ends with %d requests that the broker has not got", each.alias, unsent
            )
    servers.reset()


atexit.register(_stop_at_exit)
