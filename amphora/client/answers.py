"""Reads what servers answer about themselves. Any program that may publish to the response exchange can answer too:
every value is checked here, so that nothing later fails on one answer among many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from amphora.logs.remote_text import printable

__all__ = ["OddAnswer", "finite", "flag", "items", "mapping", "text", "whole"]

#: Larger than any count, process id or concurrency.
_MOST = 2**63

#: Characters of a text.
_LONGEST = 100_000

#: Elements of a list or a mapping.
_ITEMS = 100_000


class OddAnswer(ValueError):
    """An answer has a value that no server of Amphora gives."""


def mapping(value: Any, what: str = "it") -> Mapping[str, Any]:
    """Return a value that must be a mapping with text as keys."""
    if not isinstance(value, dict) or len(value) > _ITEMS or not all(isinstance(each, str) for each in value):
        raise OddAnswer(f"{what} is not a mapping")
    return value


def items(value: Any, what: str) -> list[Any]:
    """Return a value that must be a list."""
    if not isinstance(value, (list, tuple)) or len(value) > _ITEMS:
        raise OddAnswer(f"{what} is not a list")
    return list(value)


def text(answer: Mapping[str, Any], name: str) -> str:
    """Return a value that must be text."""
    value = answer.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise OddAnswer(f"{name} is {_shown(value)}, and not a text")
    return value


def whole(answer: Mapping[str, Any], name: str) -> int:
    """Return a value that must be a whole number, 0 or more."""
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
        raise OddAnswer(f"{printable(name)} is {_shown(value)}, and not a whole number")
    return value


def finite(answer: Mapping[str, Any], name: str) -> float:
    """Return a value that must be a finite number, 0 or more."""
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MOST:
        raise OddAnswer(f"{name} is {_shown(value)}, and not a finite number")
    return float(value)


def flag(answer: Mapping[str, Any], name: str) -> bool:
    """Return a value that must be true or false."""
    value = answer.get(name)
    if not isinstance(value, bool):
        raise OddAnswer(f"{name} is {_shown(value)}, and neither true nor false")
    return value


def _shown(value: Any) -> str:
    """Return a short form of a value, whatever it is."""
    if value is None:
        return "missing"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < _MOST):
        return repr(value)
    return f"{'an' if isinstance(value, int) else 'a'} {type(value).__name__}"
