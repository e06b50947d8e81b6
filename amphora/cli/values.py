"""Values as people type them on a command line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import click

__all__ = ["count", "parse_keyword_arguments", "parse_value", "seconds", "seconds_or_zero"]


def parse_value(text: str) -> Any:
    """Read a value: JSON, or else the text as it stands.

    ``42`` is a number, ``"42"`` (with the quotes) is text, and so are ``O-42``, ``NaN`` and nothing at all.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def parse_keyword_arguments(given: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs; see `parse_value`.

    Raises:
        click.BadParameter: One has no ``=`` or no name, or a name stands there twice.
    """
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"a keyword argument is written NAME=VALUE, not {pair!r}", param_hint="--kw")
        if name in found:
            raise click.BadParameter(f"the keyword argument {name!r} is given twice", param_hint="--kw")
        found[name] = parse_value(value)
    return found


def seconds(text: str) -> float:
    """Read a finite number of seconds, more than 0."""
    return _seconds(text, zero=False)


def seconds_or_zero(text: str) -> float:
    """Read a finite number of seconds, 0 or more."""
    return _seconds(text, zero=True)


seconds.__name__ = seconds_or_zero.__name__ = "seconds"

#: The type of a whole number of at least 1.
count = click.IntRange(min=1)


def _seconds(text: str, *, zero: bool) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf or (number == 0 and not zero):
        raise click.BadParameter(f"a number of seconds{', 0 or' if zero else ''} more than 0 is wanted, not {text!r}")
    return number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not in JSON")
