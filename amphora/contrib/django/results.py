"""Fetches the querysets in a function's result, while its transaction and its connection are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from amphora import CurrentRequest

__all__ = ["fetch_result"]


def fetch_result(request: CurrentRequest, call: Callable[[], Any]) -> Any:  # noqa: ARG001  (a middleware)
    """Run a function, and let the querysets that it returns ask the database at once; a server's middleware.

    They would ask when the reply is encoded, which is after the transaction, and on another connection.
    """
    result = call()
    _fetch(result)
    return result


def _fetch(value: Any) -> None:
    if isinstance(value, QuerySet):
        # Keeps what it fetches.
        len(value)
    elif isinstance(value, dict):
        for inner in value.values():
            _fetch(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _fetch(inner)
