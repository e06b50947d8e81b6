"""`CallTimer`: goes off in time, once, and survives what it calls."""

from math import inf
from time import monotonic

import gevent
import pytest
from gevent.event import Event

from amphora.client.call_timer import CallTimer
from amphora.core.calls import Calls, Ending, PendingCall
from tests.support.eventually import wait_until


class Bench:
    """Calls with a timer of the event loop; notes which ended, and when."""

    def __init__(self) -> None:
        self.ended_at: dict[str, float] = {}
        self.errors: dict[str, BaseException] = {}
        self.calls = Calls(self)
        self.timer = CallTimer(self.calls.tick)

    def decided(self, call: PendingCall) -> None:
        """Of no interest."""

    def ended(self, call: PendingCall, how: Ending, detail: object) -> None:
        self.ended_at[call.id] = monotonic()
        if call.id in self.errors:
            raise self.errors[call.id]

    def alarm(self, at: float) -> None:
        self.timer.set(at)

    def open(self, name: str, timeout: float) -> float:
        deadline = self.calls.open(PendingCall(name, "f", timeout), monotonic())
        assert deadline is not None
        return deadline


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_no_call_ends_before_its_deadline(bench: Bench) -> None:
    deadlines = {str(timeout): bench.open(str(timeout), timeout) for timeout in (0.08, 0.02, 0.06, 0.04, 0.0)}
    assert bench.ended_at == {}

    wait_until(lambda: len(bench.ended_at) == 5)

    assert [name for name, deadline in deadlines.items() if bench.ended_at[name] < deadline] == []


def test_an_answered_call_does_not_end_again(bench: Bench) -> None:
    bench.open("answered", 0.02)
    bench.open("later", 0.04)
    bench.calls.reply(bench.calls.pending["answered"], "reply", 0.0)
    del bench.ended_at["answered"]

    wait_until(lambda: bench.ended_at)

    assert list(bench.ended_at) == ["later"]


def test_a_timer_that_is_not_needed_is_stopped(bench: Bench) -> None:
    bench.open("a", 3600)

    bench.calls.stop()

    assert bench.timer._timer is None


@pytest.mark.parametrize("at", [inf, 0.0])
def test_it_can_be_set_again(at: float) -> None:
    ticks: list[float] = []
    timer = CallTimer(ticks.append)
    timer.set(monotonic() + 3600)

    timer.set(at)
    timer.set(monotonic() + 0.01)

    wait_until(lambda: ticks)
    gevent.idle()
    assert len(ticks) == 1


@pytest.mark.expects_errors("a bug")
def test_an_error_at_one_deadline_costs_no_other_call_its_own(bench: Bench) -> None:
    bench.errors["1"] = LookupError("a bug")
    for name, timeout in (("1", 0.01), ("2", 0.01), ("3", 0.05)):
        bench.open(name, timeout)

    wait_until(lambda: len(bench.ended_at) == 3)


def test_what_ends_the_program_at_one_deadline_costs_no_other_call_its_own(bench: Bench) -> None:
    # As `sys.exit` in the handler of a signal.
    bench.errors["a"] = SystemExit(3)
    for name in "abc":
        bench.open(name, 0)
    never = Event()

    with pytest.raises(SystemExit):
        never.wait(10)
    wait_until(lambda: list(bench.ended_at) == ["a", "b", "c"])
