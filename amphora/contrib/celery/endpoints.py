"""Stand-ins for a server and a client, which are made from the settings when they are needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Any

from amphora.contrib.celery.conf import Conf

__all__ = ["LazyClient", "LazyServer"]


class _Lazy:
    """Makes one endpoint for each process, when it is first used.

    Args:
        endpoint: Class of the endpoint.
        conf: The settings.
        fanout: Whether it is that of the fan-out service.
    """

    def __init__(self, endpoint: type, conf: Conf, *, fanout: bool = False) -> None:
        self._endpoint = endpoint
        self._conf = conf
        self._fanout = fanout
        self._lock = Lock()
        self._pid: int | None = None
        self._real: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.real, name)

    @property
    def made(self) -> bool:
        """Whether this process has made it already."""
        return self._pid == os.getpid()

    @property
    def service_name(self) -> str:
        """Name of the service."""
        name: str = self._conf.service_name
        if self._fanout:
            return self._conf.fanout_service_name or f"{name}_fanout"
        return name

    @property
    def real(self) -> Any:
        """The endpoint itself, made now if this process has none yet."""
        if not self.made:
            with self._lock:
                if not self.made:
                    self._real = self._make()
                    self._pid = os.getpid()
        return self._real

    def _make(self) -> Any:
        raise NotImplementedError


class LazyServer(_Lazy):
    """Takes functions at once, and is made when a process serves.

    Everything else is as on the server itself, see `AmqpRpcServer`.
    """

    def __init__(self, endpoint: type, conf: Conf, *, fanout: bool = False) -> None:
        super().__init__(endpoint, conf, fanout=fanout)
        self._functions: dict[str, Callable[..., Any]] = {}

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions by their remote names (a copy)."""
        return dict(self._functions)

    def add_function(self, func: Any = None, name: str | None = None) -> Any:
        """Add a remote function; a call or a decorator, see `AmqpRpcServer.add_function`."""
        if func is None or isinstance(func, str):
            wanted = name if func is None else func
            return lambda function: self.add_function(function, name=wanted)
        self._functions[name or func.__name__] = func
        if self.made:
            self._real.add_function(func, name=name)
        return func

    def _make(self) -> Any:
        self._conf.check()
        server = self._endpoint(**{**self._conf.server_options(), "service_name": self.service_name})
        for name, function in self._functions.items():
            server.add_function(function, name=name)
        return server


class LazyClient(_Lazy):
    """Is made when it is first used, in each process that uses it; everything is as on the client itself."""

    def _make(self) -> Any:
        self._conf.check()
        return self._endpoint(**{**self._conf.client_options(), "service_name": self.service_name})
