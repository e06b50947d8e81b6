"""What Django does around an HTTP request, done around one of a server that is not made from ``AMPHORA``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.core.cache import close_caches
from django.db import close_old_connections, reset_queries

from amphora.contrib.django.event_loops import let_other_greenlets_query
from amphora.contrib.django.idle import IdleConnections

__all__ = ["around_request", "idle_connections"]

logger = logging.getLogger(__name__)

#: The connections of this process's functions that wait for their greenlets' next request.
idle_connections = IdleConnections()

let_other_greenlets_query()


def around_request(call: Callable[[], Any]) -> Any:
    """Run a request between what Django does before and after one of HTTP.

    Args:
        call: Runs it.
    """
    idle_connections.resume()
    try:
        reset_queries()
        close_old_connections()
        return call()
    finally:
        _clean_up()
        idle_connections.park()


def _clean_up() -> None:
    """Close what is not kept; whatever fails here does not change the result of the request."""
    for clean in (close_caches, close_old_connections):
        try:
            clean()
        except Exception:
            logger.exception("%s failed after a request", clean.__name__)
