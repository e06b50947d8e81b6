"""What is wrong with the options of an alias, as far as can be told without making an endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from amphora.contrib.django.options import OWN_SETTINGS, client_arguments, known_settings, nearest, server_arguments

__all__ = ["MISSING", "UNKNOWN", "WRONG", "Problem", "problems_of"]

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
    """Find what is wrong with one item of ``AMPHORA``."""
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
        elif (wanted := _unmet(name, value)) is not None:
            text = f"{where}[{name!r}] must be {wanted}, not {value!r}."
            yield Problem(WRONG, alias, text, "Correct it in the settings; see docs/django-settings.md.", name)


def _unmet(name: str, value: Any) -> str | None:
    """Say what a value ought to be, where it is something else; what the constructors check is left to them."""
    own = OWN_SETTINGS.get(name)
    if own is not None:
        return None if own.fits(value) else own.wanted
    argument = server_arguments().get(name) or client_arguments()[name]
    if _is_bool(argument) and not isinstance(value, bool):
        return "True or False"
    if name == "ACCEPT" and not isinstance(value, (list, tuple)):
        return "a list of serializers, or of dotted paths to them"
    return None


def _is_bool(argument: Parameter) -> bool:
    return argument.annotation in (bool, "bool")
