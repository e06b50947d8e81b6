"""`LocalService`: a service that runs in the process of a test, with functions that the test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import wraps
from typing import Any, Self, overload

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    current_request,
    override_arguments,
)
from amphora.testing.recorder import CallRecorder, RecordedCall

__all__ = ["LocalService", "LocalServices"]

#: Seconds for which a test waits for a connection, or for functions that still run when it ends.
_PATIENCE = 10.0


class LocalService(CallRecorder[RecordedCall]):
    """A server and a client of a service, for the duration of a test.

    The calls that it records are those of the functions that were given or stubbed, as they arrive.

    Attributes:
        server (AmqpRpcServer): The server, which serves; it takes further functions, `stub` replaces some.
        client (AmqpRpcClient): A client of it, of the test itself.

    Args:
        service_name: Namespace of the service.
        functions: Its functions by name; those of a program's own server are ``server.functions``.
        fanout: Whether it is a fan-out service.
        broker_url: Where it runs.
        options: Further arguments for both constructors.
    """

    def __init__(
        self,
        service_name: str,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        *,
        fanout: bool = False,
        broker_url: str = "memory://",
        **options: Any,
    ) -> None:
        super().__init__()
        self._functions: dict[str, Callable[..., Any]] = {}
        server_class, client_class = (
            (AmqpRpcFanoutServer, AmqpRpcFanoutClient) if fanout else (AmqpRpcServer, AmqpRpcClient)
        )
        self.server = server_class(service_name, broker_url=broker_url, **options)
        for name, function in (functions or {}).items():
            self._run(name, function)
        self.server.serve()
        self.client = client_class(service_name, broker_url=broker_url, **options)
        for endpoint in (self.server, self.client):
            if not endpoint.wait_connected(_PATIENCE):
                raise AssertionError(f"{endpoint!r} is not connected after {_PATIENCE:g} s: {endpoint.broker}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.server.service_name!r}>"

    @overload
    def stub(self, name: str, result: Any = None) -> None: ...

    @overload
    def stub(self, name: str, *, function: Callable[..., Any]) -> None: ...

    def stub(self, name: str, result: Any = None, *, function: Callable[..., Any] | None = None) -> None:
        """Let a remote function give a result, or run another function, until the end of the test.

        Args:
            name: Name of the remote function; there need not be one.
            result: What it returns; an exception is raised there, and reaches the caller as a `RemoteException`.
            function: What runs instead.
        """
        if function is None:

            def give(*args: Any, **kwargs: Any) -> Any:  # noqa: ARG001  (whatever it is called with)
                if isinstance(result, BaseException):
                    raise result
                return result

            function = give
        self._run(name, function)

    def _run(self, name: str, function: Callable[..., Any]) -> None:
        known = name in self._functions
        self._functions[name] = function
        if not known:
            self.server.add_function(wraps(function)(self._recording(name)), name)

    def _recording(self, name: str) -> Callable[..., Any]:
        """Return a function that notes each call of it, and calls the one that has the name then."""

        def record(*args: Any, **kwargs: Any) -> Any:
            request = current_request()
            headers = {} if request is None else dict(request.headers)
            self._calls.append(RecordedCall(name, args, kwargs, headers))
            return self._functions[name](*args, **kwargs)

        return record

    def stop(self) -> None:
        """Stop server and client.

        Raises:
            AssertionError: A function still runs.
        """
        finished = self.server.prepare_stop(_PATIENCE)
        self.server.stop()
        self.client.stop()
        if not finished:
            raise AssertionError(
                f"Remote functions of {self.server.service_name!r} still run after the test: wait for the results of "
                "deferred calls before it ends, and end what waits forever"
            )


class LocalServices:
    """Makes the services of one test, and stops them; all that the program itself makes meanwhile is where they are.

    ::

        with LocalServices() as services:
            shop = services("shop")
            shop.stub("orders.total", 42)
            assert invoice(7) == "42 Euro"          # the program's own AmqpRpcClient("shop"), made just now
            shop.assert_called("orders.total", 7)

    Args:
        broker_url: Where everything runs. A broker must be one that is there for tests: services have the names that
            the program gives them.
    """

    def __init__(self, broker_url: str = "memory://") -> None:
        self._broker_url = broker_url
        self._cleanup = ExitStack()

    def __call__(
        self,
        service_name: str,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        *,
        fanout: bool = False,
        **options: Any,
    ) -> LocalService:
        """Make a service; see `LocalService`."""
        service = LocalService(service_name, functions, fanout=fanout, broker_url=self._broker_url, **options)
        self._cleanup.callback(service.stop)
        return service

    def __enter__(self) -> Self:
        self._cleanup.enter_context(override_arguments(broker_url=self._broker_url))
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()
