"""Stand-ins for a server and a client, which are made from the settings when they are needed."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from threading import RLock
from typing import Any, ClassVar, Self, TypeVar
from weakref import WeakSet

from celery.exceptions import ImproperlyConfigured

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    PrettyCaller,
    add_or_decorate,
    make_client,
    remote_name,
)
from amphora.contrib.celery.conf import Conf
from amphora.contrib.stand_ins import lazy_attribute, leave, stop_for_good

__all__ = ["LazyClient", "LazyServer"]

Function = TypeVar("Function", bound=Callable[..., Any])


class _Lazy:
    """Makes one endpoint for each process, when it is first used.

    Args:
        conf: The settings.
        fanout: Whether it is that of the fan-out service.
    """

    #: The class whose public names it has.
    _like: ClassVar[type]

    def __init__(self, conf: Conf, *, fanout: bool = False) -> None:
        self._conf = conf
        self._fanout = fanout
        self._lock = RLock()
        self._pid: int | None = None
        self._real: Any = None
        self._middleware: list[Any] = []
        _all.add(self)

    def __repr__(self) -> str:
        kind = f"{type(self).__name__}{' fanout' if self._fanout else ''}"
        return f"<{kind} {self._real!r}>" if self.made else f"<{kind}, not used yet>"

    def __getattr__(self, name: str) -> Any:
        return lazy_attribute(self, self._like, name, self._get)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._like) if not name.startswith("_"))})

    def __enter__(self) -> Self:
        self._get().serve()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def made(self) -> bool:
        """Whether this process has made it already."""
        return self._pid == os.getpid()

    @property
    def service_name(self) -> str:
        """Name of the service."""
        if self.made:
            return str(self._real.service_name)
        name: str = self._conf.fanout_service_name if self._fanout else self._conf.service_name
        return name

    @property
    def real(self) -> Any:
        """The endpoint itself, made now if this process has none yet.

        Raises:
            ImproperlyConfigured: A setting is unknown, or missing.
        """
        return self._get()

    def _get(self) -> Any:
        # (A method: what raises an AttributeError in a property is taken for a missing one, and asked for again.)
        if not self.made:
            with self._lock:
                if not self.made:
                    self._conf.check()
                    try:
                        real = self._make()
                    except (TypeError, ValueError) as error:
                        raise ImproperlyConfigured(f"the amphora_* settings: {error}") from error
                    for middleware in self._middleware:
                        real.add_middleware(middleware)
                    self._real, self._pid = real, os.getpid()
        return self._real

    def add_middleware(self, middleware: Function) -> Function:
        """Add middleware, now or when the endpoint is made; a call or a decorator."""
        self._middleware.append(middleware)
        if self.made:
            self._real.add_middleware(middleware)
        return middleware

    def stop(self) -> None:
        """Disconnect from the broker, as the real one does; one that was not made has nothing to disconnect."""
        if self.made:
            self._real.stop()

    def reset(self) -> None:
        """Stop the endpoint of this process, if there is one; the next use makes another, from the settings then."""
        if self.made:
            self._pid, real = None, self._real
            self._real = None
            stop_for_good(real)

    def forget_parent(self) -> None:
        """Leave the endpoint to the parent, in a child that was just forked."""
        self._real = None
        # Held, perhaps, by a thread that is the parent's.
        self._lock = RLock()

    def _make(self) -> Any:
        raise NotImplementedError


_all: WeakSet[_Lazy] = WeakSet()


def _forget_parent() -> None:
    for endpoint in list(_all):
        endpoint.forget_parent()


os.register_at_fork(after_in_child=_forget_parent)


class LazyServer(_Lazy):
    """Takes functions at once, and is made when a process serves.

    Everything else is as on the server itself, see `AmqpRpcServer`.

    Args:
        conf: The settings.
        fanout: Whether it is that of the fan-out service.
    """

    _like = AmqpRpcServer

    def __init__(self, conf: Conf, *, fanout: bool = False) -> None:
        super().__init__(conf, fanout=fanout)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._sources: list[Callable[[], None]] = []
        self._listeners: list[Callable[[str, Callable[..., Any]], None]] = []
        self._successor: Any = None

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions by their remote names (a copy)."""
        self._ask_sources()
        return dict(self._functions)

    def add_source(self, source: Callable[[], None]) -> None:
        """Call something each time before the functions are needed: it may add some."""
        self._sources.append(source)

    def on_function(self, listener: Callable[[str, Callable[..., Any]], None]) -> None:
        """Call something with name and function of each one that is added from now on."""
        self._listeners.append(listener)

    def handed_over(self, successor: Any) -> dict[str, Callable[..., Any]]:
        """Give the functions to another server, which takes those that are added later too.

        Args:
            successor: Has the methods of `AmqpRpcServer`.

        Returns:
            The functions so far, for it to add.
        """
        functions, self._functions = self._functions, {}
        self._successor = successor
        return functions

    def add_function(self, func: Any = None, name: str | None = None) -> Any:
        """Add a remote function; a call or a decorator, see `AmqpRpcServer.add_function`.

        Raises:
            TypeError, ValueError: As there.
        """
        return add_or_decorate(self._add, func, name)

    def _add(self, function: Any, name: str | None) -> None:
        if self._successor is not None:
            self._successor.add_function(function, name)
            return
        wanted = remote_name(function, name)
        known = self._functions.get(wanted)
        if known is not None and known is not function:
            raise ValueError(f"there is already a remote function {wanted!r}: {known!r}")
        if known is None and self.made:
            self._real.add_function(function, wanted)
        self._functions[wanted] = function
        for listener in self._listeners:
            listener(wanted, function)

    def _ask_sources(self) -> None:
        for source in self._sources:
            source()

    def _make(self) -> Any:
        self._ask_sources()
        kind = AmqpRpcFanoutServer if self._fanout else AmqpRpcServer
        server = kind(self.service_name, **self._conf.server_options())
        for name, function in self._functions.items():
            server.add_function(function, name)
        return server


class LazyClient(_Lazy):
    """Is made when it is first used, in each process that uses it.

    In a program that gevent has not patched (the prefork, threads and solo pools, most web servers) it is
    a `ThreadedClient`. Everything else is as on the client itself, see `AmqpRpcClient`.
    """

    _like = AmqpRpcClient

    def __init__(self, conf: Conf, *, fanout: bool = False) -> None:
        super().__init__(conf, fanout=fanout)
        self._tunings: list[tuple[str, Any]] = []
        _clients.add(self)

    @property
    def call(self) -> PrettyCaller:
        """Call a remote function and wait for its result; see `AmqpRpcClient.call`."""
        caller: PrettyCaller = self._get().call
        return caller

    @property
    def defer(self) -> PrettyCaller:
        """Call a remote function without waiting for its result; see `AmqpRpcClient.defer`."""
        caller: PrettyCaller = self._get().defer
        return caller

    def tune_function(self, func_name: str) -> Callable[[Function], Function]:
        """Choose the routing key of a remote function's calls; see `AmqpRpcClient.tune_function`."""

        def decorate(tuning: Function) -> Function:
            self._tunings.append((func_name, tuning))
            if self.made:
                self._real.tune_function(func_name)(tuning)
            return tuning

        return decorate

    def _make(self) -> Any:
        client = make_client(self.service_name, fanout=self._fanout, **self._conf.client_options())
        for name, tuning in self._tunings:
            client.tune_function(name)(tuning)
        return client


#: Those that are to be stopped at the end of the process: what they have not sent yet leaves before that.
_clients: WeakSet[LazyClient] = WeakSet()


@atexit.register
def _stop_clients() -> None:
    leave()
    for client in list(_clients):
        client.reset()
