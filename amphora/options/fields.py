"""What a field of an options class knows: its documentation, how its value is checked, and where it can be set.

One field is the source of a constructor's argument with its text in the docstring, of a Django setting, of a Celery
setting, of their rows in the documentation, and of the check that all of them share::

    heartbeat: int = option("Seconds between heartbeats.", default=30, check=heartbeat_of)

The constructors write their arguments out, so that editors and type checkers see them. `tests/unit/options` compares
them with the fields, and ``make options`` writes docstrings and tables anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from enum import Flag, auto
from functools import cache
from types import MappingProxyType
from typing import Any

from amphora.value_checks import boolean

__all__ = [
    "Option",
    "Where",
    "check_fields",
    "option",
    "options_of",
    "own_option",
    "settings_of",
]

_KEY = "amphora"


class Where(Flag):
    """Where an option can be set."""

    CONSTRUCTOR = auto()
    DJANGO = auto()
    CELERY = auto()
    #: `override_arguments`, and nothing else.
    OVERRIDE = auto()
    #: The settings of the integration that it belongs to.
    INTEGRATION = auto()

    EVERYWHERE = CONSTRUCTOR | DJANGO | CELERY


@dataclass(frozen=True)
class Option:
    """A field of an options class.

    Args:
        name: Its name.
        type: Its type, as the source has it.
        default: Its default; `dataclasses.MISSING` if it must be given.
        docs: Its documentation, by the role of the endpoint: ``client``, ``server``, ``dead letters``, or ``""``.
        check: Takes the name and a value; returns the value to keep, or raises.
        where: Where it can be set.
        flags: The command-line options that set it.
        fits: Whether a value in a file of settings looks right, if that can be told before dotted paths are imported.
        wanted: What it must be then, in words, for messages.
        summary: What it means, in a phrase for the tables of the documentation; by default the first sentence of its
            documentation. In Markdown.
    """

    name: str
    type: str
    default: Any
    docs: Mapping[str, str]
    check: Callable[[str, Any], Any]
    where: Where
    flags: tuple[str, ...]
    fits: Callable[[Any], bool] | None
    wanted: str
    summary: str

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def is_switch(self) -> bool:
        """Whether its value is True or False."""
        return self.check is boolean

    def doc(self, role: str) -> str:
        """Return its documentation for an endpoint of that role."""
        return self.docs.get(role) or self.docs[""]


def option(
    doc: str = "",
    *,
    check: Callable[[str, Any], Any],
    default: Any = MISSING,
    client: str = "",
    server: str = "",
    dead_letters: str = "",
    where: Where = Where.EVERYWHERE,
    flags: tuple[str, ...] = (),
    fits: Callable[[Any], bool] | None = None,
    wanted: str = "",
    summary: str = "",
    secret: bool = False,
) -> Any:
    """Make a field of an options class; see `Option` for the arguments.

    Args:
        doc: Its documentation, for the roles without one of their own.
        client: That for clients.
        server: That for servers.
        dead_letters: That for `DeadLetters`.
        secret: Keep its value out of the repr.
    """
    docs = {"": doc, "client": client, "server": server, "dead letters": dead_letters}
    if check is boolean:
        fits, wanted = _is_bool, "True or False"
    told = {
        "docs": docs,
        "check": check,
        "where": where,
        "flags": flags,
        "fits": fits,
        "wanted": wanted,
        "summary": summary,
    }
    return dataclasses.field(default=default, repr=not secret, metadata={_KEY: told})


def own_option(doc: str, *, default: Any, fits: Callable[[Any], bool], wanted: str, keep: Any = None) -> Any:
    """Make a field for a setting of an integration's own.

    Args:
        doc: What it means, in a phrase in Markdown.
        default: Its default.
        fits: Whether a value is one for it.
        wanted: What it must be, in words.
        keep: Makes what is kept of a value; by default the value itself.
    """

    def check(name: str, value: Any) -> Any:
        if not fits(value):
            raise ValueError(f"{name} must be {wanted}, not {value!r}")
        return value if keep is None else keep(value)

    return option(check=check, default=default, where=Where.INTEGRATION, fits=fits, wanted=wanted, summary=doc)


def check_fields(made: Any) -> None:
    """Check the values of a new object of an options class, and keep what the checks return."""
    for name, each in options_of(type(made)).items():
        object.__setattr__(made, name, each.check(name, getattr(made, name)))


def options_of(cls: type) -> Mapping[str, Option]:
    """Return the options of an options class by their names."""
    return _options_of(cls)


@cache
def _options_of(cls: Any) -> Mapping[str, Option]:
    return MappingProxyType(
        {
            each.name: Option(name=each.name, type=str(each.type), default=each.default, **each.metadata[_KEY])
            for each in dataclasses.fields(cls)
            if _KEY in each.metadata
        }
    )


def settings_of(cls: type, where: Where) -> Mapping[str, Option]:
    """Return the options of an options class that can be set somewhere, by their names."""
    return MappingProxyType({name: each for name, each in options_of(cls).items() if where in each.where})


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)
