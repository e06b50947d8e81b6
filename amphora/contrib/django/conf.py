"""Reads the setting ``AMPHORA`` to a frozen value for each alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from amphora.contrib.django.options import (
    DjangoOptions,
    client_settings,
    imported,
    nearest,
    own_settings,
    server_settings,
)
from amphora.contrib.django.problems import MISSING, WRONG, Problem, problems_of
from amphora.options.fields import Option

__all__ = [
    "DEFAULT_ALIAS",
    "Problem",
    "ServiceSettings",
    "forget",
    "imported",
    "insist_on_alias",
    "problems",
    "service",
    "services",
    "sound_services",
]

#: The alias that ``server`` and ``client`` stand for.
DEFAULT_ALIAS = "default"

_EXAMPLE = "AMPHORA = {'default': {'SERVICE_NAME': 'shop', 'BROKER_URL': 'amqp://...'}}"


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(DjangoOptions):
    """One alias of ``AMPHORA``.

    Args:
        alias: Its key there.
        service_name: Namespace of the RPC service.
        server_options: Arguments for the server's constructor, besides the service name, as they stand in the
            settings: see `imported`.
        client_options: Arguments for the client's.
    """

    alias: str
    service_name: str
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
    return ServiceSettings(
        alias=alias,
        service_name=options["SERVICE_NAME"],
        server_options=_given(options, server_settings()),
        client_options=_given(options, client_settings()),
        **_given(options, own_settings()),
    )


def _given(options: Mapping[str, Any], known: Mapping[str, Option]) -> Mapping[str, Any]:
    named = {each.name: options[name] for name, each in known.items() if name in options}
    return MappingProxyType({name: value for name, value in named.items() if name != "service_name"})
