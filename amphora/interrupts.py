"""What a signal's handler raises: found where it was raised, and passed on to the main greenlet.

Python runs a signal's handler between two bytecodes of the main thread, in the greenlet that happens to run: often
not the program's own, but one that owns a connection, or the hub in a callback. An error that the handler raises is
meant for the program. Here it is told apart from errors of the code that it interrupted, and raised in the main
greenlet.
"""

from __future__ import annotations

import dis
import signal
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType, TracebackType
from typing import Any

import gevent

__all__ = ["contained", "from_signal", "hand_on", "let_through", "raise_in_main"]

#: Instructions by which Python code itself raises.
_RAISES = frozenset(dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE") if name in dis.opmap)


def from_signal(error: BaseException | None) -> BaseException | None:
    """Return what a signal's handler has raised: this error, or one that led to it; None if no handler did.

    The handler of a signal is the one function that is called with the very frame which it interrupts. A
    `KeyboardInterrupt` of Python's own handler for SIGINT, which has no frame, appears in the middle of something
    else than a ``raise`` statement.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if _has_handler(error.__traceback__) or (isinstance(error, KeyboardInterrupt) and _is_pythons_own(error)):
            return error
        error = error.__cause__ or error.__context__
    return None


def let_through(error: BaseException) -> None:
    """Raise what a signal's handler has raised; return where no handler did.

    For a broad ``except`` around code of others: an error that is meant for the program must not end there.
    """
    found = from_signal(error)
    if found is not None:
        raise found


def raise_in_main(error: BaseException) -> None:
    """Raise an error in the main greenlet of this thread; what runs now is resumed later, if it has not ended.

    To be called last: in another greenlet than the main one, and in callbacks of the hub, the main greenlet runs at
    once.
    """
    gevent.get_hub().handle_system_error(type(error), error, error.__traceback__)


def contained(callback: Callable[..., Any], *args: Any) -> None:
    """Call a callback of the hub; raise what a signal's handler raised in it in the main greenlet.

    gevent prints any other error with its traceback and goes on.
    """
    try:
        callback(*args)
    except Exception as error:  # noqa: BLE001  (it is raised again)
        hand_on(error)


def hand_on(error: Exception) -> None:
    """Do what `contained` does about an error, for a callback that runs so often that it catches its errors itself."""
    found = from_signal(error)
    if found is None:
        raise error
    raise_in_main(found)


def _has_handler(traceback: TracebackType | None) -> bool:
    handlers = None
    outer: list[FrameType] = []
    for frame in _frames(traceback):
        if outer and any(value is each for value in _arguments(frame) for each in outer):
            return True
        if handlers is None:
            handlers = _code_of_handlers()
        if frame.f_code in handlers:
            return True
        outer.append(frame)
    return False


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _arguments(frame: FrameType) -> Iterator[object]:
    """Yield what a function was called with, as far as it still has it."""
    code, values = frame.f_code, frame.f_locals
    for name in code.co_varnames[: code.co_argcount]:
        yield values.get(name)
    if code.co_flags & 0x04:  # CO_VARARGS
        yield from values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())


def _code_of_handlers() -> set[Any]:
    found = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        while isinstance(handler, partial):
            handler = handler.func
        for each in (handler, getattr(handler, "__func__", None), type(handler).__dict__.get("__call__")):
            code = getattr(each, "__code__", None)
            if code is not None:
                found.add(code)
    return found


def _is_pythons_own(error: KeyboardInterrupt) -> bool:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    last = error.__traceback__
    if last is None:
        return True
    while last.tb_next is not None:
        last = last.tb_next
    return last.tb_frame.f_code.co_code[last.tb_lasti] not in _RAISES
