"""What can be set in ``AMPHORA``: the options of clients and servers by upper-case name, and `DjangoOptions`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from django.utils.module_loading import import_string

from amphora.options.client_options import ClientOptions
from amphora.options.fields import Option, Where, check_fields, option, options_of, own_option, settings_of
from amphora.options.server_options import ServerOptions
from amphora.value_checks import boolean

__all__ = [
    "DjangoOptions",
    "client_settings",
    "imported",
    "known_settings",
    "nearest",
    "own_settings",
    "server_settings",
]

_SERIALIZER = "amphora.contrib.django.serializer.DjangoJsonSerializer"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_duration(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_module_name(value: Any) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


def _are_labels(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


@dataclass(frozen=True, kw_only=True)
class DjangoOptions:
    """Settings of this integration alone."""

    fanout: bool = option(
        "A fan-out service: every connected server runs each request",
        default=False,
        check=boolean,
        where=Where.INTEGRATION,
    )
    threaded: bool = option(
        "In processes that gevent has not patched, let the client live in a thread of its own: see "
        "[servers and clients](#servers-and-clients)",
        default=False,
        check=boolean,
        where=Where.INTEGRATION,
    )
    atomic_requests: bool = option(
        "Run each function in a transaction, which is rolled back when the function raises",
        default=False,
        check=boolean,
        where=Where.INTEGRATION,
    )
    using: str = own_option(
        "Alias in `DATABASES` of that transaction, and of the one that `defer_on_commit` waits for",
        default="default",
        fits=_is_text,
        wanted="an alias of DATABASES",
    )
    record_errors: int = own_option(
        "How many of the last errors of functions the admin shows; 0 for none",
        default=100,
        fits=_is_count,
        wanted="a count of errors to keep, 0 for none",
    )
    handlers_module: str = own_option(
        "Name of the module in each app that adds functions",
        default="rpc",
        fits=_is_module_name,
        wanted="a module's name inside an app, such as 'rpc'",
    )
    queues: tuple[str, ...] = own_option(
        "Labels whose queues `runserver_rpc` serves beside the service's own",
        default=(),
        fits=_are_labels,
        wanted="a list of labels, each a str",
        keep=tuple,
    )
    grace: float = own_option(
        "Seconds that running requests have to finish when `runserver_rpc` is told to end",
        default=30.0,
        fits=_is_duration,
        wanted="a number of seconds, 0 or more",
        keep=float,
    )

    def __post_init__(self) -> None:
        check_fields(self)


@cache
def own_settings() -> Mapping[str, Option]:
    """Return the options of this integration by the names of their settings."""
    return _upper(options_of(DjangoOptions))


@cache
def server_settings() -> Mapping[str, Option]:
    """Return the options of a server by the names of their settings."""
    return _upper(settings_of(ServerOptions, Where.DJANGO))


@cache
def client_settings() -> Mapping[str, Option]:
    """Return the options of a client by the names of their settings."""
    return _upper(settings_of(ClientOptions, Where.DJANGO))


def known_settings() -> Mapping[str, Option]:
    """Return all settings of an alias by their names."""
    return {**server_settings(), **client_settings(), **own_settings()}


def imported(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for a constructor, with the serializers that dotted paths name.

    Args:
        options: Arguments as they stand in the settings.

    Raises:
        ImportError: A path leads nowhere.
    """
    found = dict(options)
    found["serializer"] = _imported(found.get("serializer", _SERIALIZER))
    if "accept" in found:
        found["accept"] = [_imported(one) for one in found["accept"]]
    return found


def nearest(name: Any, known: Iterable[Any]) -> str:
    """Return what to add to a sentence about an unknown name: the one that was meant, if any is like it."""
    wanted = str(name).upper()
    spelled = {str(each).upper(): each for each in known}
    close = difflib.get_close_matches(wanted, spelled, n=1)
    if not close:
        # A word of it, such as URL of BROKER_URL.
        close = [each for each in spelled if wanted in each.split("_")]
    return f"; did you mean {spelled[close[0]]!r}?" if len(close) == 1 else "."


def _imported(value: Any) -> Any:
    return import_string(value) if isinstance(value, str) else value


def _upper(options: Mapping[str, Option]) -> Mapping[str, Option]:
    return MappingProxyType({name.upper(): each for name, each in options.items()})
