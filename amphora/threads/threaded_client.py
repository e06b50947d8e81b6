"""`ThreadedClient`: a client for programs that are not patched by gevent, in a thread with a hub of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Self, TypeVar, cast

from gevent import monkey
from gevent.event import AsyncResult

from amphora.client.bound import bind
from amphora.client.caller import CALL_OPTIONS, CAST_OPTIONS, DEFER_OPTIONS, CallOptions, PrettyCaller
from amphora.client.client import AmqpRpcClient
from amphora.client.fanout import AmqpRpcFanoutClient
from amphora.client.inspector import Answer, Counts, Inspector
from amphora.endpoint.at_exit import leave_at_exit
from amphora.endpoint.per_process import PerProcess
from amphora.protocol.routing import TuningFunction
from amphora.threads.hub_thread import HubThread
from amphora.threads.threaded_result import ThreadedResult

__all__ = ["ThreadedClient", "make_client"]

Tuning = TypeVar("Tuning", bound=TuningFunction)
Bound = TypeVar("Bound")
Middleware = TypeVar("Middleware", bound=Callable[..., Any])


class ThreadedClient:
    """Calls the functions of an RPC service from a program that gevent has not patched.

    ::

        client = ThreadedClient("math")
        client.call.add(1, 2)                   # 3
        client.defer.add(1, 2).get(timeout=5)   # 3

    An `AmqpRpcClient` lives in a thread of its own, with a gevent hub of its own; any thread may call
    it through this one, and waits as threads do: a signal's handler in the main thread may end the
    waiting by raising an exception. What is guaranteed is what `AmqpRpcClient` guarantees. After a fork,
    the child's first call makes a client of the child's own.

    Middleware and tuning functions run in the client's thread, with the context variables of the
    caller; they must not block that thread. See docs/threads.md.

    Args:
        service_name: Namespace of the RPC service.
        fanout: Whether it is a fan-out service, see `AmqpRpcFanoutClient`.
        options: Further arguments of `AmqpRpcClient`.

    Raises:
        RuntimeError: gevent (or eventlet) has patched threads: threads that are greenlets cannot wait
            for another hub. `AmqpRpcClient` is the one for patched programs.
        TypeError, ValueError: An argument is wrong.
    """

    def __init__(self, service_name: str, *, fanout: bool = False, **options: Any) -> None:
        _check_threads()
        self._class = AmqpRpcFanoutClient if fanout else AmqpRpcClient
        self._service_name = service_name
        self._options = options
        self._caller = PrettyCaller(self._call, CALL_OPTIONS)
        self._deferring_caller = PrettyCaller(self._defer, DEFER_OPTIONS)
        self._casting_caller = PrettyCaller(self._cast, CAST_OPTIONS)
        self._inspector = Inspector(self._gather)
        self._tunings: list[tuple[str, TuningFunction]] = []
        self._middleware: list[Callable[..., Any]] = []
        self._first_pid = os.getpid()
        self._hub: PerProcess[HubThread] = PerProcess(self._make_hub, usable=lambda hub: hub.usable)
        # The process, and the client of its thread that was started last: its counts can be read after a stop.
        self._latest: tuple[int, AmqpRpcClient] | None = None
        self._started()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._service_name!r}{' fanout' if self._class._fanout else ''}>"

    @property
    def service_name(self) -> str:
        """Name of the service."""
        return self._service_name

    @property
    def call(self) -> PrettyCaller:
        """Call a remote function and wait for its result; see `AmqpRpcClient.call`."""
        return self._caller

    @property
    def defer(self) -> PrettyCaller:
        """Call a remote function without waiting for its result; see `AmqpRpcClient.defer`.

        Returns:
            A `PrettyCaller`; calling it returns a `ThreadedResult`.
        """
        return self._deferring_caller

    @property
    def cast(self) -> PrettyCaller:
        """Have a remote function run, without a reply; see `AmqpRpcClient.cast`."""
        return self._casting_caller

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the broker has confirmed or refused every request sent before; see `AmqpRpcClient.flush`.

        After `stop`, it returns whether the broker had confirmed them when the client stopped.
        """
        latest = self._latest
        if self._hub.made is None and latest is not None and latest[0] == os.getpid():
            return latest[1]._calls.unconfirmed() == []
        return bool(self._run(lambda client: client.flush(timeout)))

    @property
    def inspect(self) -> Inspector:
        """Ask all servers of the service at once; see `AmqpRpcClient.inspect`."""
        return self._inspector

    def bind(self, service: Callable[..., Bound], *, prefix: str = "", **options: Any) -> Bound:
        """Give remote functions as the methods of a class; see `AmqpRpcClient.bind`."""
        return cast("Bound", bind(self._caller, service, prefix=prefix, options=options))

    def __getattr__(self, name: str) -> Any:
        """Give what else a client has: its methods run in the client's thread, and properties are read there.

        What only tells how the client is does not connect one that is stopped.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        member = getattr(self._class, name)
        if not callable(member):
            return self._read(lambda client: getattr(client, name))
        run = self._read if name in _READS else self._run

        def method(*args: Any, **kwargs: Any) -> Any:
            return run(lambda client: getattr(client, name)(*args, **kwargs))

        return method

    def tune_function(self, func_name: str) -> Callable[[Tuning], Tuning]:
        """Choose the routing key of a remote function's calls; see `AmqpRpcClient.tune_function`."""

        def decorate(tuning: Tuning) -> Tuning:
            self._run(lambda client: client.tune_function(func_name)(tuning))
            self._tunings.append((func_name, tuning))
            return tuning

        return decorate

    def add_middleware(self, middleware: Middleware) -> Middleware:
        """Run a function around every sending; see `AmqpRpcClient.add_middleware`."""
        self._run(lambda client: client.add_middleware(middleware))
        self._middleware.append(middleware)
        return middleware

    def serve(self) -> None:
        """Connect to the broker, again after `stop`."""
        self._started()

    def stop(self) -> None:
        """Disconnect from the broker and end the thread.

        Requests that the broker has not confirmed are waited for, up to ``exit_timeout``. Those that are left then are
        lost, and an ERROR record says how many there are and which functions they call. Calls and deferred results
        that have no result yet end with `NoResult`. The next call connects again.
        """
        hub = self._hub.take()
        if hub is not None:
            hub.stop()

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # -- how it is done ---------------------------------------------------------------------

    def _started(self) -> HubThread:
        return self._hub.get()

    def _make_hub(self) -> HubThread:
        hub = HubThread(self._make, f"amphora {self._service_name} client")
        leave_at_exit(hub)
        return hub

    def _make(self) -> AmqpRpcClient:
        options = dict(self._options)
        if os.getpid() != self._first_pid:
            # It is the parent's.
            options.pop("uuid", None)
        client = self._class(self._service_name, **options)
        for name, tuning in self._tunings:
            client.tune_function(name)(tuning)
        for middleware in self._middleware:
            client.add_middleware(middleware)
        self._latest = os.getpid(), client
        return client

    def _run(self, function: Callable[[AmqpRpcClient], Any]) -> Any:
        return self._started().run(function)

    def _read(self, function: Callable[[AmqpRpcClient], Any]) -> Any:
        latest = self._latest
        if self._hub.made is None and latest is not None and latest[0] == os.getpid():
            return function(latest[1])
        return self._run(function)

    def _call(self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._run(lambda client: client.call(function_name=function, **options)(*args, **kwargs))

    def _cast(self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._run(lambda client: client.cast(function_name=function, **options)(*args, **kwargs))

    def _gather(self, function: str, timeout: float, limit: int | None, counts: Counts) -> list[Answer]:
        return cast("list[Answer]", self._run(lambda client: client.gather(function, timeout, limit, counts)))

    def _defer(
        self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ThreadedResult:
        deferred = ThreadedResult(function)

        def begin(client: AmqpRpcClient) -> AsyncResult[Any]:
            return cast("AsyncResult[Any]", client.defer(function_name=function, **options)(*args, **kwargs))

        self._started().defer(begin, deferred._future)
        return deferred


#: Methods that tell how a client is, and do nothing.
_READS = frozenset({"stats", "health", "confirm_times"})


def make_client(service_name: str, *, fanout: bool = False, **options: Any) -> AmqpRpcClient | ThreadedClient:
    """Make the client that fits this program: for code that runs in patched programs and in others.

    Args:
        service_name: Namespace of the RPC service.
        fanout: Whether it is a fan-out service.
        options: Further arguments of `AmqpRpcClient`.

    Returns:
        An `AmqpRpcClient` (or `AmqpRpcFanoutClient`) where gevent has patched the program, else a `ThreadedClient`.

    Raises:
        RuntimeError, TypeError, ValueError: See `ThreadedClient`.
    """
    if monkey.is_module_patched("socket"):
        kind = AmqpRpcFanoutClient if fanout else AmqpRpcClient
        return kind(service_name, **options)
    return ThreadedClient(service_name, fanout=fanout, **options)


def _check_threads() -> None:
    if monkey.is_module_patched("threading") or monkey.is_module_patched("thread"):
        raise RuntimeError("gevent has patched this program: use AmqpRpcClient, which needs no thread of its own")
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        raise RuntimeError("eventlet has patched threads, and Amphora works with gevent: use that, or plain threads")
