"""Database connections and caches of Django around the requests of any server, in any program that has set up Django.

Importing this imports nothing of Django: `amphora serve` and Celery's workers use it in programs that have none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from amphora import CurrentRequest

__all__ = ["look_after_databases"]


def look_after_databases(request: CurrentRequest, call: Callable[[], Any]) -> Any:  # noqa: ARG001  (a middleware)
    """Run a request as Django runs one of HTTP: with connections that are alive, and without leaving any behind.

    A middleware of any server, see `amphora.AmqpRpcServer.add_middleware`. Add it first, so that it is the outermost::

        server = AmqpRpcServer("shop")
        server.add_middleware(look_after_databases)

    Before the function, connections that the database has closed or that are too old are closed; after it, those whose
    ``CONN_MAX_AGE`` is over, and caches. Later ones are closed when their time is over, even if no request comes.
    Where Django is not set up, nothing is done. The servers of ``AMPHORA`` have it already, as have ``amphora serve``
    and the servers of ``app.amphora`` in Celery.
    """
    if not _is_set_up():
        return call()
    return import_module("amphora.contrib.django.around").around_request(call)


def _is_set_up() -> bool:
    """Return whether the program has loaded Django's settings and its database layer."""
    configuration = sys.modules.get("django.conf")
    return configuration is not None and "django.db" in sys.modules and bool(configuration.settings.configured)
