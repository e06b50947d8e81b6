"""Processes are kept running, whatever happens to them; see also tests/cli/test_serving.py."""

import os
import signal
import sys

import gevent
import pytest

from amphora.cli.supervisor import Supervisor
from tests.support.eventually import wait_until


class Running:
    """A supervisor at work, and what it says."""

    def __init__(self, command: list[str], **options: object) -> None:
        self.said: list[str] = []
        given = {"processes": 1, "grace": 30.0, "waits_for_change": False, "say": self.said.append, **options}
        self.supervisor = Supervisor(command, {}, **given)
        self.end = gevent.spawn(self.supervisor.run)
        gevent.sleep(0)

    def count(self, text: str) -> int:
        return sum(text in each for each in self.said)

    def stop(self) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return self.end.get(timeout=60)


@pytest.fixture(autouse=True)
def _signals_as_before():
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_process_that_cannot_be_started_is_tried_again():
    running = Running(["/no/such/program"])

    wait_until(lambda: running.count("cannot be started") >= 3, 60)

    assert running.stop() == 0


def test_a_process_that_dies_is_started_again_and_again():
    running = Running([sys.executable, "-S", "-c", "raise SystemExit(7)"], processes=2)

    wait_until(lambda: running.count("ended with status 7; starting another") >= 4, 60)

    assert running.stop() == 0


@pytest.mark.parametrize("status", [2, 4])
def test_it_gives_up_where_the_first_one_says_that_it_can_never_work(status):
    running = Running([sys.executable, "-S", "-c", f"raise SystemExit({status})"], processes=2)

    assert running.end.get(timeout=60) == status


def test_one_that_ends_well_is_not_started_again():
    running = Running([sys.executable, "-S", "-c", ""])

    assert running.end.get(timeout=60) == 0
    assert running.count("has ended") == 1


def test_one_that_fails_is_started_again_by_a_change_where_it_waits_for_one():
    running = Running([sys.executable, "-S", "-c", "raise SystemExit(2)"], waits_for_change=True)

    wait_until(lambda: running.count("waiting for a change") == 1, 60)
    running.supervisor.restart("shop.py has changed")
    wait_until(lambda: running.count("waiting for a change") == 2, 60)

    assert running.stop() == 0
