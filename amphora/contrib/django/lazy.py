"""`LazyEndpoint`: stands for the server or the client of an alias, and makes it on first use, one for each process."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Any, ClassVar, Generic, Self, TypeVar
from weakref import WeakSet

from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from amphora import AmqpRpcClient, AmqpRpcServer
from amphora.contrib.django.conf import ServiceSettings, imported, service
from amphora.contrib.stand_ins import lazy_attribute, stop_for_good

__all__ = ["LazyEndpoint"]

Function = TypeVar("Function", bound=Callable[..., Any])
Real = TypeVar("Real", AmqpRpcServer, AmqpRpcClient)


class LazyEndpoint(Generic[Real]):
    """Makes the server or the client of an alias on first use, one for each process.

    What the real one has, and this has not, is looked up there.

    Args:
        alias: Key of its settings in ``AMPHORA``.
    """

    #: The class whose public names it has.
    _like: ClassVar[type]

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._real: Real | None = None
        self._pid = 0
        self._overrides: dict[str, Any] = {}
        self._middleware: list[Any] = []
        self._lock = RLock()
        _all.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alias!r}{'' if self._made() is None else f' {self._real!r}'}>"

    def __getattr__(self, name: str) -> Any:
        return lazy_attribute(self, self._like, name, lambda: self.real)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._like) if not name.startswith("_"))})

    def __enter__(self) -> Self:
        self.real.serve()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def settings(self) -> ServiceSettings:
        """Its settings.

        Raises:
            ImproperlyConfigured: There is no such alias, or something is wrong with it.
        """
        return service(self.alias)

    @property
    def service_name(self) -> str:
        """Namespace of the RPC service, of which the settings tell: nothing is made for it."""
        return self.settings.service_name

    @property
    def real(self) -> Real:
        """The endpoint of this process, made now if there is none yet.

        Raises:
            RuntimeError: The process is not monkey-patched; the text says where to do it.
            ImproperlyConfigured: Something is wrong with the settings, or with a module of handlers.
        """
        real = self._made()
        if real is None:
            with self._lock:
                real = self._made()
                if real is None:
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
            options: Arguments of its constructor, which are added to those of earlier calls.
        """
        self._overrides.update(options)

    def add_middleware(self, middleware: Function) -> Function:
        """Add a middleware, to the endpoint that there is and to those made later; a call or a decorator.

        Args:
            middleware: See `amphora.AmqpRpcServer.add_middleware` and `amphora.AmqpRpcClient.add_middleware`.

        Returns:
            The middleware.
        """
        self._middleware.append(middleware)
        if (real := self._made()) is not None:
            real.add_middleware(middleware)
        return middleware

    def stop(self) -> None:
        """Disconnect from the broker, as the real one does; an endpoint that this process has not made has nothing to.

        See `amphora.AmqpRpcServer.stop` and `amphora.AmqpRpcClient.stop`.
        """
        if (real := self._made()) is not None:
            real.stop()

    def reset(self) -> None:
        """Stop the endpoint of this process, if there is one; the next use makes another."""
        with self._lock:
            real = self._made()
            if real is not None:
                stop_for_good(real)
                self.stop()
                self._real = None

    def forget_parent(self) -> None:
        """Leave the endpoint to the parent, in a child that was just forked."""
        self._real = None
        # Held, perhaps, by a greenlet that is the parent's.
        self._lock = RLock()

    def _made(self) -> Real | None:
        return self._real if self._pid == os.getpid() else None

    def _make(self) -> Real:
        raise NotImplementedError

    @sensitive_variables()
    def _build(self, kind: Callable[..., Real], settings: ServiceSettings, options: Any) -> Real:
        """Make the real endpoint from its options."""
        try:
            return kind(settings.service_name, **{**imported(options), **self._overrides})
        except ImportError as error:
            raise ImproperlyConfigured(f"AMPHORA[{self.alias!r}]: {error}") from error
        except (TypeError, ValueError) as error:
            # Without its cause: Django's error reports show the variables of its frames, and passwords among them.
            raise ImproperlyConfigured(f"AMPHORA[{self.alias!r}]: {error}") from None


_all: WeakSet[LazyEndpoint[Any]] = WeakSet()


def _forget_parent() -> None:
    for endpoint in list(_all):
        endpoint.forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
