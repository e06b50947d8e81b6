"""Middleware of servers: runs around every remote function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amphora.endpoint.current_request import CurrentRequest, current_request
from amphora.exceptions import AmqpRpcException

__all__ = ["ServerMiddleware", "around_function"]

#: Takes the request and a function that runs the rest; returns or raises what the remote function is to.
ServerMiddleware = Callable[[CurrentRequest, Callable[[], Any]], Any]


def around_function(middleware: ServerMiddleware, call: Callable[[], Any]) -> Any:
    """Run the rest through a server's middleware, within the current request."""
    request = current_request()
    if request is None:
        raise AmqpRpcException("a server's middleware runs for a request, and there is none")
    return middleware(request, call)
