"""What a log record says of text that another program wrote: in its text, its attributes, and its traceback."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from amphora.exceptions import AmqpRpcException
from amphora.logs.remote_text import printable, printable_lines

__all__ = ["printable_argument", "printable_extra", "printable_traceback"]


class _Printable:
    """An argument of a log record whose `str` and `repr` are one line without control characters."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(self._value)

    def __repr__(self) -> str:
        return printable(repr(self._value))


def printable_argument(value: object) -> object:
    """Return an argument of a log record such that it can break no line, and a terminal obeys nothing in it."""
    if isinstance(value, str):
        return printable(value)
    return value if value is None or isinstance(value, (int, float)) else _Printable(value)


def printable_extra(extra: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """Return the further attributes of a log record, likewise."""
    if extra is None:
        return None
    return {name: printable(value) if isinstance(value, str) else value for name, value in extra.items()}


def printable_traceback(exc_info: Any) -> str | None:
    """Return a traceback without control characters; None where `logging` may format it as it is.

    Texts of Amphora's own exceptions, which may come from another program, are one line each: further lines could pass
    for further records.
    """
    error = exc_info[1] if exc_info else None
    if not isinstance(error, BaseException):
        return None
    told = traceback.TracebackException(*exc_info)
    as_it_is = "".join(told.format())
    _put_on_one_line(told, error)
    text = printable_lines("".join(told.format()))
    return None if text == as_it_is else text.rstrip("\n")


def _put_on_one_line(told: traceback.TracebackException, error: BaseException) -> None:
    """Shorten the texts of Amphora's exceptions in a chain to a line each."""
    chain: list[tuple[traceback.TracebackException, BaseException]] = [(told, error)]
    while chain:
        told, error = chain.pop()
        if isinstance(error, AmqpRpcException):
            told._str = printable(told._str)  # type: ignore[attr-defined]
        for name in ("__cause__", "__context__"):
            one, other = getattr(told, name), getattr(error, name)
            if one is not None and other is not None:
                chain.append((one, other))
        if isinstance(error, BaseExceptionGroup) and told.exceptions is not None:
            chain += zip(told.exceptions, error.exceptions, strict=False)
