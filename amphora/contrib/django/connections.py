"""Keeps database connections in order around each request, as Django does around an HTTP request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.cache import close_caches
from django.db import close_old_connections, reset_queries, transaction

from amphora import CurrentRequest
from amphora.contrib.django.around import idle_connections
from amphora.contrib.django.conf import ServiceSettings
from amphora.contrib.django.signals import request_finished, request_started

__all__ = ["AROUND_REQUESTS", "connect_receivers", "idle_connections", "new_middleware"]

#: What Django itself does around an HTTP request, by the signal that it does it at.
AROUND_REQUESTS = (
    (request_started, reset_queries),
    (request_started, close_old_connections),
    (request_finished, close_caches),
    (request_finished, close_old_connections),
)


def connect_receivers() -> None:
    """Connect what Django does around requests with this integration's signals; tests may disconnect it."""
    for signal, receiver in AROUND_REQUESTS:
        signal.connect(receiver)


def new_middleware(
    sender: object, settings: ServiceSettings, function: Callable[[str], Callable[..., Any] | None]
) -> Callable[[CurrentRequest, Callable[[], Any]], Any]:
    """Make the middleware of a server: signals, connections, and a transaction where the settings ask for one.

    Args:
        sender: Of the signals.
        settings: Of the server.
        function: Finds a remote function by its name.
    """

    def around_request(request: CurrentRequest, call: Callable[[], Any]) -> Any:
        idle_connections.resume()
        error: BaseException | None = None
        try:
            request_started.send(sender=sender, request=request)
            if settings.atomic_requests and settings.using not in _exempt(function(request.function)):
                with transaction.atomic(using=settings.using):
                    return call()
            return call()
        except BaseException as raised:
            error = raised
            raise
        finally:
            request_finished.send_robust(sender=sender, request=request, error=error)
            idle_connections.park()

    return around_request


def _exempt(function: Callable[..., Any] | None) -> Any:
    """Return the aliases of the databases in whose transactions a function will not run.

    `django.db.transaction.non_atomic_requests` notes them on views, and on remote functions just as well.
    """
    return getattr(function, "_non_atomic_requests", ())
