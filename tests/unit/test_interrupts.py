"""Errors that a signal's handler raises are told apart from all others."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
import pytest

from amphora.interrupts import contained, from_signal


class Stop(Exception):
    """Raised by a signal's handler."""


def stop(number: int, frame: Any) -> None:
    raise Stop


class Handlers:
    """Handlers of other kinds."""

    def method(self, number: int, frame: Any) -> None:
        raise Stop

    def __call__(self, *args: Any) -> None:
        raise Stop


def with_a_name(name: str, number: int, frame: Any) -> None:
    raise Stop


def that_restores_the_default(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Stop


def nested(number: int, frame: Any) -> None:
    stop(number, None)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupted(number: int = signal.SIGUSR1) -> BaseException:
    """What comes of a signal in the middle of something."""
    try:
        os.kill(os.getpid(), number)
        for _ in range(1000):
            time.monotonic()
    except BaseException as error:  # noqa: BLE001  (what is asked for)
        return error
    raise AssertionError("no signal came")


@pytest.mark.parametrize(
    "handler", [stop, Handlers().method, Handlers(), partial(with_a_name, "x"), that_restores_the_default, nested]
)
def test_what_a_handler_raises_is_found(handler: Callable[..., Any]) -> None:
    signal.signal(signal.SIGUSR1, handler)

    error = interrupted()

    assert isinstance(error, Stop)
    assert from_signal(error) is error


def test_it_is_found_behind_the_error_that_came_of_it() -> None:
    signal.signal(signal.SIGUSR1, stop)
    error = interrupted()

    outer = OSError("closed")
    outer.__context__ = error

    assert from_signal(outer) is error


def test_a_real_ctrl_c_is_told_from_a_keyboard_interrupt_that_code_raises() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    real = interrupted(signal.SIGINT)
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        raised = error

    assert from_signal(real) is real
    assert from_signal(raised) is None


def test_other_errors_are_not_a_signals() -> None:
    with pytest.raises(Stop) as caught:
        stop(1, None)

    assert from_signal(caught.value) is None
    assert from_signal(ValueError()) is None
    assert from_signal(None) is None


def test_what_a_handler_raises_in_a_callback_of_the_hub_reaches_the_main_greenlet() -> None:
    signal.signal(signal.SIGUSR1, stop)

    def callback() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(1000):
            time.monotonic()

    def in_main() -> str:
        gevent.get_hub().loop.run_callback(contained, callback)
        try:
            gevent.sleep(5)
        except Stop:
            return "raised"
        return "swallowed"

    main = gevent.get_hub().parent
    if gevent.getcurrent() is not main:
        pytest.skip("tests do not run in the main greenlet here")
    assert in_main() == "raised"


def test_other_errors_of_a_callback_are_gevents_affair() -> None:
    with pytest.raises(ZeroDivisionError):
        contained(lambda: 1 / 0)
