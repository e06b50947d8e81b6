"""Stand-ins for a server and a client of a Celery application, made from its settings when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from celery.exceptions import ImproperlyConfigured

from amphora import AmqpRpcClient, AmqpRpcFanoutServer, AmqpRpcServer, make_client
from amphora.contrib.celery.conf import Conf
from amphora.contrib.stand_ins.client_stand_in import ClientStandIn
from amphora.contrib.stand_ins.server_stand_in import ServerStandIn

__all__ = ["AppClient", "AppServer"]

Real = TypeVar("Real")


class AppSettings:
    """What the settings say of one of an application's two services.

    Args:
        conf: The settings.
        fanout: Whether it is the fan-out service.
    """

    def __init__(self, conf: Conf, *, fanout: bool) -> None:
        self.conf = conf
        self.fanout = fanout

    @property
    def service_name(self) -> str:
        """Name of the service."""
        name: str = self.conf.fanout_service_name if self.fanout else self.conf.service_name
        return name

    def describe(self, stand_in: object, real: object) -> str:
        """Return the repr of a stand-in."""
        kind = f"{type(stand_in).__name__}{' fanout' if self.fanout else ''}"
        return f"<{kind}, not used yet>" if real is None else f"<{kind} {real!r}>"

    def build(self, make: Callable[[], Real]) -> Real:
        """Make an endpoint.

        Raises:
            ImproperlyConfigured: A setting is unknown, missing or wrong.
        """
        self.conf.check()
        try:
            return make()
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"the amphora_* settings: {error}") from error


class AppServer(ServerStandIn):
    """Takes functions at once, and is made when a process serves.

    Everything else is as on the server itself, see `AmqpRpcServer`.

    Args:
        conf: The settings.
        fanout: Whether it belongs to the fan-out service.
    """

    def __init__(self, conf: Conf, *, fanout: bool = False) -> None:
        super().__init__()
        self._settings = AppSettings(conf, fanout=fanout)
        self._listeners: list[Callable[[str, Callable[..., Any]], None]] = []
        self._successor: Any = None

    def __repr__(self) -> str:
        return self._settings.describe(self, self._made)

    @property
    def service_name(self) -> str:
        """Name of the service; nothing is made for it."""
        real = self._made
        return self._settings.service_name if real is None else real.service_name

    @property
    def real(self) -> AmqpRpcServer:
        """The server itself, made now if this process has none yet.

        Raises:
            ImproperlyConfigured: A setting is unknown, or missing.
        """
        return self._per_process.get()

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

    def _add(self, function: Any, name: str | None) -> None:
        if self._successor is not None:
            self._successor.add_function(function, name)
            return
        super()._add(function, name)

    def _on_added(self, name: str, function: Callable[..., Any]) -> None:
        for listener in self._listeners:
            listener(name, function)

    def _make(self) -> AmqpRpcServer:
        settings = self._settings
        kind = AmqpRpcFanoutServer if settings.fanout else AmqpRpcServer
        return settings.build(lambda: kind(settings.service_name, **settings.conf.server_options()))


class AppClient(ClientStandIn):
    """Is made when it is first used, in each process that uses it.

    In a program that gevent has not patched (the prefork, threads and solo pools, most web servers) it is
    a `ThreadedClient`. Everything else is as on the client itself, see `AmqpRpcClient`.

    Args:
        conf: The settings.
        fanout: Whether it belongs to the fan-out service.
    """

    def __init__(self, conf: Conf, *, fanout: bool = False) -> None:
        super().__init__()
        self._settings = AppSettings(conf, fanout=fanout)

    def __repr__(self) -> str:
        return self._settings.describe(self, self._made)

    @property
    def service_name(self) -> str:
        """Name of the service; nothing is made for it."""
        real = self._made
        return self._settings.service_name if real is None else real.service_name

    @property
    def real(self) -> Any:
        """The client itself, made now if this process has none yet.

        Raises:
            ImproperlyConfigured: A setting is unknown, or missing.
        """
        return self._per_process.get()

    def _make(self) -> AmqpRpcClient:
        settings = self._settings
        client: Any = settings.build(
            lambda: make_client(settings.service_name, fanout=settings.fanout, **settings.conf.client_options())
        )
        return client  # type: ignore[no-any-return]
