"""The event loop's lag is remembered for a while: whoever holds it up is over when somebody asks."""

import time
from collections.abc import Iterator

import gevent
import pytest

from amphora.endpoint import loop_lag
from amphora.endpoint.loop_lag import WINDOW, LoopLag
from tests.support.eventually import wait_until


class Clock:
    """Goes with the real one, and can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop_lag, "monotonic", clock)
    return clock


@pytest.fixture
def lag() -> Iterator[LoopLag]:
    lag = LoopLag()
    yield lag
    lag.stop()


def hold_up(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_what_held_up_the_loop_is_known_while_and_after_it_does(lag: LoopLag) -> None:
    lag.start()
    lag.start()

    hold_up(0.5)
    during = lag.worst()
    gevent.sleep(0.01)

    # The timer was due within a fifth of a second.
    assert during >= 0.29
    assert lag.worst() >= during


def test_a_loop_that_has_nothing_to_do_is_left_alone_most_of_the_time(lag: LoopLag) -> None:
    began = time.monotonic()
    lag.start()

    wait_until(lambda: len(lag._ticks) >= 4, 60)

    # Four ticks, a fifth of a second apart; less what a clock may be wrong by.
    assert time.monotonic() - began >= 0.75


def test_it_is_forgotten_after_a_while(lag: LoopLag, clock: Clock) -> None:
    lag.start()
    clock.ahead = 1000.0
    gevent.sleep(0.3)
    assert lag.worst() > 900

    clock.ahead += WINDOW + 1

    # That the clock was put forward counts as lag too, of some eleven seconds.
    wait_until(lambda: lag.worst() < 900, 60)


def test_who_does_not_watch_knows_of_none(lag: LoopLag) -> None:
    assert lag.worst() == 0.0
    lag.start()
    hold_up(0.3)
    lag.stop()

    assert lag.worst() == 0.0
    lag.start()
    assert not lag._ticks
