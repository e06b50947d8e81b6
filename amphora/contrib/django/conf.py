"""Reads the setting ``AMPHORA`` to a frozen value for each alias.

Every argument of the constructors of servers and clients is a setting by its upper-case name. The rest are
settings of this integration alone (`OWN_SETTINGS`).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from amphora import AmqpRpcClient, AmqpRpcServer

__all__ = [
    "DEFAULT_ALIAS",
    "OWN_SETTINGS",
    "Problem",
    "ServiceSettings",
    "client_arguments",
    "forget",
    "problems",
    "server_arguments",
    "service",
    "services",
]

#: The alias that ``server`` and ``client`` stand for.
DEFAULT_ALIAS = "default"

_SERIALIZER = "amphora.contrib.django.serializer.DjangoJsonSerializer"


@dataclass(frozen=True)
class OwnSetting:
    """A setting that is no argument of a constructor.

    Args:
        type: What its value must be an instance of.
        default: Its value where it is not given.
        wanted: What it must be, in words, for messages.
    """

    type: type | tuple[type, ...]
    default: Any
    wanted: str


#: Settings of this integration by name; ``SERVICE_NAME`` is not among them, as it is an argument.
OWN_SETTINGS: Mapping[str, OwnSetting] = MappingProxyType(
    {
        "FANOUT": OwnSetting(bool, False, "True or False"),
        "ATOMIC_REQUESTS": OwnSetting(bool, False, "True or False"),
        "USING": OwnSetting(str, "default", "an alias of DATABASES"),
        "RECORD_ERRORS": OwnSetting(int, 100, "a count of errors to keep, 0 for none"),
        "HANDLERS_MODULE": OwnSetting(str, "rpc", "a module's name inside an app, such as 'rpc'"),
        "QUEUES": OwnSetting((list, tuple), (), "a list of labels"),
        "GRACE": OwnSetting((int, float), 30.0, "a number of seconds"),
    }
)


@dataclass(frozen=True)
class ServiceSettings:
    """One alias of ``AMPHORA``.

    Args:
        alias: Its key there.
        service_name: Namespace of the RPC service.
        fanout: Whether every server runs each request.
        atomic_requests: Whether each handler runs in a transaction.
        using: Alias of the database of those transactions.
        record_errors: How many of the last errors are kept; 0 for none.
        handlers_module: Name of the module of an app that holds its handlers.
        queues: Labels whose queues ``runserver_rpc`` serves too.
        grace: Seconds that running requests have when the server is stopped.
        server_options: Arguments for the server's constructor, besides the service name.
        client_options: Arguments for the client's.
    """

    alias: str
    service_name: str
    fanout: bool = False
    atomic_requests: bool = False
    using: str = "default"
    record_errors: int = 100
    handlers_module: str = "rpc"
    queues: tuple[str, ...] = ()
    grace: float = 30.0
    # Not in the repr: they hold the broker's password.
    server_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    client_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Problem:
    """What is wrong with the settings.

    Args:
        alias: The alias that has it; None if it is the setting as a whole.
        text: One sentence that names setting and alias.
        hint: What to do.
    """

    alias: str | None
    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text} {self.hint}".strip()


def services() -> Mapping[str, ServiceSettings]:
    """Return the settings of all aliases.

    Raises:
        ImproperlyConfigured: Something is wrong with them; the text names alias and setting.
    """
    return _read()[0]


def service(alias: str) -> ServiceSettings:
    """Return the settings of an alias.

    Raises:
        ImproperlyConfigured: There is no such alias, or something is wrong with it.
    """
    found, wrong = _read_leniently()
    for problem in wrong:
        if problem.alias in (None, alias):
            raise ImproperlyConfigured(str(problem))
    if alias not in found:
        raise ImproperlyConfigured(
            f"AMPHORA has no alias {alias!r}{_nearest(alias, found)}. "
            f"Add AMPHORA[{alias!r}] = {{'SERVICE_NAME': ...}} to the settings (aliases there: {_listed(found)})."
        )
    return found[alias]


def problems() -> tuple[Problem, ...]:
    """Return all that is wrong with the settings."""
    return _read_leniently()[1]


def forget() -> None:
    """Read the settings again when they are next asked for."""
    _read_leniently.cache_clear()


@cache
def server_arguments() -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a server's constructor by the names of their settings."""
    return _arguments(AmqpRpcServer)


@cache
def client_arguments() -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a client's constructor by the names of their settings."""
    return _arguments(AmqpRpcClient)


def _arguments(cls: type) -> Mapping[str, inspect.Parameter]:
    return MappingProxyType({name.upper(): each for name, each in inspect.signature(cls).parameters.items()})


def _read() -> tuple[Mapping[str, ServiceSettings], tuple[Problem, ...]]:
    found, wrong = _read_leniently()
    if wrong:
        raise ImproperlyConfigured(" ".join(str(problem) for problem in wrong))
    return found, wrong


@cache
def _read_leniently() -> tuple[Mapping[str, ServiceSettings], tuple[Problem, ...]]:
    """Read what can be read, and say what cannot."""
    given = getattr(settings, "AMPHORA", None)
    example = "AMPHORA = {'default': {'SERVICE_NAME': 'shop', 'BROKER_URL': 'amqp://...'}}"
    if given is None:
        return {}, (Problem(None, "The setting AMPHORA is missing.", f"Add {example}."),)
    if not isinstance(given, Mapping):
        text = f"The setting AMPHORA must be a dict of aliases, not a {type(given).__name__}."
        return {}, (Problem(None, text, f"Write {example}."),)
    found: dict[str, ServiceSettings] = {}
    wrong: list[Problem] = []
    for alias, options in given.items():
        mistakes = _mistakes(alias, options)
        wrong += mistakes
        if not mistakes:
            found[alias] = _service(alias, options)
    return MappingProxyType(found), tuple(wrong)


def _mistakes(alias: Any, options: Any) -> list[Problem]:
    if not isinstance(alias, str):
        return [Problem(None, f"The alias {alias!r} of AMPHORA is no text.", "Write it as a str.")]
    if not isinstance(options, Mapping):
        text = f"AMPHORA[{alias!r}] must be a dict of settings, not a {type(options).__name__}."
        return [Problem(alias, text, f"Write AMPHORA[{alias!r}] = {{'SERVICE_NAME': ...}}.")]
    wrong = []
    known = [*server_arguments(), *client_arguments(), *OWN_SETTINGS]
    for name in options:
        if name not in known:
            text = f"AMPHORA[{alias!r}] has an unknown setting {name!r}{_nearest(name, known)}."
            wrong.append(Problem(alias, text, "The settings are those in docs/django-settings.md."))
        elif name in OWN_SETTINGS and not _fits(OWN_SETTINGS[name], options[name]):
            text = f"AMPHORA[{alias!r}][{name!r}] must be {OWN_SETTINGS[name].wanted}, not {options[name]!r}."
            wrong.append(Problem(alias, text, "Correct it in the settings."))
    if "SERVICE_NAME" not in options:
        text = f"AMPHORA[{alias!r}] has no SERVICE_NAME."
        wrong.append(Problem(alias, text, "Name the RPC service that the alias stands for."))
    return wrong


def _fits(setting: OwnSetting, value: Any) -> bool:
    if isinstance(value, bool) and setting.type is not bool:
        return False
    return isinstance(value, setting.type)


def _service(alias: str, options: Mapping[str, Any]) -> ServiceSettings:
    own = {name: options.get(name, setting.default) for name, setting in OWN_SETTINGS.items()}
    arguments = {"SERIALIZER": _SERIALIZER, **options}
    return ServiceSettings(
        alias=alias,
        service_name=options["SERVICE_NAME"],
        fanout=own["FANOUT"],
        atomic_requests=own["ATOMIC_REQUESTS"],
        using=own["USING"],
        record_errors=own["RECORD_ERRORS"],
        handlers_module=own["HANDLERS_MODULE"],
        queues=tuple(own["QUEUES"]),
        grace=float(own["GRACE"]),
        server_options=_options(arguments, server_arguments()),
        client_options=_options(arguments, client_arguments()),
    )


def _options(given: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> Mapping[str, Any]:
    options = {name.lower(): given[name] for name in known if name in given and name != "SERVICE_NAME"}
    options["serializer"] = _imported(options["serializer"])
    if "accept" in options:
        options["accept"] = [_imported(one) for one in options["accept"]]
    return MappingProxyType(options)


def _imported(value: Any) -> Any:
    """Return the object that a dotted path names, or the value itself."""
    return import_string(value) if isinstance(value, str) else value


def _nearest(name: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(name).upper(), [str(each).upper() for each in known], n=1)
    spelled = {str(each).upper(): each for each in known}
    return f"; did you mean {spelled[close[0]]!r}?" if close else ""


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names) or "none"
