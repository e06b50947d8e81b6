"""Logs each request that a server has run, as Django logs HTTP requests: failures with their tracebacks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from amphora import CurrentRequest, IgnoreRequest
from amphora.logs.remote_text import printable

__all__ = ["log_request"]

#: INFO: a request that was run, with its time; ERROR: one whose function raised. No arguments, no results.
logger = logging.getLogger("amphora.contrib.django.requests")


def log_request(request: CurrentRequest, call: Callable[[], Any]) -> Any:
    """Run a request and log how it ended; a middleware."""
    started = perf_counter()
    # Its caller has chosen the id.
    function, request_id = printable(request.function), printable(request.id)
    fields = {"request_id": request_id, "rpc_function": function}
    try:
        result = call()
    except IgnoreRequest:
        logger.info("%s: ignored (request %s)", function, request_id, extra=fields)
        raise
    except Exception as error:
        logger.exception("%s: %s (request %s)", function, type(error).__name__, request_id, extra=fields)
        raise
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s: %.0f ms (request %s)", function, (perf_counter() - started) * 1000, request_id, extra=fields)
    return result
