"""Calls that are sent when the transaction commits."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from django.db import transaction

from amphora import PrettyCaller

__all__ = ["caller_on_commit"]

_OPTIONS = ("function_name", "timeout", "routing_key", "expires", "wait_publish", "using", "robust")


class Deferring(Protocol):
    """What has `defer`, as clients have."""

    @property
    def defer(self) -> PrettyCaller:
        """See `amphora.AmqpRpcClient.defer`."""


def caller_on_commit(client: Deferring) -> PrettyCaller:
    """Give a caller that defers calls to the end of the transaction; see `LazyClient.defer_on_commit`."""

    def invoke(function: str, options: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        options = dict(options)
        using, robust = options.pop("using", None), options.pop("robust", False)

        def send() -> None:
            client.defer(**options, function_name=function)(*args, **kwargs)

        transaction.on_commit(partial(send), using=using, robust=robust)

    return PrettyCaller(invoke, _OPTIONS)
