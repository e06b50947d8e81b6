"""Wait for something to become true, and say what was seen when it does not."""

import time
from collections.abc import Callable
from typing import TypeVar

import gevent

INTERVAL = 0.01

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 10.0, message: str | None = None) -> T:
    """Ask `predicate` again and again until its answer is true.

    Args:
        predicate: called every 10 ms; an `AssertionError` of it counts as "not yet".
        timeout: seconds after which the wait fails.
        message: what was waited for, for the failure; by default the predicate's name.

    Returns:
        The first true answer.

    Raises:
        AssertionError: `timeout` passed; the message says what the last answer was.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = predicate()
            seen = f"the last answer was {answer!r}"
        except AssertionError as error:
            seen = f"the last answer was AssertionError: {error}"
        else:
            if answer:
                return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"{message or _describe(predicate)}: not so within {timeout:g} s; {seen}")
        gevent.sleep(INTERVAL)


def _describe(predicate: Callable[[], object]) -> str:
    """Name a predicate by where it stands, so that a lambda can be found."""
    code = getattr(predicate, "__code__", None)
    if code is None:
        return repr(predicate)
    return f"{predicate.__qualname__} ({code.co_filename}:{code.co_firstlineno})"
