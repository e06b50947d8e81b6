"""`ThreadedClient`: a client for programs that are not patched by gevent, in a thread with a hub of its own."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from weakref import WeakSet

import gevent
from gevent import monkey
from gevent.event import AsyncResult, Event

from amphora.bound import bind
from amphora.caller import CallOptions, PrettyCaller
from amphora.client import AmqpRpcClient, AmqpRpcFanoutClient
from amphora.endpoint import allow_unpatched_thread
from amphora.exceptions import NoResult
from amphora.inspector import Answer, Inspector
from amphora.protocol.routing import TuningFunction

__all__ = ["ThreadedClient", "ThreadedResult", "make_client"]

logger = logging.getLogger(__name__)

Tuning = TypeVar("Tuning", bound=TuningFunction)
Service = TypeVar("Service")
Middleware = TypeVar("Middleware", bound=Callable[..., Any])

#: Options of `ThreadedClient.call`.
_OPTIONS = ("function_name", "timeout", "routing_key", "expires")

#: Seconds for which stopping may take, beyond what the client itself takes.
_FAREWELL = 10.0


class ThreadedResult:
    """What `ThreadedClient.defer` returns: the result of a call, now or later, for any thread.

    It has what is used most of a gevent ``AsyncResult``; the waiting is done by the thread, not by a
    greenlet.
    """

    def __init__(self, function: str) -> None:
        self._function = function
        self._future: Future[Any] = Future()

    def __repr__(self) -> str:
        state = "pending" if not self.ready() else "done" if self.successful() else f"{self.exception!r}"
        return f"<{type(self).__name__} of {self._function!r}: {state}>"

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the remote function's result, waiting for it if need be.

        Args:
            block: Whether to wait.
            timeout: Seconds to wait at the most; None for as long as the call may take.

        Raises:
            TimeoutError: There is no result yet (where an ``AsyncResult`` raises `gevent.Timeout`).
            AmqpRpcException: What `AmqpRpcClient.call` raises.
        """
        return self._future.result(timeout if block else 0)

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it; None if there is none yet, or an exception."""
        try:
            self._future.exception(timeout)
        except FutureTimeoutError:
            return None
        return self.value

    def ready(self) -> bool:
        """Return whether there is a result or an exception."""
        return self._future.done()

    def successful(self) -> bool:
        """Return whether there is a result that is no exception."""
        return self._future.done() and self._future.exception(0) is None

    @property
    def value(self) -> Any:
        """The result; None if there is none."""
        return self._future.result(0) if self.successful() else None

    @property
    def exception(self) -> BaseException | None:
        """The exception; None if there is none."""
        return self._future.exception(0) if self._future.done() else None

    def add_done_callback(self, callback: Callable[[ThreadedResult], Any]) -> None:
        """Have something called with this result when it is there, in the client's thread: it must not block."""
        self._future.add_done_callback(lambda _: callback(self))


class _Job:
    """A function to run in the client's thread, and who waits for it.

    Args:
        function: Called with the client.
        context: The context variables of the thread that asks.
    """

    __slots__ = ("context", "function", "greenlet", "outcome")

    def __init__(self, function: Callable[[AmqpRpcClient], Any], context: Context) -> None:
        self.function = function
        self.context = context
        self.outcome: Future[Any] = Future()
        self.greenlet: gevent.Greenlet[..., None] | None = None

    def run(self, client: AmqpRpcClient) -> None:
        """Run it, in a greenlet of its own."""
        try:
            value = self.context.run(self.function, client)
        except gevent.GreenletExit:
            self.end(NoResult("the client was stopped"))
        except BaseException as error:  # noqa: BLE001  (it is raised in the thread that waits)
            self.end(error)
        else:
            if not self.outcome.done():
                self.outcome.set_result(value)

    def end(self, error: BaseException) -> None:
        """End it with an error, unless it has ended."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class _Hub:
    """A thread with a gevent hub in which one client lives.

    Args:
        make: Makes the client.
        name: Name of the thread.
    """

    def __init__(self, make: Callable[[], AmqpRpcClient], name: str) -> None:
        self._make = make
        self._jobs: deque[_Job] = deque()
        self._abandoned: deque[_Job] = deque()
        self._begun: set[_Job] = set()
        self._ended = False
        self._stopping = False
        self._waker: Any = None
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, args=(started,), name=name, daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            # What a signal's handler raises, perhaps.
            self._stopping = True
            self._wake()
            raise

    # -- for any thread ---------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it is there to run functions."""
        return not self._ended

    def run(self, function: Callable[[AmqpRpcClient], Any]) -> Any:
        """Run a function with the client in a greenlet there, and wait for it.

        Raises:
            BaseException: What it raises. Or what a signal's handler raises here: then the greenlet is killed.
        """
        job = _Job(function, copy_context())
        try:
            self._post(job)
            return job.outcome.result()
        except BaseException:
            if not job.outcome.done():
                self._abandoned.append(job)
                self._wake()
            raise

    def stop(self) -> None:
        """Stop the client and end the thread."""
        self._stopping = True
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join(_FAREWELL + 10.0)

    def _post(self, job: _Job) -> None:
        self._jobs.append(job)
        self._wake()
        if self._ended:
            # It may have been too late for the thread to see it.
            job.end(NoResult("the client was stopped"))

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            # (Of a hub that is destroyed in this moment.)
            with suppress(ValueError):
                waker.send()

    # -- in the thread ----------------------------------------------------------------------

    def _main(self, started: Future[None]) -> None:
        allow_unpatched_thread()
        hub = gevent.get_hub()
        woken = Event()
        waker = hub.loop.async_()
        waker.start(woken.set)
        client: AmqpRpcClient | None = None
        try:
            client = self._make()
            self._waker = waker
            started.set_result(None)
            while not self._stopping:
                woken.wait()
                woken.clear()
                self._work(client)
        except BaseException as error:  # noqa: BLE001  (it is raised in the thread that waits)
            if not started.done():
                started.set_exception(error)
            else:
                self._fail_all(error)
        finally:
            self._ended = True
            if client is not None:
                client.stop()
                if unsent := client.stats()["outbox"]:
                    logger.error("%r ended with %d requests that the broker has not got", client, unsent)
            gevent.killall([job.greenlet for job in self._begun if job.greenlet is not None], timeout=1.0)
            self._fail_all(NoResult("the client was stopped"))
            self._waker = None
            waker.stop()
            waker.close()
            hub.destroy(destroy_loop=True)

    def _work(self, client: AmqpRpcClient) -> None:
        """Begin what was asked for, and end what nobody waits for any more."""
        while self._jobs:
            job = self._jobs.popleft()
            self._begun.add(job)
            job.greenlet = gevent.spawn(self._run, job, client)
        while self._abandoned:
            job = self._abandoned.popleft()
            # One that has not begun to run never will, and so cannot do this itself.
            self._begun.discard(job)
            if job.greenlet is not None:
                job.greenlet.kill(block=False)

    def _run(self, job: _Job, client: AmqpRpcClient) -> None:
        try:
            job.run(client)
        finally:
            self._begun.discard(job)

    def _fail_all(self, error: BaseException) -> None:
        for job in [*self._begun, *self._jobs]:
            job.end(error)
        self._jobs.clear()


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
        self._caller = PrettyCaller(self._call, _OPTIONS)
        self._deferring_caller = PrettyCaller(self._defer, (*_OPTIONS, "wait_publish"))
        self._inspector = Inspector(self._gather)
        self._tunings: list[tuple[str, TuningFunction]] = []
        self._middleware: list[Callable[..., Any]] = []
        self._lock = threading.Lock()
        self._first_pid = os.getpid()
        self._pid = 0
        self._hub: _Hub | None = None
        self._started()
        _clients.add(self)

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
    def inspect(self) -> Inspector:
        """Ask all servers of the service at once; see `AmqpRpcClient.inspect`."""
        return self._inspector

    def bind(self, service: Callable[..., Service], *, prefix: str = "", **options: Any) -> Service:
        """Give remote functions as the methods of a class; see `AmqpRpcClient.bind`."""
        caller = self._caller(**options)
        for name in prefix.split(".") if prefix else ():
            caller = getattr(caller, name)
        return cast("Service", bind(caller, service))

    def __getattr__(self, name: str) -> Any:
        """Give what else a client has: its methods run in the client's thread, and properties are read there."""
        if name.startswith("_"):
            raise AttributeError(name)
        member = getattr(self._class, name)
        if not callable(member):
            return self._run(lambda client: getattr(client, name))

        def method(*args: Any, **kwargs: Any) -> Any:
            return self._run(lambda client: getattr(client, name)(*args, **kwargs))

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
        """Disconnect from the broker and end the thread; calls that wait end with `NoResult`.

        Takes some seconds at the most. What the broker has not confirmed by then is gone; the next call connects
        again.
        """
        with self._lock:
            hub, self._hub = self._hub, None
        if hub is not None and self._pid == os.getpid():
            hub.stop()

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # -- how it is done ---------------------------------------------------------------------

    def _started(self) -> _Hub:
        hub = self._hub
        if hub is not None and hub.usable and self._pid == os.getpid():
            return hub
        with self._lock:
            if self._hub is None or not self._hub.usable or self._pid != os.getpid():
                self._hub, self._pid = _Hub(self._make, f"amphora {self._service_name} client"), os.getpid()
            return self._hub

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
        return client

    def _run(self, function: Callable[[AmqpRpcClient], Any]) -> Any:
        return self._started().run(function)

    def _gather(self, function: str, timeout: float, limit: int | None) -> list[Answer]:
        answers: list[Answer] = self._run(lambda client: client._gather(function, timeout, limit))
        return answers

    def _call(self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._run(lambda client: client.call(function_name=function, **options)(*args, **kwargs))

    def _defer(
        self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ThreadedResult:
        deferred = ThreadedResult(function)
        future = deferred._future

        def finish(result: AsyncResult[Any]) -> None:
            if result.exception is None:
                future.set_result(result.value)
            else:
                future.set_exception(result.exception)

        def begin(client: AmqpRpcClient) -> None:
            client.defer(function_name=function, **options)(*args, **kwargs).rawlink(finish)

        self._run(begin)
        return deferred


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


#: Those that are to be stopped at the end of the process.
_clients: WeakSet[ThreadedClient] = WeakSet()


@atexit.register
def _stop_all() -> None:
    for client in list(_clients):
        client.stop()


def _renew_locks() -> None:
    """In a child of a fork: another thread of the parent may have held a lock, and is not there any more."""
    for client in list(_clients):
        client._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def _check_threads() -> None:
    if monkey.is_module_patched("threading") or monkey.is_module_patched("thread"):
        raise RuntimeError("gevent has patched this program: use AmqpRpcClient, which needs no thread of its own")
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        raise RuntimeError("eventlet has patched threads, and Amphora works with gevent: use that, or plain threads")
