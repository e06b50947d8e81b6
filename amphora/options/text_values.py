"""Values as people type them, on a command line or into a form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["parse_keyword_arguments", "parse_value"]


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
        ValueError: One has no ``=`` or no name, or a name stands there twice.
    """
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"a keyword argument is written NAME=VALUE, not {pair!r}")
        if name in found:
            raise ValueError(f"the keyword argument {name!r} is given twice")
        found[name] = parse_value(value)
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not in JSON")
