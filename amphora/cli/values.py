"""Values as people type them on a command line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import click

import amphora

__all__ = ["count", "parse_keyword_arguments", "seconds", "seconds_or_zero"]


def parse_keyword_arguments(given: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs of the option --kw; see `amphora.parse_keyword_arguments`.

    Raises:
        click.BadParameter: One has no ``=`` or no name, or a name stands there twice.
    """
    try:
        return amphora.parse_keyword_arguments(given)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--kw") from error


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
