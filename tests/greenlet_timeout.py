"""A pytest plug-in that makes pytest-timeout end the waiting test, and show where every greenlet stands.

pytest-timeout's own handler fails whichever greenlet runs when the time is up, which under gevent is often
not the test's: the test would wait on, or even pass.
"""

import signal
from types import FrameType
from typing import Any

import gevent
import pytest
from gevent import get_hub, getcurrent
from gevent.util import format_run_info


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Start the clock of a test (a hook of pytest-timeout)."""
    waiting = getcurrent()

    def end_test(number: int, frame: FrameType | None) -> None:
        print("\n".join(format_run_info(thread_stacks=False, limit=8)))  # shown in the report of the test
        failure = pytest.fail.Exception(f"Timeout (>{settings.timeout:g}s) of {item.nodeid}")
        current = getcurrent()
        if current is waiting:
            raise failure
        get_hub().loop.run_callback(waiting.throw, failure)
        # A greenlet that computes for ever has to be ended before any other can run.
        if current is not get_hub():
            raise gevent.GreenletExit

    signal.signal(signal.SIGALRM, end_test)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """Stop the clock of a test (a hook of pytest-timeout)."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return True
