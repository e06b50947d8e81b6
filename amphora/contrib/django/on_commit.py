"""Calls that are sent when the transaction commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django.db import transaction

from amphora import AbstractRpcSerializer, PrettyCaller
from amphora.contrib.django.conf import ServiceSettings, imported

__all__ = ["caller_on_commit", "casting_caller_on_commit"]

_OPTIONS = ("function_name", "timeout", "routing_key", "expires", "wait_publish", "using", "robust")


class Deferring(Protocol):
    """What has `defer` and `cast`, as clients have, and settings."""

    @property
    def defer(self) -> PrettyCaller:
        """See `amphora.AmqpRpcClient.defer`."""

    @property
    def cast(self) -> PrettyCaller:
        """See `amphora.AmqpRpcClient.cast`."""

    @property
    def settings(self) -> ServiceSettings:
        """See `LazyClient.settings`."""


def caller_on_commit(client: Deferring) -> PrettyCaller:
    """Give a caller that defers calls to the end of the transaction; see `LazyClient.defer_on_commit`."""
    return _on_commit(client, lambda: client.defer, _OPTIONS)


def casting_caller_on_commit(client: Deferring) -> PrettyCaller:
    """Give a caller that casts when the transaction commits; see `LazyClient.cast_on_commit`."""
    return _on_commit(client, lambda: client.cast, (*_OPTIONS, "legacy"))


def _on_commit(client: Deferring, caller: Callable[[], PrettyCaller], allowed: tuple[str, ...]) -> PrettyCaller:

    def invoke(function: str, options: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rest = dict(options)
        using, robust = rest.pop("using", client.settings.using), rest.pop("robust", False)
        _try_to_encode(client.settings, function, args, kwargs)

        def send() -> None:
            caller()(function_name=function, **rest)(*args, **kwargs)

        transaction.on_commit(send, using=using, robust=robust)

    return PrettyCaller(invoke, allowed)


def _try_to_encode(settings: ServiceSettings, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Find out whether the arguments can be sent while the transaction can still be rolled back.

    Querysets among them are fetched by that, and so keep what they had before the commit.
    """
    given = imported(settings.client_options)["serializer"]
    serializer: AbstractRpcSerializer = given() if isinstance(given, type) else given
    try:
        serializer.dumps({"func": function, "args": args, "kwargs": kwargs})
    except Exception as error:
        raise TypeError(f"arguments of {function!r} cannot be encoded as {serializer.content_type}: {error}") from error
