"""What is wrong with the options of an alias."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from amphora.contrib.django.options import client_settings, imported, known_settings, nearest, server_settings
from amphora.options.client_options import ClientOptions
from amphora.options.fields import Option
from amphora.options.server_options import ServerOptions

__all__ = ["MISSING", "UNKNOWN", "WRONG", "Problem", "problems_of", "wrong_arguments"]

#: Kinds of problems, the ids of system checks.
MISSING, UNKNOWN, WRONG = "E001", "E002", "E003"


@dataclass(frozen=True)
class Problem:
    """What is wrong with the settings.

    Args:
        kind: One of `MISSING`, `UNKNOWN` and `WRONG`.
        alias: The alias that has it; None if it is the setting as a whole.
        text: One sentence that names setting and alias.
        hint: What to do.
        setting: The setting that has it, if it is one alone.
    """

    kind: str
    alias: str | None
    text: str
    hint: str
    setting: str | None = None

    def __str__(self) -> str:
        return f"{self.text} {self.hint}"


def problems_of(alias: Any, options: Any) -> Iterator[Problem]:
    """Find what is wrong with one item of ``AMPHORA``, as far as can be told without importing serializers."""
    if not isinstance(alias, str):
        yield Problem(WRONG, None, f"The alias {alias!r} of AMPHORA is no text.", "Write it as a str.")
        return
    where = f"AMPHORA[{alias!r}]"
    if not isinstance(options, Mapping):
        text = f"{where} must be a dict of settings, not a {type(options).__name__}."
        yield Problem(WRONG, alias, text, f"Write {where} = {{'SERVICE_NAME': ...}}.")
        return
    if "SERVICE_NAME" not in options:
        text = f"{where} has no SERVICE_NAME."
        yield Problem(MISSING, alias, text, "It names the RPC service that the alias stands for.")
    known = known_settings()
    for name, value in options.items():
        if name not in known:
            text = f"{where} has an unknown setting {name!r}{nearest(name, known)}"
            yield Problem(UNKNOWN, alias, text, "docs/django-settings.md lists all settings.", name)
        elif (wanted := _unmet(known[name], value)) is not None:
            text = f"{where}[{name!r}] must be {wanted}, not {value!r}."
            yield Problem(WRONG, alias, text, "Correct it in the settings; see docs/django-settings.md.", name)


def wrong_arguments(alias: Any, options: Any) -> Iterator[Problem]:
    """Find values that a client or a server would refuse, by the checks that their constructors make.

    Args:
        alias: Key in ``AMPHORA``.
        options: What stands there.
    """
    if not isinstance(alias, str) or not isinstance(options, Mapping):
        return
    known = {**server_settings(), **client_settings()}
    wrong_already = {problem.setting for problem in problems_of(alias, options)}
    given = {name: value for name, value in options.items() if name in known and name not in wrong_already}
    found = False
    for name, value in given.items():
        refusal = _refusal(partial(_check, known[name], value))
        if refusal is not None:
            found = True
            text = f"AMPHORA[{alias!r}][{name!r}]: {refusal}."
            yield Problem(WRONG, alias, text, "Correct it in the settings; see docs/django-settings.md.", name)
    if not found:
        refusal = _refusal(partial(_check_together, given))
        if refusal is not None:
            text = f"AMPHORA[{alias!r}]: {refusal}."
            yield Problem(WRONG, alias, text, "Correct the settings; see docs/django-settings.md.")


def _unmet(option: Option, value: Any) -> str | None:
    """Say what a value ought to be, where that can be told before serializers are imported and it is something else."""
    return None if option.fits is None or option.fits(value) else option.wanted


def _check(option: Option, value: Any) -> None:
    option.check(option.name, imported({option.name: value})[option.name])


def _check_together(given: Mapping[str, Any]) -> None:
    for kind, known in ((ServerOptions, server_settings()), (ClientOptions, client_settings())):
        arguments = {known[name].name: value for name, value in given.items() if name in known}
        kind.of({"service_name": "check", **imported(arguments)})


def _refusal(check: Callable[[], None]) -> str | None:
    """Return why a check fails; without its traceback, whose variables may hold a password."""
    try:
        check()
    except (ImportError, TypeError, ValueError) as error:
        return str(error).rstrip(".")
    return None
