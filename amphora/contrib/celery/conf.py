"""The ``amphora_*`` settings of a Celery application."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery.app import utils as celery_app_utils
from celery.exceptions import ImproperlyConfigured
from celery.utils.imports import symbol_by_name

from amphora.contrib.celery.broker import broker_options
from amphora.options.client_options import ClientOptions
from amphora.options.fields import Option, Where, option, options_of, own_option, settings_of
from amphora.options.server_options import ServerOptions
from amphora.value_checks import boolean

__all__ = ["DEFAULTS", "Conf", "hide_passwords"]

PREFIX = "amphora_"


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value != "")


def _is_time(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (number and 0 <= value < math.inf)


def _are_labels(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) and each for each in value)


@dataclass(frozen=True, kw_only=True)
class CeleryOptions:
    """Settings of the integration itself."""

    service_name: str | None = own_option("Name of the service", default=None, fits=_is_name, wanted="a name")
    fanout_service_name: str | None = own_option(
        "Name of the service whose calls every server runs", default=None, fits=_is_name, wanted="a name"
    )
    worker: bool = option(
        "Whether `celery worker` runs the server too, as with `--amphora`",
        default=False,
        check=boolean,
        where=Where.INTEGRATION,
    )
    grace: float | None = own_option(
        "Seconds that running calls have to finish when the worker shuts down; `None` for no limit",
        default=30.0,
        fits=_is_time,
        wanted="a number of seconds, or None",
    )
    result_timeout: float | None = own_option(
        'Seconds that a function with `via="queue"` waits for its task; meanwhile it is one of the `concurrency` '
        "requests",
        default=300.0,
        fits=_is_time,
        wanted="a number of seconds, or None",
    )
    queues: Sequence[str] = own_option(
        "Labels of further queues that the server takes requests from",
        default=(),
        fits=_are_labels,
        wanted="a list of labels, each a str",
    )


SERVER = settings_of(ServerOptions, Where.CELERY)
CLIENT = settings_of(ClientOptions, Where.CELERY)
OWN = options_of(CeleryOptions)

#: Every setting, without its prefix, and its default.
DEFAULTS: Mapping[str, Any] = {name: each.default for name, each in {**SERVER, **CLIENT, **OWN}.items()}

_UNSET: Any = object()


class Conf:
    """The ``amphora_*`` settings by their names without the prefix, as they are in ``app.conf`` now.

    ::

        app.conf.amphora_timeout = 5
        app.amphora.conf.timeout             # 5

    Args:
        app: The Celery application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in DEFAULTS:
            raise AttributeError(f"there is no setting {PREFIX}{name}{_nearest(name, PREFIX)}")
        value = self._given(name)
        if value is not _UNSET:
            return value
        if name == "fanout_service_name" and self.service_name:
            return f"{self.service_name}_fanout"
        return DEFAULTS[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *DEFAULTS})

    def add_defaults(self) -> None:
        """Let ``app.conf`` know the defaults too: ``app.conf.amphora_timeout`` works whether it is set or not."""
        # Not by app.add_defaults: what that adds hides what a configuration object says.
        self._app.conf.maps[-1].update({f"{PREFIX}{name}": value for name, value in DEFAULTS.items()})

    def problems(self) -> list[str]:
        """Return a sentence for every setting that has no meaning, and for every value that cannot be meant."""
        written = sorted({key for mapping in self._mappings() for key in mapping if isinstance(key, str)})
        found = []
        for prefix in self._prefixes():
            for key in written:
                name = key.removeprefix(prefix).lower()
                if key.startswith(prefix) and name not in DEFAULTS:
                    found.append(f"unknown setting {key}{_nearest(name, prefix)}")
        if not self._app.conf.prefix:
            loud = {f"{PREFIX}{name}".upper() for name in DEFAULTS}
            found += [f"setting {key} is not read: write {key.lower()}" for key in written if key in loud]
        return found + [f"{PREFIX}{name} must be {wanted}" for name, wanted in self._unmet()]

    def _unmet(self) -> Iterator[tuple[str, str]]:
        """Return the settings that are no value for their option, with what they must be; no value is shown."""
        for name, each in {**SERVER, **CLIENT, **OWN}.items():
            value = self._given(name)
            if value is not _UNSET and each.fits is not None and not each.fits(value):
                yield name, each.wanted

    def check(self) -> None:
        """Insist on settings that make sense.

        Raises:
            ImproperlyConfigured: A setting is unknown, or there is no service name.
        """
        problems = self.problems()
        if not self.service_name:
            problems.append(
                "no amphora_service_name: set app.conf.amphora_service_name (CELERY_AMPHORA_SERVICE_NAME in Django's "
                "settings with namespace='CELERY')"
            )
        if problems:
            raise ImproperlyConfigured("; ".join(problems))

    def server_options(self) -> dict[str, Any]:
        """Return the arguments for a server.

        Raises:
            ImproperlyConfigured: See `check`.
        """
        return self._options(SERVER)

    def client_options(self) -> dict[str, Any]:
        """Return the arguments for a client.

        Raises:
            ImproperlyConfigured: See `check`.
        """
        return self._options(CLIENT)

    def _options(self, options: Mapping[str, Option]) -> dict[str, Any]:
        self.check()
        given = {name: value for name in options if (value := self._given(name)) is not _UNSET}
        if isinstance(given.get("serializer"), str):
            given["serializer"] = symbol_by_name(given["serializer"])
        if "accept" in given:
            given["accept"] = [symbol_by_name(each) for each in given["accept"]]
        if given.get("broker_url") is None:
            return {**given, **broker_options(self._app), **{k: given[k] for k in ("ssl",) if k in given}}
        return given

    def _given(self, name: str) -> Any:
        """Return what is set, not counting the default."""
        # (What Celery has for this does not know the namespace before 5.7.)
        for mapping in self._mappings():
            for prefix in self._prefixes():
                try:
                    return mapping[_spelled(prefix, name)]
                except KeyError:
                    continue
        return _UNSET

    def _mappings(self) -> list[Mapping[Any, Any]]:
        """Return what the application is configured by, without Celery's defaults, which come last."""
        conf = self._app.conf
        conf.finalize()
        return list(conf.maps[:-1])

    def _prefixes(self) -> tuple[str, ...]:
        """Return what the names of our settings begin with; in Celery's namespace too, in its case."""
        namespace = self._app.conf.prefix
        if not namespace:
            return (PREFIX,)
        return (f"{namespace}{PREFIX.upper() if namespace.isupper() else PREFIX}", PREFIX)


def _nearest(name: str, prefix: str) -> str:
    close = difflib.get_close_matches(name, DEFAULTS, n=1)
    if not close:
        return " (docs/celery-settings.md lists them all)"
    return f"; did you mean {_spelled(prefix, close[0])}?"


def _spelled(prefix: str, name: str) -> str:
    return f"{prefix}{name if prefix.islower() else name.upper()}"


def hide_passwords() -> None:
    """Let `celery report` and `celery inspect conf` hide ``amphora_broker_url`` as they hide passwords."""
    hidden = celery_app_utils.HIDDEN_SETTINGS
    if not hidden.search(f"{PREFIX}broker_url"):
        pattern = f"{hidden.pattern}|{PREFIX}broker_url"
        celery_app_utils.HIDDEN_SETTINGS = re.compile(pattern, hidden.flags)
