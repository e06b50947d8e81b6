"""Exceptions between any two lines, as the handler of a signal may raise them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import amphora.core

__all__ = ["Interrupt", "interrupted_at"]

_CORE = str(Path(amphora.core.__file__).parent)


class Interrupt(BaseException):
    """Raised by the handler of a signal, say."""


@contextmanager
def interrupted_at(line: int) -> Iterator[list[int]]:
    """Raise `Interrupt` before the n-th line of `amphora.core` that is executed within the context.

    Yields:
        The number of lines that were executed, as the only item of a list.
    """
    executed = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call" and not frame.f_code.co_filename.startswith(_CORE):
            return None
        if event == "line" and frame.f_code.co_name not in ("tear", "wake"):
            executed[0] += 1
            if executed[0] == line:
                sys.settrace(None)
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield executed
    finally:
        sys.settrace(before)
