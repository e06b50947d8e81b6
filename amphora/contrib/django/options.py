"""What can be set in ``AMPHORA``: the constructors' arguments by upper-case name, and `OWN_SETTINGS`."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from amphora import AmqpRpcClient, AmqpRpcServer

__all__ = ["OWN_SETTINGS", "OwnSetting", "client_arguments", "known_settings", "nearest", "server_arguments"]


@dataclass(frozen=True)
class OwnSetting:
    """A setting that is no argument of a constructor.

    Args:
        fits: Tells whether a value is one for it.
        default: Its value where it is not given.
        wanted: What it must be, in words, for messages.
    """

    fits: Callable[[Any], bool]
    default: Any
    wanted: str


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


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


#: Settings of this integration alone, by name.
OWN_SETTINGS: Mapping[str, OwnSetting] = MappingProxyType(
    {
        "FANOUT": OwnSetting(_is_bool, False, "True or False"),
        "THREADED": OwnSetting(_is_bool, False, "True or False"),
        "ATOMIC_REQUESTS": OwnSetting(_is_bool, False, "True or False"),
        "USING": OwnSetting(_is_text, "default", "an alias of DATABASES"),
        "RECORD_ERRORS": OwnSetting(_is_count, 100, "a count of errors to keep, 0 for none"),
        "HANDLERS_MODULE": OwnSetting(_is_module_name, "rpc", "a module's name inside an app, such as 'rpc'"),
        "QUEUES": OwnSetting(_are_labels, (), "a list of labels, each a str"),
        "GRACE": OwnSetting(_is_duration, 30.0, "a number of seconds, 0 or more"),
    }
)


@cache
def server_arguments() -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a server's constructor by the names of their settings."""
    return _arguments(AmqpRpcServer)


@cache
def client_arguments() -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a client's constructor by the names of their settings."""
    return _arguments(AmqpRpcClient)


def known_settings() -> list[str]:
    """Return the names of all settings of an alias."""
    return list(dict.fromkeys([*server_arguments(), *client_arguments(), *OWN_SETTINGS]))


def nearest(name: Any, known: Iterable[Any]) -> str:
    """Return what to add to a sentence about an unknown name: the one that was meant, if any is like it."""
    wanted = str(name).upper()
    spelled = {str(each).upper(): each for each in known}
    close = difflib.get_close_matches(wanted, spelled, n=1)
    if not close:
        # A word of it, such as URL of BROKER_URL.
        close = [each for each in spelled if wanted in each.split("_")]
    return f"; did you mean {spelled[close[0]]!r}?" if len(close) == 1 else "."


def _arguments(cls: type) -> Mapping[str, inspect.Parameter]:
    return MappingProxyType({name.upper(): each for name, each in inspect.signature(cls).parameters.items()})
