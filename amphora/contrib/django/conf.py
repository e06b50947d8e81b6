"""Reads the setting ``AMPHORA`` to a frozen value for each alias."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from amphora.contrib.django.options import OWN_SETTINGS, client_arguments, nearest, server_arguments
from amphora.contrib.django.problems import MISSING, WRONG, Problem, problems_of

__all__ = [
    "DEFAULT_ALIAS",
    "OWN_SETTINGS",
    "Problem",
    "ServiceSettings",
    "client_arguments",
    "forget",
    "imported",
    "insist_on_alias",
    "problems",
    "server_arguments",
    "service",
    "services",
    "sound_services",
]

#: The alias that ``server`` and ``client`` stand for.
DEFAULT_ALIAS = "default"

_SERIALIZER = "amphora.contrib.django.serializer.DjangoJsonSerializer"

_EXAMPLE = "AMPHORA = {'default': {'SERVICE_NAME': 'shop', 'BROKER_URL': 'amqp://...'}}"


@dataclass(frozen=True)
class ServiceSettings:
    """One alias of ``AMPHORA``.

    Args:
        alias: Its key there.
        service_name: Namespace of the RPC service.
        fanout: Whether every server runs each request.
        threaded: Whether the client of a process that is not patched lives in a thread of its own.
        atomic_requests: Whether each handler runs in a transaction.
        using: Alias of the database of those transactions.
        record_errors: How many of the last errors are kept; 0 for none.
        handlers_module: Name of the module of an app that holds its handlers.
        queues: Labels whose queues ``runserver_rpc`` serves too.
        grace: Seconds that running requests have when the server is stopped.
        server_options: Arguments for the server's constructor, besides the service name, as they stand in the
            settings: see `imported`.
        client_options: Arguments for the client's.
    """

    alias: str
    service_name: str
    fanout: bool = False
    threaded: bool = False
    atomic_requests: bool = False
    using: str = "default"
    record_errors: int = 100
    handlers_module: str = "rpc"
    queues: tuple[str, ...] = ()
    grace: float = 30.0
    # Not in the repr: they hold the broker's password.
    server_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    client_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def services() -> Mapping[str, ServiceSettings]:
    """Return the settings of all aliases.

    Raises:
        ImproperlyConfigured: Something is wrong with them; the text names alias and setting.
    """
    found, wrong = _read()
    if wrong:
        raise ImproperlyConfigured("\n".join(map(str, wrong)))
    return found


def sound_services() -> Mapping[str, ServiceSettings]:
    """Return the settings of those aliases that have no `problems`."""
    return _read()[0]


def service(alias: str) -> ServiceSettings:
    """Return the settings of an alias.

    Raises:
        ImproperlyConfigured: There is no such alias, or something is wrong with it.
    """
    found, wrong = _read()
    if alias in found:
        return found[alias]
    own = [str(problem) for problem in wrong if problem.alias in (None, alias)]
    if own:
        raise ImproperlyConfigured("\n".join(own))
    raise _no_alias(alias)


def insist_on_alias(alias: str) -> None:
    """Insist on an alias being there, whatever is wrong with it.

    Raises:
        ImproperlyConfigured: There is no such alias; the text names the nearest one.
    """
    if not any(problem.alias == alias for problem in problems()):
        service(alias)


def problems() -> tuple[Problem, ...]:
    """Return what is wrong with the settings, as far as can be told without making an endpoint."""
    return _read()[1]


def forget() -> None:
    """Read the settings again when they are next asked for."""
    _read.cache_clear()


def imported(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for a constructor, with the serializers that dotted paths name.

    Args:
        options: `ServiceSettings.server_options` or `client_options`.

    Raises:
        ImportError: A path leads nowhere.
    """
    found = dict(options)
    found["serializer"] = _imported(found.get("serializer", _SERIALIZER))
    if "accept" in found:
        found["accept"] = [_imported(one) for one in found["accept"]]
    return found


@cache
def _read() -> tuple[Mapping[str, ServiceSettings], tuple[Problem, ...]]:
    """Read what can be read, and say what cannot."""
    given = getattr(settings, "AMPHORA", None)
    if given is None:
        return {}, (Problem(MISSING, None, "The setting AMPHORA is missing.", f"Add {_EXAMPLE}."),)
    if not isinstance(given, Mapping):
        text = f"The setting AMPHORA must be a dict of aliases, not a {type(given).__name__}."
        return {}, (Problem(WRONG, None, text, f"Write {_EXAMPLE}."),)
    found: dict[str, ServiceSettings] = {}
    wrong: list[Problem] = []
    for alias, options in given.items():
        own = list(problems_of(alias, options))
        wrong += own
        if not own:
            found[alias] = _service(alias, options)
    return MappingProxyType(found), tuple(wrong)


def _no_alias(alias: str) -> ImproperlyConfigured:
    there = ", ".join(map(repr, settings.AMPHORA)) or "none"
    return ImproperlyConfigured(
        f"AMPHORA has no alias {alias!r}{nearest(alias, settings.AMPHORA)} "
        f"Add AMPHORA[{alias!r}] = {{'SERVICE_NAME': ...}} to the settings, or use one of those there: {there}."
    )


def _service(alias: str, options: Mapping[str, Any]) -> ServiceSettings:
    own = {name: options.get(name, setting.default) for name, setting in OWN_SETTINGS.items()}
    return ServiceSettings(
        alias=alias,
        service_name=options["SERVICE_NAME"],
        fanout=own["FANOUT"],
        threaded=own["THREADED"],
        atomic_requests=own["ATOMIC_REQUESTS"],
        using=own["USING"],
        record_errors=own["RECORD_ERRORS"],
        handlers_module=own["HANDLERS_MODULE"],
        queues=tuple(own["QUEUES"]),
        grace=float(own["GRACE"]),
        server_options=_options(options, server_arguments()),
        client_options=_options(options, client_arguments()),
    )


def _options(given: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> Mapping[str, Any]:
    return MappingProxyType({name.lower(): given[name] for name in known if name in given and name != "SERVICE_NAME"})


def _imported(value: Any) -> Any:
    return import_string(value) if isinstance(value, str) else value
